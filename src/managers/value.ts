/** `manager.Value()` and `manager.Array()`: one value, and numbers of one type, in the server, and their proxies. */
import { invalidArgument } from '../errors.ts'
import {
  type AnyTypedArray,
  type ElementOf,
  type ElementType,
  type TypedArrayOf,
  arrayTypeOf,
  assertElement,
} from '../memory/element-types.ts'
import { BaseProxy, addProxyType } from './base-proxy.ts'
import { changed } from './keys.ts'
import type { ServedType } from './served-type.ts'
import { noAssignment, refuseAssignments } from './written-by-methods.ts'

/** In the server. */
class ManagedValue {
  value: unknown

  constructor(value: unknown) {
    this.value = value
  }

  get(): unknown {
    return this.value
  }

  set(value: unknown): void {
    this.value = value
  }

  change(change: (value: unknown) => unknown): unknown {
    return (this.value = changed(change, this.value))
  }
}

/**
 * One value in a manager, as Python's `manager.Value()`. It may be anything that can be sent.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.managers.SyncManager.Value
 */
export class ValueProxy<T = unknown> extends BaseProxy<T> {
  get(): Promise<T> {
    return this.callMethod('get') as Promise<T>
  }

  set(value: T): Promise<void> {
    return this.callMethod('set', [value]) as Promise<void>
  }

  /** As `get()`. It cannot be assigned to: what Python writes as `value.value += 1` is `update()` here. */
  get value(): Promise<T> {
    return this.get()
  }

  set value(_value: never) {
    throw noAssignment('ValueProxy', '"value"', 'await value.set(it), or value.update(old => old + 1)')
  }

  /** Has the manager replace the value by what `change` makes of it, while nobody else can change it. Gives the new one. */
  update(change: (value: T) => T): Promise<T> {
    return this.callMethod('change', [change]) as Promise<T>
  }
}

addProxyType('Value', ValueProxy)

/** @internal */
export const VALUE: ServedType = {
  typeId: 'Value',
  isBuiltIn: true,
  make: (value: unknown) => new ManagedValue(value),
  snapshot: object => (object as ManagedValue).value,
}

type Element = number | bigint

/** In the server. */
class ManagedArray {
  readonly array: AnyTypedArray

  constructor(type: ElementType, elements: number | Iterable<Element>) {
    const arrayType = arrayTypeOf(type)
    const values = typeof elements === 'number' ? undefined : Array.from(elements)
    for (const value of values ?? []) assertElement(arrayType, value)
    this.array = new (arrayType as new (from: unknown) => AnyTypedArray)(values ?? elements)
  }

  get(index: number): Element {
    return this.array[this.#place(index)]!
  }

  set(index: number, value: Element): void {
    assertElement(this.array.constructor, value)
    this.array[this.#place(index)] = value as never
  }

  #place(index: number): number {
    const { length } = this.array
    const place = index < 0 ? index + length : index
    if (Number.isInteger(place) && place >= 0 && place < length) return place
    throw invalidArgument(
      RangeError,
      `There is no element ${String(index)} in the array: it has ${length}\nTo fix: use an index from ${-length} to ${length - 1}`,
    )
  }

  length(): number {
    return this.array.length
  }

  slice(start?: number, end?: number): AnyTypedArray {
    return this.array.slice(start, end)
  }

  change(index: number, change: (value: Element) => Element): Element {
    const value = changed(change, this.get(index))
    this.set(index, value)
    return this.get(index)
  }
}

/**
 * Numbers of one type in a manager, as Python's `manager.Array()`. The number of elements does not change. Where speed
 * matters, a `SharedArray` is memory that all processes of one machine have in common.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.managers.SyncManager.Array
 */
export class ArrayProxy<Type extends ElementType = ElementType> extends BaseProxy<TypedArrayOf<Type>> {
  /** @throws RangeError where there is no element. */
  get(index: number): Promise<ElementOf<Type>> {
    return this.callMethod('get', [index]) as Promise<ElementOf<Type>>
  }

  /** @throws RangeError where there is no element; TypeError for what is no such number. */
  set(index: number, value: ElementOf<Type>): Promise<void> {
    return this.callMethod('set', [index, value]) as Promise<void>
  }

  length(): Promise<number> {
    return this.callMethod('length') as Promise<number>
  }

  slice(start?: number, end?: number): Promise<TypedArrayOf<Type>> {
    return this.callMethod('slice', [start, end]) as Promise<TypedArrayOf<Type>>
  }

  /** A typed array with the same elements. */
  copy(): Promise<TypedArrayOf<Type>> {
    return this.getValue()
  }

  /** Has the manager replace an element by what `change` makes of it. Gives the new one. */
  update(index: number, change: (value: ElementOf<Type>) => ElementOf<Type>): Promise<ElementOf<Type>> {
    return this.callMethod('change', [index, change]) as Promise<ElementOf<Type>>
  }
}

addProxyType('Array', ArrayProxy)
refuseAssignments(ArrayProxy, 'array', { hasIndices: true })

/** @internal */
export const ARRAY: ServedType = {
  typeId: 'Array',
  isBuiltIn: true,
  make: (type: ElementType, elements: number | Iterable<Element>) => new ManagedArray(type, elements),
  snapshot: object => (object as ManagedArray).array,
}
