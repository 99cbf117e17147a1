/**
 * Which public `node:` module an object or function belongs to. Only modules that are loaded already are looked at:
 * loading the others to compare them would cost tens of milliseconds, and a value of theirs can't exist.
 */
import { builtinModules, createRequire } from 'node:module'

export interface NodeModuleMember {
  module: string
  path: readonly string[]
}

const ignored = /^(?:_|punycode|sys|trace_events|wasi|inspector\/promises|node:)/

let index = new Map<object, NodeModuleMember>()
let indexedCount = -1
let isChecked = false

/** Modules may have been loaded since the last lookup. */
export function recheckNodeModules(): void {
  isChecked = false
}

/** The `node:` module and the path in it of a value, or `undefined`. */
export function nodeModuleMember(value: object): NodeModuleMember | undefined {
  if (!isChecked) {
    if (loadList()?.length !== indexedCount) {
      index = buildIndex(loadList())
      // Looking at the modules may have loaded some.
      indexedCount = loadList()?.length ?? 0
    }
    isChecked = true
  }
  return index.get(value)
}

function loadList(): readonly string[] | undefined {
  return (process as { moduleLoadList?: string[] }).moduleLoadList
}

function buildIndex(loadedNames: readonly string[] | undefined): Map<object, NodeModuleMember> {
  const members = new Map<object, NodeModuleMember>()
  const loaded = loadedNames && new Set(loadedNames)
  const load = process.getBuiltinModule ?? createRequire(import.meta.url)
  const add = (value: unknown, member: NodeModuleMember): void => {
    if (isObject(value) && !members.has(value)) members.set(value, member)
  }
  for (const name of builtinModules) {
    if (ignored.test(name) || (loaded && !loaded.has(`NativeModule ${name}`))) continue
    const module = `node:${name}`
    let exports: unknown
    try {
      exports = load(module)
    } catch {
      continue // Not available under this permission model or build.
    }
    if (!isObject(exports)) continue
    add(exports, { module, path: [] })
    for (const key of Object.getOwnPropertyNames(exports)) {
      const descriptor = Object.getOwnPropertyDescriptor(exports, key)
      const value: unknown = descriptor?.value
      if (!isObject(value)) continue
      add(value, { module, path: [key] })
      if (typeof value === 'function') add(value.prototype, { module, path: [key, 'prototype'] })
    }
  }
  return members
}

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}
