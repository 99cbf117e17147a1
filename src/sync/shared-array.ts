/** SharedArray: numbers in shared memory with the lock that goes with them. */
import { inspect } from 'node:util'
import { publishMemory } from '../broker/home.ts'
import { memoryOf } from '../broker/published-memory.ts'
import { addShareable, handleToSend } from '../broker/shareable.ts'
import { invalidArgument, invalidState } from '../errors.ts'
import {
  type ElementOf,
  type ElementType,
  type TypedArrayOf,
  arrayTypeOf,
  assertElement,
} from '../memory/element-types.ts'
import { type AnyArray, ArrayElements, type ElementStore } from '../memory/element-store.ts'
import { GET_INDEX, SET_INDEX } from '../memory/indexed.ts'
import { type Elements, rawArray } from '../memory/raw-array.ts'
import { RemoteElements, elementOperations } from '../memory/remote-elements.ts'
import { hasBlock, isKnown, objectFor, openBlock } from '../platform/heap-objects.ts'
import { onlyForThreads } from '../platform/shared-buffers.ts'
import { type BlockHandle, sharedHeap } from '../platform/shared-heap.ts'
import type { Receiver } from '../serialize/reducers.ts'
import type { Lock } from './lock.ts'
import { Locked, type SharedOptions, lockOf } from './locked.ts'
import type { RLock } from './rlock.ts'

/** What travels to whoever can have the memory. */
interface Parts {
  type: ElementType
  raw: TypedArrayOf<ElementType>
  lock: Lock | RLock
}

/** What travels to a process that cannot. */
interface RemoteParts {
  handle: BlockHandle
  type: ElementType
  length: number
  lock: Lock | RLock
}

/** Of the block that stands for an array whose memory is asked for from elsewhere. */
const BLOCK_KIND = 0x5310

let arriving: Parts | RemoteParts | undefined

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
  /** `undefined` when the memory is in another process. */
  readonly #raw: TypedArrayOf<Type> | undefined
  readonly #elements: ElementStore<ElementOf<Type>>

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
    if (isIterableObject(elements) && !ArrayBuffer.isView(elements)) {
      elements = [...elements]
      for (const element of elements) assertElement(constructor, element)
    }
    this.#type = type
    if (arrived !== undefined && !('raw' in arrived)) {
      this.#elements = new RemoteElements(this, arrived.length)
      return
    }
    this.#raw = (arrived?.raw as TypedArrayOf<Type> | undefined) ?? rawArray(type, elements)
    this.#elements = new ArrayElements(this.#raw as unknown as AnyArray<ElementOf<Type>>)
  }

  /** How many elements it has; always the same. */
  get length(): number {
    return this.#elements.length
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
    return this.whileLocked(() => this.#elements.slice(start, end)) as TypedArrayOf<Type>
  }

  /**
   * Replaces the elements from `offset` on, as the assignment to a slice in Python.
   *
   * @throws RangeError when there are more values than elements. TypeError for a value that is no such number.
   */
  set(values: Iterable<ElementOf<Type>>, offset = 0): void {
    const list = [...values]
    for (const value of list) assertElement(arrayTypeOf(this.#type), value)
    if (!Number.isInteger(offset) || offset < 0 || offset + list.length > this.length) {
      throw invalidArgument(
        RangeError,
        `Cannot set ${list.length} elements of a SharedArray from ${offset} on: it has ${this.length}\n` +
          'To fix: make it as long as it will have to be',
      )
    }
    this.whileLocked(() => this.#elements.set(list, offset))
  }

  /** Sets all elements from `start` to before `end` to one value. */
  fill(value: ElementOf<Type>, start?: number, end?: number): this {
    assertElement(arrayTypeOf(this.#type), value)
    this.whileLocked(() => this.#elements.fill(value, start, end))
    return this
  }

  /**
   * The elements without their lock: the same memory, as an ordinary typed array.
   *
   * @throws ProcessError `ERR_NOT_SUPPORTED` without the native addon, in another process than the one that made it.
   */
  getObj(): TypedArrayOf<Type> {
    if (this.#raw !== undefined) return this.#raw
    throw onlyForThreads('use the memory of a SharedArray of another process directly')
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
    this.#assertText()
    if (bytes.length > this.length) {
      throw invalidArgument(
        RangeError,
        `Cannot set the text of a SharedArray to ${bytes.length} bytes: it has ${this.length}\n` +
          'To fix: make it as long as the longest text, in bytes of UTF-8',
      )
    }
    this.whileLocked(() => {
      const isShorter = bytes.length < this.length
      this.#elements.set([...bytes, ...(isShorter ? [0] : [])] as ElementOf<Type>[], 0)
    })
  }

  /** For the type `'c'`: a copy of all bytes. Setting it replaces all of them. */
  get raw(): Uint8Array {
    this.#assertText()
    return this.whileLocked(() => this.#elements.slice()) as Uint8Array
  }

  set raw(bytes: Uint8Array) {
    this.#assertText()
    if (bytes.length > this.length) {
      throw invalidArgument(
        RangeError,
        `Cannot set ${bytes.length} bytes of a SharedArray: it has ${this.length}\n` +
          'To fix: make it as long as it will have to be',
      )
    }
    const all = new Uint8Array(this.length)
    all.set(bytes)
    this.whileLocked(() => this.#elements.set(all as unknown as ArrayLike<ElementOf<Type>>, 0))
  }

  #assertText(): void {
    if (this.#type === 'c') return
    throw invalidState(
      `Cannot use a SharedArray of the type '${this.#type}' as text\nTo fix: make it with the type 'c'`,
    )
  }

  /** @internal */
  [GET_INDEX](index: number): ElementOf<Type> | undefined {
    return this.whileLocked(() => this.#elements.get(index))
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
    assertElement(arrayTypeOf(this.#type), value)
    this.whileLocked(() => {
      this.#elements.put(index, value as ElementOf<Type>)
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

/** A block for it, when it is first sent to a process that cannot have its memory. */
function handleFor(array: SharedArray, receiver: Receiver): BlockHandle {
  if (!hasBlock(array)) openBlock(array, BLOCK_KIND)
  const handle = handleToSend(array, receiver)
  publishMemory(handle, array.getObj().buffer as ArrayBufferLike as SharedArrayBuffer)
  return handle
}

function isIterableObject(value: unknown): value is Iterable<number> {
  return typeof value === 'object' && value !== null && Symbol.iterator in value
}

addShareable<SharedArray>({
  type: SharedArray,
  name: 'multiproc.SharedArray',
  module: import.meta.url,
  encode: (array, receiver): Parts | RemoteParts => {
    const { type, length } = array
    const lock = array.getLock()
    if (receiver.isSameProcess || sharedHeap().isNative) return { type, raw: array.getObj(), lock }
    return { handle: handleFor(array, receiver), type, length, lock }
  },
  handleIn: data => ('raw' in (data as object) ? undefined : (data as RemoteParts).handle),
  isWhole: data =>
    memoryOf((data as RemoteParts).handle) !== undefined || isKnown((data as RemoteParts).handle),
  decode: data => {
    const parts = data as Parts | RemoteParts
    const { type, lock } = parts
    const arrive = (): SharedArray => new SharedArray(type, 0)
    if ('raw' in parts) {
      arriving = parts
      return arrive()
    }
    const { handle, length } = parts
    return objectFor(handle, BLOCK_KIND, () => {
      const raw = new (arrayTypeOf(type))(memoryOf(handle)!, 0, length)
      arriving = { type, raw, lock }
      const array = arrive()
      openBlock(array, BLOCK_KIND)
      return array
    })
  },
  makeRemote: data => {
    arriving = data as RemoteParts
    return new SharedArray(arriving.type, 0)
  },
  partsOf: array => [array.getLock()],
  operations: elementOperations(array => array.getObj() as unknown as AnyArray<unknown>),
})
