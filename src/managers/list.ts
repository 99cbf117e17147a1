/** `manager.list()`: an array in the server, and its proxy. */
import { isDeepStrictEqual } from 'node:util'
import { invalidArgument } from '../errors.ts'
import { assertIterable } from '../platform/assert-iterable.ts'
import { BaseProxy, addProxyType } from './base-proxy.ts'
import { changed, noSuchKey } from './keys.ts'
import { referentOf } from './referents.ts'
import type { ServedType } from './served-type.ts'
import { refuseAssignments } from './written-by-methods.ts'

/** In what order `sort()` puts items: a function for two of them, sent to the manager, or Python's options. */
export type SortOrder<T> =
  | ((one: T, other: T) => number)
  | { key?: ((item: T) => number | string | bigint) | undefined; reverse?: boolean | undefined }

/** In the server. */
class ManagedList {
  readonly items: unknown[]

  constructor(items: unknown) {
    this.items = items === undefined ? [] : itemsOf(items)
  }

  at(index: number): unknown {
    return this.items.at(index)
  }

  get(index: number): unknown {
    return this.items[this.#place(index, 'get')]
  }

  set(index: number, value: unknown): void {
    this.items[this.#place(index, 'set')] = value
  }

  /** Counted from the end when it is negative. */
  #place(index: number, method: string): number {
    const { length } = this.items
    const place = index < 0 ? index + length : index
    if (Number.isInteger(place) && place >= 0 && place < length) return place
    throw invalidArgument(
      RangeError,
      `Cannot ${method} item ${String(index)} of the list: it has ${length}\nTo fix: ${length === 0 ? 'look at its length() before' : `use an index from ${-length} to ${length - 1}`}`,
    )
  }

  push(...values: unknown[]): number {
    return this.items.push(...values)
  }

  extend(values: unknown): void {
    // One by one: an argument list may not have as many.
    for (const value of itemsOf(values)) this.items.push(value)
  }

  insert(index: number, value: unknown): void {
    this.items.splice(index, 0, value)
  }

  pop(index = -1): unknown {
    return this.items.splice(this.#place(index, 'pop'), 1)[0]
  }

  remove(value: unknown): boolean {
    const index = this.indexOf(value)
    if (index >= 0) this.items.splice(index, 1)
    return index >= 0
  }

  indexOf(value: unknown, from = 0): number {
    const start = from < 0 ? Math.max(0, from + this.items.length) : from
    for (let index = start; index < this.items.length; index++) {
      if (isEqual(this.items[index], value)) return index
    }
    return -1
  }

  index(value: unknown, from?: number): number {
    const index = this.indexOf(value, from)
    if (index < 0)
      throw noSuchKey('index() did not find the item in the list', 'use indexOf(), which gives -1')
    return index
  }

  count(value: unknown): number {
    return this.items.filter(item => isEqual(item, value)).length
  }

  reverse(): void {
    this.items.reverse()
  }

  sort(order: SortOrder<unknown> = {}): void {
    if (typeof order === 'function') {
      this.items.sort(order)
      return
    }
    const { key = (item: unknown) => item, reverse = false } = order
    const sign = reverse ? -1 : 1
    const keyed = this.items.map(item => ({ item, key: key(item) as number }))
    keyed.sort((one, other) => sign * (one.key < other.key ? -1 : one.key > other.key ? 1 : 0))
    for (const [index, { item }] of keyed.entries()) this.items[index] = item
  }

  slice(start?: number, end?: number): unknown[] {
    return this.items.slice(start, end)
  }

  splice(start: number, count: number, ...values: unknown[]): unknown[] {
    return this.items.splice(start, count, ...values)
  }

  length(): number {
    return this.items.length
  }

  clear(): void {
    this.items.length = 0
  }

  concat(values: unknown): unknown[] {
    return [...this.items, ...itemsOf(values)]
  }

  repeat(times: number): unknown[] {
    return Array.from({ length: times }, () => this.items).flat(1)
  }

  change(index: number, change: (value: unknown) => unknown): unknown {
    const place = this.#place(index, 'update')
    return (this.items[place] = changed(change, this.items[place]))
  }
}

/** A proxy is equal to itself only, everything else to what has the same contents. */
function isEqual(one: unknown, other: unknown): boolean {
  if (one === other || one instanceof BaseProxy || other instanceof BaseProxy) return one === other
  return isDeepStrictEqual(one, other)
}

function plainItems<T>(items: Iterable<T> | ListProxy<T>): ListProxy<T> | T[] {
  if (items instanceof BaseProxy) return items
  assertIterable('Cannot add these items to the list', items)
  return Array.from(items)
}

function itemsOf(given: unknown): unknown[] {
  const from = referentOf(given)
  return from instanceof ManagedList ? [...from.items] : Array.from(from as Iterable<unknown>)
}

/**
 * A list in a manager, with methods of arrays and those of Python's list: each is one call there, and nothing comes in
 * between. Items are copies, but for proxies, which stay what they are. Negative indexes count from the end.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.managers.SyncManager.list
 *
 * @example
 * ```ts
 * import { Manager, Process } from 'multiproc'
 *
 * await using manager = await Manager()
 * const names = await manager.list(['ann'])
 * const child = new Process({ target: () => names.push('bob') })
 * child.start()
 * await child.join()
 * console.log(await names.copy()) // [ 'ann', 'bob' ]
 * ```
 */
export class ListProxy<T = unknown> extends BaseProxy<T[]> implements AsyncIterable<T> {
  /** An item, or undefined where there is none. */
  at(index: number): Promise<T | undefined> {
    return this.callMethod('at', [index]) as Promise<T | undefined>
  }

  /** @throws RangeError where there is no item. */
  get(index: number): Promise<T> {
    return this.callMethod('get', [index]) as Promise<T>
  }

  /** @throws RangeError where there is no item. */
  set(index: number, value: T): Promise<void> {
    return this.callMethod('set', [index, value]) as Promise<void>
  }

  /** Adds items at the end, and gives the new length. */
  push(...items: T[]): Promise<number> {
    return this.callMethod('push', items) as Promise<number>
  }

  /** Adds an item at the end. */
  async append(item: T): Promise<void> {
    await this.push(item)
  }

  /** Adds all items at the end: of an iterable, or of another list of the manager. */
  async extend(items: Iterable<T> | ListProxy<T>): Promise<void> {
    await this.callMethod('extend', [plainItems(items)])
  }

  /** Puts an item before the one at `index`. */
  insert(index: number, item: T): Promise<void> {
    return this.callMethod('insert', [index, item]) as Promise<void>
  }

  /** Takes an item out, the last one unless told otherwise. @throws RangeError where there is none. */
  pop(index = -1): Promise<T> {
    return this.callMethod('pop', [index]) as Promise<T>
  }

  /** Takes the first item out that is equal (also objects are compared by their contents); whether there was one. */
  remove(item: T): Promise<boolean> {
    return this.callMethod('remove', [item]) as Promise<boolean>
  }

  /** Where the first item is that is equal, or -1. */
  indexOf(item: T, from = 0): Promise<number> {
    return this.callMethod('indexOf', [item, from]) as Promise<number>
  }

  /** As `indexOf()`. @throws ProcessError `ERR_NOT_FOUND` when there is none, as Python's `index`. */
  index(item: T, from = 0): Promise<number> {
    return this.callMethod('index', [item, from]) as Promise<number>
  }

  async includes(item: T): Promise<boolean> {
    return (await this.indexOf(item)) >= 0
  }

  /** How many items are equal to it. */
  count(item: T): Promise<number> {
    return this.callMethod('count', [item]) as Promise<number>
  }

  reverse(): Promise<void> {
    return this.callMethod('reverse') as Promise<void>
  }

  /** Sorts there. Without an order numbers come by size and texts by their characters, and not all as texts. */
  sort(order: SortOrder<T> = {}): Promise<void> {
    return this.callMethod('sort', [order]) as Promise<void>
  }

  slice(start?: number, end?: number): Promise<T[]> {
    return this.callMethod('slice', [start, end]) as Promise<T[]>
  }

  /** Takes `count` items out and puts others in their place; gives those that were taken. */
  splice(start: number, count: number, ...items: T[]): Promise<T[]> {
    return this.callMethod('splice', [start, count, ...items]) as Promise<T[]>
  }

  length(): Promise<number> {
    return this.callMethod('length') as Promise<number>
  }

  clear(): Promise<void> {
    return this.callMethod('clear') as Promise<void>
  }

  /** The items and those of another list, as an array: Python's `+`. */
  async concat(items: Iterable<T> | ListProxy<T>): Promise<T[]> {
    return (await this.callMethod('concat', [plainItems(items)])) as T[]
  }

  /** The items so many times, as an array: Python's `*`. */
  repeat(times: number): Promise<T[]> {
    return this.callMethod('repeat', [times]) as Promise<T[]>
  }

  /** An array of the items. */
  copy(): Promise<T[]> {
    return this.getValue()
  }

  /**
   * Has the manager replace an item by what `change` makes of it, while nobody else can change it.
   *
   * @returns the new item
   * @throws what `change` throws; TypeError when it is async; RangeError where there is no item.
   */
  update(index: number, change: (item: T) => T): Promise<T> {
    return this.callMethod('change', [index, change]) as Promise<T>
  }

  /** The items as they are at the first step. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    yield* await this.copy()
  }
}

addProxyType('list', ListProxy)
refuseAssignments(ListProxy, 'list', { hasIndices: true })

/** @internal */
export const LIST: ServedType = {
  typeId: 'list',
  isBuiltIn: true,
  make: (items?: unknown) => new ManagedList(items),
  snapshot: object => (object as ManagedList).items,
}
