/**
 * Payloads that stay the same from call to call: of functions that are imported, and of functions that capture nothing.
 * Codecs may cache the bytes of a payload by its identity, too.
 */
import { bundleGeneration } from '../bundles.ts'
import type { GraphPayload } from './module-reference.ts'

interface Entry {
  payload: GraphPayload
  /** When references to modules were as they are in it. */
  bundles: number
  /** What could have been added to the function since. */
  ownKeys: number
  prototypeKeys: number
  parent: object | null
}

const entries = new WeakMap<Function, Entry>()

export function cachedPayload(fn: Function): GraphPayload | undefined {
  const entry = entries.get(fn)
  if (!entry) return undefined
  if (entry.bundles !== bundleGeneration()) return undefined
  const isSame =
    entry.payload.modules.length > 0 ||
    (Reflect.ownKeys(fn).length === entry.ownKeys &&
      prototypeKeysOf(fn) === entry.prototypeKeys &&
      Object.getPrototypeOf(fn) === entry.parent)
  return isSame ? entry.payload : undefined
}

export function cachePayload(fn: Function, payload: GraphPayload): void {
  entries.set(fn, {
    payload,
    bundles: bundleGeneration(),
    ownKeys: Reflect.ownKeys(fn).length,
    prototypeKeys: prototypeKeysOf(fn),
    parent: Object.getPrototypeOf(fn) as object | null,
  })
}

function prototypeKeysOf(fn: Function): number {
  const prototype: unknown = Object.getOwnPropertyDescriptor(fn, 'prototype')?.value
  return typeof prototype === 'object' && prototype !== null ? Reflect.ownKeys(prototype).length : 0
}
