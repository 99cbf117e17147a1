/** Typed arrays in memory that all processes and threads of a program have in common. */
import { inspect } from 'node:util'
import { invalidArgument } from '../errors.ts'
import { allocateSharedBuffer } from '../platform/shared-buffers.ts'
import type { TypedArrayConstructor } from './element-types.ts'

/**
 * Makes a typed array in shared memory. It is an ordinary typed array, but when it is passed to another process or
 * thread, by whatever way (as an argument, a result, a captured variable, through a queue), the receiver gets the same
 * memory, and no copy. So do views of it, such as `subarray()`.
 *
 * The memory is given back when no process has a view of it any more. Nothing orders what several processes do to it:
 * use Atomics, or a lock.
 *
 * @param type - the constructor: `Float64Array`, `Int32Array`, `BigInt64Array` ...
 * @param lengthOrValues - how many elements, all zero; or what they are
 * @throws TypeError and RangeError for arguments that a typed array does not take. ProcessError `ERR_LIMIT` when there
 * is not as much memory.
 *
 * @example
 * ```ts
 * import { Pool, sharedArray } from 'multiproc'
 *
 * const numbers = sharedArray(Float64Array, 1_000_000)
 * await using pool = new Pool(2)
 * await pool.map((half: Float64Array) => void half.fill(1), [
 *   numbers.subarray(0, 500_000),
 *   numbers.subarray(500_000),
 * ])
 * console.log(numbers.every(each => each === 1)) // true
 * ```
 */
export function sharedArray<T extends ArrayBufferView>(
  type: TypedArrayConstructor<T>,
  lengthOrValues: number | Iterable<number> | Iterable<bigint>,
): T {
  if (!isTypedArrayConstructor(type)) {
    throw invalidArgument(
      TypeError,
      `sharedArray() needs the constructor of a typed array, and got ${inspect(type, { depth: 0 })}\n` +
        'To fix: pass Float64Array, Int32Array, Uint8Array, BigInt64Array ...',
    )
  }
  if (typeof lengthOrValues === 'number') return zeros(type, lengthOrValues)
  const isIterable =
    typeof (lengthOrValues as Partial<Iterable<unknown>> | null)?.[Symbol.iterator] === 'function'
  // The characters of '12' would become numbers.
  if (!isIterable || typeof lengthOrValues === 'string') {
    throw invalidArgument(
      TypeError,
      `sharedArray() needs a length or the elements, and got ${inspect(lengthOrValues, { depth: 0 })}\n` +
        'To fix: pass a number, or an array or another iterable of numbers',
    )
  }
  const values: ArrayLike<unknown> =
    Array.isArray(lengthOrValues) || ArrayBuffer.isView(lengthOrValues)
      ? (lengthOrValues as unknown as ArrayLike<unknown>)
      : [...lengthOrValues]
  const array = zeros(type, values.length)
  ;(array as unknown as { set(values: ArrayLike<unknown>): void }).set(values)
  return array
}

function zeros<T extends ArrayBufferView>(type: TypedArrayConstructor<T>, length: number): T {
  if (!Number.isSafeInteger(length) || length < 0) {
    throw invalidArgument(
      RangeError,
      `A shared array needs a length of 0 or more, and got ${length}\nTo fix: pass an integer`,
    )
  }
  // Memory has at least one byte; an empty array shows nothing of it.
  const buffer = allocateSharedBuffer(Math.max(1, length * type.BYTES_PER_ELEMENT))
  return new type(buffer, 0, length)
}

const TypedArray = Object.getPrototypeOf(Uint8Array) as abstract new () => unknown

function isTypedArrayConstructor(type: unknown): boolean {
  // Buffer and other subclasses have another idea of what the arguments of the constructor are.
  return typeof type === 'function' && Object.getPrototypeOf(type) === TypedArray
}
