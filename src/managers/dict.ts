/** `manager.dict()`: a Map in the server, and its proxy. */
import { BaseProxy, addProxyType } from './base-proxy.ts'
import { type ManagedKey, assertKey, changed, noSuchKey } from './keys.ts'
import { referentOf } from './referents.ts'
import type { ServedType } from './served-type.ts'
import { refuseAssignments } from './written-by-methods.ts'

/** What a dict is made of. */
export type DictEntries<K, V> =
  | Iterable<readonly [K, V]>
  | (K extends string ? Readonly<Record<K, V>> : never)
  | DictProxy<K & ManagedKey, V>

/** In the server. */
class ManagedDict {
  readonly map = new Map<unknown, unknown>()

  constructor(entries: unknown) {
    if (entries !== undefined) this.update(entries)
  }

  get(key: unknown, missing: unknown): unknown {
    const value = this.map.get(key)
    return value === undefined && !this.map.has(key) ? missing : value
  }

  set(key: unknown, value: unknown): void {
    assertKey(key, 'key')
    this.map.set(key, value)
  }

  has(key: unknown): boolean {
    return this.map.has(key)
  }

  delete(key: unknown): boolean {
    return this.map.delete(key)
  }

  clear(): void {
    this.map.clear()
  }

  size(): number {
    return this.map.size
  }

  keys(): unknown[] {
    return [...this.map.keys()]
  }

  values(): unknown[] {
    return [...this.map.values()]
  }

  entries(): [unknown, unknown][] {
    return [...this.map.entries()]
  }

  pop(key: unknown, hasDefault: boolean, missing: unknown): unknown {
    if (!this.map.has(key)) {
      if (hasDefault) return missing
      throw noSuchKey(
        'The dict does not have the key that pop() was given',
        'ask with has() before, or give a default',
      )
    }
    const value = this.map.get(key)
    this.map.delete(key)
    return value
  }

  popItem(): [unknown, unknown] {
    const last = [...this.map.entries()].at(-1)
    if (last === undefined) throw noSuchKey('popItem() found the dict empty', 'ask for its size() before')
    this.map.delete(last[0])
    return last
  }

  setDefault(key: unknown, value: unknown): unknown {
    if (!this.map.has(key)) this.set(key, value)
    return this.map.get(key)
  }

  update(given: unknown): void {
    const entries = entriesOf(given)
    for (const [key] of entries) assertKey(key, 'key')
    for (const [key, value] of entries) this.map.set(key, value)
  }

  change(key: unknown, change: (value: unknown) => unknown): unknown {
    assertKey(key, 'key')
    const value = changed(change, this.map.get(key))
    this.map.set(key, value)
    return value
  }
}

function entriesOf(given: unknown): (readonly [unknown, unknown])[] {
  const from = referentOf(given)
  if (from instanceof ManagedDict) return from.entries()
  if (typeof (from as Iterable<unknown> | null)?.[Symbol.iterator] === 'function') {
    return [...(from as Iterable<readonly [unknown, unknown]>)]
  }
  return Object.entries(from as object)
}

/**
 * A dict in a manager, with the methods of a Map and those of Python's dict: each is one call there, and nothing comes in
 * between. Keys are primitive values. Values are copies, but for proxies, which stay what they are.
 *
 * To read a value, change it and write it back would lose what others write meanwhile: `update(key, change)` does it
 * there, at once.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.managers.SyncManager.dict
 *
 * @example
 * ```ts
 * import { Manager, Pool } from 'multiproc'
 *
 * await using manager = await Manager()
 * const counts = await manager.dict<string, number>({ a: 0 })
 * await using pool = new Pool(2)
 * await pool.map(() => counts.update('a', (count = 0) => count + 1), Array(100).fill(0))
 * console.log(await counts.get('a')) // 100
 * ```
 */
export class DictProxy<K = unknown, V = unknown>
  extends BaseProxy<Map<K, V>>
  implements AsyncIterable<[K, V]>
{
  /** The value of a key, or `missing` (undefined). */
  get(key: K): Promise<V | undefined>
  get(key: K, missing: V): Promise<V>
  get(key: K, missing?: V): Promise<V | undefined> {
    return this.callMethod('get', missing === undefined ? [key] : [key, missing]) as Promise<V | undefined>
  }

  /** @throws (rejects with) TypeError for a key that is an object. */
  set(key: K, value: V): Promise<void> {
    return this.callMethod('set', [key, value]) as Promise<void>
  }

  has(key: K): Promise<boolean> {
    return this.callMethod('has', [key]) as Promise<boolean>
  }

  /** Whether the key was there. */
  delete(key: K): Promise<boolean> {
    return this.callMethod('delete', [key]) as Promise<boolean>
  }

  clear(): Promise<void> {
    return this.callMethod('clear') as Promise<void>
  }

  size(): Promise<number> {
    return this.callMethod('size') as Promise<number>
  }

  /** All keys, as they are now, in the order in which they came. */
  keys(): Promise<K[]> {
    return this.callMethod('keys') as Promise<K[]>
  }

  values(): Promise<V[]> {
    return this.callMethod('values') as Promise<V[]>
  }

  entries(): Promise<[K, V][]> {
    return this.callMethod('entries') as Promise<[K, V][]>
  }

  /** As `entries()`: Python's name. */
  items(): Promise<[K, V][]> {
    return this.entries()
  }

  /**
   * Takes a key out, and gives its value.
   *
   * @throws ProcessError `ERR_NOT_FOUND` for a key that is not there, unless a second argument says what to give then.
   */
  pop(key: K, ...missing: [V?]): Promise<V> {
    return this.callMethod('pop', [key, missing.length > 0, missing[0]]) as Promise<V>
  }

  /**
   * Takes the key out that came last.
   *
   * @throws ProcessError `ERR_NOT_FOUND` when there is none.
   */
  popItem(): Promise<[K, V]> {
    return this.callMethod('popItem') as Promise<[K, V]>
  }

  /** The value of a key, which is given this one if it is not there. */
  setDefault(key: K, value: V): Promise<V> {
    return this.callMethod('setDefault', [key, value]) as Promise<V>
  }

  /** Sets all entries at once: those of a Map, an object, or another dict of the manager. */
  update(entries: DictEntries<K, V>): Promise<void>
  /**
   * Has the manager replace a value by what `change` makes of it, while nobody else can change it. The function is sent
   * there, with what it captures. A key that is not there has the value undefined.
   *
   * @returns the new value
   * @throws what `change` throws; TypeError when it is async. Nothing has changed then.
   */
  update(key: K, change: (value: V | undefined) => V): Promise<V>
  update(first: unknown, change?: (value: V | undefined) => V): Promise<unknown> {
    return change === undefined
      ? this.callMethod('update', [first])
      : this.callMethod('change', [first, change])
  }

  /** A Map with the same entries. */
  copy(): Promise<Map<K, V>> {
    return this.getValue()
  }

  /** The entries as they are at the first step. */
  async *[Symbol.asyncIterator](): AsyncGenerator<[K, V], void, undefined> {
    yield* await this.entries()
  }
}

addProxyType('dict', DictProxy)
refuseAssignments(DictProxy, 'dict')

/** @internal */
export const DICT: ServedType = {
  typeId: 'dict',
  isBuiltIn: true,
  make: (entries?: unknown) => new ManagedDict(entries),
  snapshot: object => (object as ManagedDict).map,
}
