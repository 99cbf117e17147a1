/** `manager.set()`: a Set in the server, and its proxy. */
import { BaseProxy, addProxyType } from './base-proxy.ts'
import { type ManagedKey, assertKey, noSuchKey } from './keys.ts'
import { referentOf } from './referents.ts'
import type { ServedType } from './served-type.ts'

/** In the server. */
class ManagedSet {
  readonly values = new Set<unknown>()

  constructor(values: unknown) {
    for (const value of valuesOf(values ?? [])) this.add(value)
  }

  add(value: unknown): void {
    assertKey(value, 'value')
    this.values.add(value)
  }

  has(value: unknown): boolean {
    return this.values.has(value)
  }

  delete(value: unknown): boolean {
    return this.values.delete(value)
  }

  remove(value: unknown): void {
    if (!this.values.delete(value))
      throw noSuchKey(
        'remove() did not find the value in the set',
        'use delete(), which tells whether it was there',
      )
  }

  pop(): unknown {
    const first = this.values.values().next()
    if (first.done === true) throw noSuchKey('pop() found the set empty', 'ask for its size() before')
    this.values.delete(first.value)
    return first.value
  }

  clear(): void {
    this.values.clear()
  }

  size(): number {
    return this.values.size
  }

  // ---- With other sets ----

  union(...others: unknown[]): Set<unknown> {
    const union = new Set(this.values)
    for (const other of others) for (const value of valuesOf(other)) union.add(value)
    return union
  }

  intersection(...others: unknown[]): Set<unknown> {
    const sets = others.map(valuesOf)
    return new Set([...this.values].filter(value => sets.every(set => set.has(value))))
  }

  difference(...others: unknown[]): Set<unknown> {
    const sets = others.map(valuesOf)
    return new Set([...this.values].filter(value => !sets.some(set => set.has(value))))
  }

  symmetricDifference(other: unknown): Set<unknown> {
    const values = valuesOf(other)
    const rest = [...values].filter(value => !this.values.has(value))
    return new Set([...this.difference(values), ...rest])
  }

  #become(values: Set<unknown>): void {
    for (const value of values) assertKey(value, 'value')
    for (const value of this.values) if (!values.has(value)) this.values.delete(value)
    for (const value of values) this.values.add(value)
  }

  update(...others: unknown[]): void {
    this.#become(this.union(...others))
  }

  intersectionUpdate(...others: unknown[]): void {
    this.#become(this.intersection(...others))
  }

  differenceUpdate(...others: unknown[]): void {
    this.#become(this.difference(...others))
  }

  symmetricDifferenceUpdate(other: unknown): void {
    this.#become(this.symmetricDifference(other))
  }

  isSubsetOf(other: unknown): boolean {
    const values = valuesOf(other)
    return [...this.values].every(value => values.has(value))
  }

  isSupersetOf(other: unknown): boolean {
    return [...valuesOf(other)].every(value => this.values.has(value))
  }

  isDisjointFrom(other: unknown): boolean {
    return [...valuesOf(other)].every(value => !this.values.has(value))
  }

  equals(other: unknown): boolean {
    const values = valuesOf(other)
    return values.size === this.values.size && this.isSubsetOf(values)
  }
}

function valuesOf(given: unknown): Set<unknown> {
  const from = referentOf(given)
  if (from instanceof ManagedSet) return from.values
  return from instanceof Set ? from : new Set(from as Iterable<unknown>)
}

/** Another set, of this manager or not. */
export type SetOperand<T> = Iterable<T> | SetProxy<T & ManagedKey>

/**
 * A set in a manager, with the methods of JavaScript's sets and of Python's. Values are primitive, or proxies. Where two
 * sets are taken together, the other one may be any iterable or another set of the manager; then nothing comes in between.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.managers.SyncManager.set
 *
 * @example
 * ```ts
 * import { Manager } from 'multiproc'
 *
 * await using manager = await Manager()
 * const seen = await manager.set(['a', 'b'])
 * await seen.add('c')
 * console.log(await seen.intersection(['b', 'c', 'd'])) // Set(2) { 'b', 'c' }
 * ```
 */
export class SetProxy<T = unknown> extends BaseProxy<Set<T>> implements AsyncIterable<T> {
  /** @throws (rejects with) TypeError for an object. */
  add(value: T): Promise<void> {
    return this.callMethod('add', [value]) as Promise<void>
  }

  has(value: T): Promise<boolean> {
    return this.callMethod('has', [value]) as Promise<boolean>
  }

  /** Whether the value was there. */
  delete(value: T): Promise<boolean> {
    return this.callMethod('delete', [value]) as Promise<boolean>
  }

  /** As `delete()`: Python's name. */
  async discard(value: T): Promise<void> {
    await this.delete(value)
  }

  /** @throws ProcessError `ERR_NOT_FOUND` for a value that is not there. */
  remove(value: T): Promise<void> {
    return this.callMethod('remove', [value]) as Promise<void>
  }

  /** Takes a value out. @throws ProcessError `ERR_NOT_FOUND` when there is none. */
  pop(): Promise<T> {
    return this.callMethod('pop') as Promise<T>
  }

  clear(): Promise<void> {
    return this.callMethod('clear') as Promise<void>
  }

  size(): Promise<number> {
    return this.callMethod('size') as Promise<number>
  }

  /** A new Set of what is in this one or another. */
  union(...others: SetOperand<T>[]): Promise<Set<T>> {
    return this.#with('union', others) as Promise<Set<T>>
  }

  /** A new Set of what is in all of them. */
  intersection(...others: SetOperand<T>[]): Promise<Set<T>> {
    return this.#with('intersection', others) as Promise<Set<T>>
  }

  /** A new Set of what is in this one only. */
  difference(...others: SetOperand<T>[]): Promise<Set<T>> {
    return this.#with('difference', others) as Promise<Set<T>>
  }

  /** A new Set of what is in one of both. */
  symmetricDifference(other: SetOperand<T>): Promise<Set<T>> {
    return this.#with('symmetricDifference', [other]) as Promise<Set<T>>
  }

  /** Adds what is in the others: Python's `|=`. */
  update(...others: SetOperand<T>[]): Promise<void> {
    return this.#with('update', others) as Promise<void>
  }

  /** Keeps what is in all of the others, too: Python's `&=`. */
  intersectionUpdate(...others: SetOperand<T>[]): Promise<void> {
    return this.#with('intersectionUpdate', others) as Promise<void>
  }

  /** Takes out what is in the others: Python's `-=`. */
  differenceUpdate(...others: SetOperand<T>[]): Promise<void> {
    return this.#with('differenceUpdate', others) as Promise<void>
  }

  /** Keeps what is in one of both: Python's `^=`. */
  symmetricDifferenceUpdate(other: SetOperand<T>): Promise<void> {
    return this.#with('symmetricDifferenceUpdate', [other]) as Promise<void>
  }

  isSubsetOf(other: SetOperand<T>): Promise<boolean> {
    return this.#with('isSubsetOf', [other]) as Promise<boolean>
  }

  isSupersetOf(other: SetOperand<T>): Promise<boolean> {
    return this.#with('isSupersetOf', [other]) as Promise<boolean>
  }

  isDisjointFrom(other: SetOperand<T>): Promise<boolean> {
    return this.#with('isDisjointFrom', [other]) as Promise<boolean>
  }

  /** Whether both have the same values: Python's `==`. */
  equals(other: SetOperand<T>): Promise<boolean> {
    return this.#with('equals', [other]) as Promise<boolean>
  }

  #with(method: string, others: readonly SetOperand<T>[]): Promise<unknown> {
    const operands = others.map(other =>
      other instanceof BaseProxy || other instanceof Set ? other : new Set(other),
    )
    return this.callMethod(method, operands)
  }

  /** A Set of the values. */
  copy(): Promise<Set<T>> {
    return this.getValue()
  }

  /** The values, in the order in which they came. */
  async values(): Promise<T[]> {
    return [...(await this.getValue())]
  }

  /** The values as they are at the first step. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    yield* await this.getValue()
  }
}

addProxyType('set', SetProxy)

/** @internal */
export const SET: ServedType = {
  typeId: 'set',
  isBuiltIn: true,
  make: (values?: unknown) => new ManagedSet(values),
  snapshot: object => (object as ManagedSet).values,
}
