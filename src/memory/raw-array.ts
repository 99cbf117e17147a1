/** Arrays in shared memory by type code, as Python's RawArray. */
import { type ElementType, type TypedArrayOf, arrayTypeOf } from './element-types.ts'
import { sharedArray } from './shared-array.ts'

/**
 * Makes a typed array in shared memory without a lock, as Python's `RawArray`: {@link sharedArray} with a type code.
 *
 * @param type - see {@link ElementType}
 * @param lengthOrValues - how many elements, all zero; or what they are
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.sharedctypes.RawArray
 *
 * @example
 * ```ts
 * import { rawArray } from 'multiproc'
 *
 * const numbers = rawArray('i', [1, 2, 3])
 * console.log(numbers instanceof Int32Array, numbers[1]) // true 2
 * ```
 */
export function rawArray<Type extends ElementType>(
  type: Type,
  lengthOrValues: number | Iterable<number> | Iterable<bigint>,
): TypedArrayOf<Type> {
  return sharedArray(arrayTypeOf(type), lengthOrValues)
}
