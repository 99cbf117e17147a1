/**
 * Which loaded CommonJS module an object, class or function is exported by: `module.exports` itself and its direct
 * members, by identity. The main module is left out, since children never load it.
 */
import { createRequire } from 'node:module'
import { types } from 'node:util'
import { globalOfProgram } from './builtin-names.ts'
import { isMainModule } from './main-module.ts'

export interface CommonJsMember {
  filename: string
  path: readonly string[]
}

let index = new Map<object, CommonJsMember>()
let indexedCount = -1
let isChecked = false
let cache: NodeJS.Dict<NodeJS.Module> | undefined

/** The loaded CommonJS modules of this thread; empty inside Jest, which has a module registry of its own. */
export function loadedCommonJs(): NodeJS.Dict<NodeJS.Module> {
  if ((globalThis as object) !== globalOfProgram()) return {}
  cache ??= createRequire(import.meta.url).cache
  return cache
}

/** Modules may have been loaded since the last lookup. Counting them takes microseconds, so it is not done for each. */
export function recheckCommonJs(): void {
  isChecked = false
}

/** The exporting module of a value, or `undefined`. */
export function commonJsMember(value: object): CommonJsMember | undefined {
  if (!isChecked) {
    const modules = loadedCommonJs()
    const count = Object.keys(modules).length
    if (count !== indexedCount) index = buildIndex(modules)
    indexedCount = count
    isChecked = true
  }
  return index.get(value)
}

function buildIndex(modules: NodeJS.Dict<NodeJS.Module>): Map<object, CommonJsMember> {
  const members = new Map<object, CommonJsMember>()
  for (const [filename, module] of Object.entries(modules)) {
    const exports: unknown = module?.exports
    if (!isObject(exports) || !module?.loaded || types.isProxy(exports) || isMainModule(filename)) continue
    const keys = Object.keys(exports)
    // Empty exports are an accident (a script run for its effect), not something to look for by identity.
    if (typeof exports === 'object' && keys.length === 0) continue
    if (!members.has(exports)) members.set(exports, { filename, path: [] })
    for (const key of keys) {
      const value = readMember(exports, key)
      if (isObject(value) && !members.has(value) && !types.isProxy(value)) {
        members.set(value, { filename, path: [key] })
      }
    }
  }
  return members
}

/** Compilers export by getters (`get: () => m.x`), so these are called; other getters may throw. */
export function readMember(holder: object, key: string): unknown {
  try {
    return (holder as Record<string, unknown>)[key]
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}
