/**
 * Where a value of this process can be imported from: found once for an exported function, and remembered for
 * whatever a payload imported here, so that it travels on as the same reference.
 */
import type { ModuleReference } from './module-reference.ts'

/** A value as seen from a module. */
export interface ImportedFrom {
  module: ModuleReference
  name?: string
  path?: readonly string[]
  check?: { name: string; length: number }
}

const memory = new WeakMap<object, ImportedFrom>()

export function rememberImport(value: object, from: ImportedFrom): void {
  memory.set(value, from)
}

export function rememberedImport(value: object): ImportedFrom | undefined {
  return memory.get(value)
}
