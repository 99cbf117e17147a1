/** RawValue: one number in memory that all processes and threads have in common, without a lock. */
import { inspect } from 'node:util'
import { addShareable, callNow, handleToSend, remoteForm, remoteToString } from '../broker/shareable.ts'
import { objectFor, openBlock } from '../platform/heap-objects.ts'
import type { BlockHandle } from '../platform/shared-heap.ts'
import { type ElementOf, type ElementType, arrayTypeOf, assertElement } from './element-types.ts'

/** Of the block that holds a value. Blocks of sync/ begin at 0x5301. */
const BLOCK_KIND = 0x4d01

/**
 * One number in shared memory without a lock, as Python's `RawValue`. It may be passed as an argument, captured by a
 * function, or sent through a queue; it stays the same number.
 *
 * Reading and writing it is one access to the memory, but `value.value += 1` is two: others may write in between. Use
 * `SharedValue`, which has a lock, or Atomics on `rawArray(type, 1)`.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.sharedctypes.RawValue
 *
 * @example
 * ```ts
 * import { Process, RawValue } from 'multiproc'
 *
 * const progress = new RawValue('float64')
 * const child = new Process({ target: () => void (progress.value = 0.5) })
 * child.start()
 * await child.join()
 * console.log(progress.value) // 0.5
 * ```
 */
export class RawValue<Type extends ElementType = ElementType> {
  readonly #type: Type
  readonly #array: { [0]: ElementOf<Type> }

  /**
   * @param type - a name such as `'int32'` or one of Python's type codes; see {@link ElementType}
   * @param initial - default: 0
   * @throws TypeError for an unknown type, and for a value that is none of it.
   */
  constructor(type: Type, initial?: ElementOf<Type>) {
    const constructor = arrayTypeOf(type)
    if (initial !== undefined) assertElement(constructor, initial)
    const { heap, blocks, isNew } = openBlock(this, BLOCK_KIND)
    this.#type = type
    const array: unknown = new constructor(heap.words.buffer, blocks[0].base * 4, 1)
    this.#array = array as { [0]: ElementOf<Type> }
    if (isNew && initial !== undefined) this.#array[0] = initial
  }

  /**
   * The number. An integer that does not fit wraps around, as in C.
   *
   * @throws TypeError for something else than a number, an integer, or a bigint, as the type demands.
   */
  get value(): ElementOf<Type> {
    return this.#array[0]
  }

  set value(value: ElementOf<Type>) {
    assertElement(this.#array.constructor, value)
    this.#array[0] = value
  }

  /** What it was made with. */
  get type(): Type {
    return this.#type
  }

  toString(): string {
    return `<RawValue ${this.#type} ${String(this.value)}>`
  }

  [inspect.custom](): string {
    return this.toString()
  }
}

/** Of a number that is in the memory of another process. */
const REMOTE_VALUE: object & ThisType<RawValue> = {
  get value(): unknown {
    return callNow(this, 'get')
  },
  set value(value: unknown) {
    callNow(this, 'set', [value])
  },
  toString(): string {
    return remoteToString(this)
  },
}

const REMOTE = remoteForm(RawValue, REMOTE_VALUE)

interface Parts {
  handle: BlockHandle
  type: ElementType
}

addShareable<RawValue>({
  type: RawValue,
  name: 'multiproc.RawValue',
  module: import.meta.url,
  encode: (value, receiver): Parts => ({ handle: handleToSend(value, receiver), type: value.type }),
  handleIn: data => (data as Parts).handle,
  decode: data => {
    const { handle, type } = data as Parts
    arrayTypeOf(type)
    return objectFor(handle, BLOCK_KIND, () => new RawValue(type))
  },
  makeRemote: data => Object.create(REMOTE, { type: { value: (data as Parts).type } }) as RawValue,
  operations: {
    get: value => value.value,
    set: (value, [number]) => {
      value.value = number as number
    },
  },
})
