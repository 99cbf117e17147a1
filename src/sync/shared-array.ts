/** SharedArray: numbers in shared memory with the lock that goes with them. */
import { inspect } from 'node:util'
import { invalidArgument, invalidState } from '../errors.ts'
import {
  type ElementOf,
  type ElementType,
  type TypedArrayOf,
  arrayTypeOf,
  assertElement,
} from '../memory/element-types.ts'
import { GET_INDEX, SET_INDEX } from '../memory/indexed.ts'
import { type Elements, rawArray } from '../memory/raw-array.ts'
import { addReducer } from '../serialize/reducers.ts'
import type { Lock } from './lock.ts'
import { Locked, type SharedOptions, lockOf } from './locked.ts'
import type { RLock } from './rlock.ts'

interface Parts {
  type: ElementType
  raw: TypedArrayOf<ElementType>
  lock: Lock | RLock
}

let arriving: Parts | undefined

/** What is done with a typed array whatever its elements are. */
interface AnyArray<Element> {
  readonly length: number
  [index: number]: Element
  slice(start?: number, end?: number): AnyArray<Element>
  set(values: ArrayLike<Element>, offset?: number): void
  fill(value: Element, start?: number, end?: number): void
}

/**
 * Numbers in shared memory with a lock, as Python's `multiprocessing.Array`. It may be passed as an argument, captured
 * by a function, or sent through a queue; it stays the same memory.
 *
 * Every access takes the lock, each for itself: for several that belong together hold it (`guard()`), and for many use
 * `getObj()` meanwhile, which is an ordinary typed array and much faster.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Array
 *
 * @example
 * ```ts
 * import { Process, SharedArray } from 'multiproc'
 *
 * const numbers = new SharedArray('float64', [1, 2, 3])
 * const child = new Process({
 *   target: async () => {
 *     const held = await numbers.guard()
 *     for (let index = 0; index < numbers.length; index++) numbers[index]! *= 2
 *     held.release()
 *   },
 * })
 * child.start()
 * await child.join()
 * console.log([...numbers]) // [ 2, 4, 6 ]
 * ```
 */
export class SharedArray<Type extends ElementType = ElementType>
  extends Locked
  implements Iterable<ElementOf<Type>>
{
  /** The elements. Beyond the end there is undefined, and storing there is a RangeError. */
  [index: number]: ElementOf<Type>
  readonly #type: Type
  readonly #raw: TypedArrayOf<Type>
  readonly #array: AnyArray<ElementOf<Type>>

  /**
   * @param type - a name such as `'int32'` or one of Python's type codes; see {@link ElementType}
   * @param lengthOrValues - how many elements, all zero; or what they are. For `'c'` also text
   * @throws TypeError for an unknown type, for elements that are none of it, and for something else than a lock.
   * RangeError for a negative length. ProcessError `ERR_LIMIT` when there is not as much memory.
   */
  constructor(type: Type, lengthOrValues: Elements, options: SharedOptions = {}) {
    const arrived = arriving
    arriving = undefined
    super(arrived?.lock ?? lockOf('SharedArray', options))
    const constructor = arrayTypeOf(type)
    let elements = lengthOrValues
    if (typeof elements === 'object' && !ArrayBuffer.isView(elements)) {
      elements = [...(elements as Iterable<number>)]
      for (const element of elements) assertElement(constructor, element)
    }
    this.#type = type
    this.#raw = (arrived?.raw as TypedArrayOf<Type> | undefined) ?? rawArray(type, elements)
    this.#array = this.#raw as unknown as AnyArray<ElementOf<Type>>
  }

  /** How many elements it has; always the same. */
  get length(): number {
    return this.#array.length
  }

  /** What it was made with. */
  get type(): Type {
    return this.#type
  }

  /** The element at an index, from the end when negative; undefined when there is none. */
  at(index: number): ElementOf<Type> | undefined {
    return this[GET_INDEX](index < 0 ? index + this.length : index)
  }

  /** A copy of the elements from `start` to before `end`, in ordinary memory; negative ones count from the end. */
  slice(start?: number, end?: number): TypedArrayOf<Type> {
    return this.whileLocked(() => this.#array.slice(start, end)) as unknown as TypedArrayOf<Type>
  }

  /**
   * Replaces the elements from `offset` on, as the assignment to a slice in Python.
   *
   * @throws RangeError when there are more values than elements. TypeError for a value that is no such number.
   */
  set(values: Iterable<ElementOf<Type>>, offset = 0): void {
    const list = [...values]
    for (const value of list) assertElement(this.#raw.constructor, value)
    if (!Number.isInteger(offset) || offset < 0 || offset + list.length > this.length) {
      throw invalidArgument(
        RangeError,
        `Cannot set ${list.length} elements of a SharedArray from ${offset} on: it has ${this.length}\n` +
          'To fix: make it as long as it will have to be',
      )
    }
    this.whileLocked(() => this.#array.set(list, offset))
  }

  /** Sets all elements from `start` to before `end` to one value. */
  fill(value: ElementOf<Type>, start?: number, end?: number): this {
    assertElement(this.#raw.constructor, value)
    this.whileLocked(() => this.#array.fill(value, start, end))
    return this
  }

  /** The elements without their lock: the same memory, as an ordinary typed array. */
  getObj(): TypedArrayOf<Type> {
    return this.#raw
  }

  /**
   * For the type `'c'`: the text before the first zero byte. Setting it writes text and a zero byte after it, where
   * there is room.
   *
   * @throws RangeError for text that is too long. ProcessError `ERR_INVALID_STATE` for other types.
   */
  get value(): string {
    const bytes = Buffer.from(this.raw)
    const end = bytes.indexOf(0)
    return bytes.toString('utf8', 0, end < 0 ? bytes.length : end)
  }

  set value(text: string) {
    const bytes = Buffer.from(text)
    const target = this.#bytes()
    if (bytes.length > this.length) {
      throw invalidArgument(
        RangeError,
        `Cannot set the text of a SharedArray to ${bytes.length} bytes: it has ${this.length}\n` +
          'To fix: make it as long as the longest text, in bytes of UTF-8',
      )
    }
    this.whileLocked(() => {
      target.set(bytes)
      if (bytes.length < target.length) target[bytes.length] = 0
    })
  }

  /** For the type `'c'`: a copy of all bytes. Setting it replaces all of them. */
  get raw(): Uint8Array {
    const bytes = this.#bytes()
    return this.whileLocked(() => bytes.slice())
  }

  set raw(bytes: Uint8Array) {
    const target = this.#bytes()
    if (bytes.length > target.length) {
      throw invalidArgument(
        RangeError,
        `Cannot set ${bytes.length} bytes of a SharedArray: it has ${target.length}\n` +
          'To fix: make it as long as it will have to be',
      )
    }
    this.whileLocked(() => target.fill(0).set(bytes))
  }

  #bytes(): Uint8Array {
    if (this.#type === 'c') return this.#raw as Uint8Array
    throw invalidState(
      `Cannot use a SharedArray of the type '${this.#type}' as text\nTo fix: make it with the type 'c'`,
    )
  }

  /** @internal */
  [GET_INDEX](index: number): ElementOf<Type> | undefined {
    return this.whileLocked(() => this.#array[index])
  }

  /** @internal */
  [SET_INDEX](index: number, value: unknown): void {
    if (index >= this.length) {
      throw invalidArgument(
        RangeError,
        `Cannot set element ${index} of a SharedArray: it has ${this.length}\n` +
          'To fix: make it as long as it will have to be',
      )
    }
    assertElement(this.#raw.constructor, value)
    this.whileLocked(() => {
      this.#array[index] = value as ElementOf<Type>
    })
  }

  /** The elements as they are when the iteration begins. */
  [Symbol.iterator](): Iterator<ElementOf<Type>> {
    return (this.slice() as unknown as Iterable<ElementOf<Type>>)[Symbol.iterator]()
  }

  /** Its type, length and lock. */
  override toString(): string {
    return `<SharedArray ${this.#type} of ${this.length}, ${String(this.getLock())}>`
  }

  [inspect.custom](): string {
    return this.toString()
  }
}

addReducer<SharedArray>({
  type: SharedArray,
  name: 'multiproc.SharedArray',
  module: import.meta.url,
  encode: (array): Parts => ({ type: array.type, raw: array.getObj(), lock: array.getLock() }),
  decode: data => {
    const parts = data as Parts
    arriving = parts
    return new SharedArray(parts.type, 0)
  },
})
