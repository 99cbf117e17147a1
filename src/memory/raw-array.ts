/** Arrays in shared memory by type code, as Python's RawArray. */
import { type ElementType, type TypedArrayOf, arrayTypeOf } from './element-types.ts'
import { sharedArray } from './shared-array.ts'

/** A length, or the elements; for the type `'c'` also text, of which the bytes in UTF-8 become the elements. */
export type Elements = number | string | Iterable<number> | Iterable<bigint>

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
export function rawArray<Type extends ElementType>(type: Type, lengthOrValues: Elements): TypedArrayOf<Type> {
  const isText = type === 'c' && typeof lengthOrValues === 'string'
  return sharedArray(
    arrayTypeOf(type),
    isText ? Buffer.from(lengthOrValues) : (lengthOrValues as Exclude<Elements, string>),
  )
}
