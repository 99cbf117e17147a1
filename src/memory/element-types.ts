/** The types of numbers in shared memory, by Python's type codes and by names that say the width. */
import { inspect } from 'node:util'
import { invalidArgument } from '../errors.ts'

/** The typed arrays, by the names of their elements. Type codes are Python's, where C's types have their usual widths. */
const TYPES = {
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  float32: Float32Array,
  float64: Float64Array,
  b: Int8Array,
  B: Uint8Array,
  h: Int16Array,
  H: Uint16Array,
  i: Int32Array,
  I: Uint32Array,
  l: BigInt64Array,
  L: BigUint64Array,
  q: BigInt64Array,
  Q: BigUint64Array,
  f: Float32Array,
  d: Float64Array,
  /** Bytes of text; see `SharedArray`. */
  c: Uint8Array,
} as const

/**
 * What the elements of a {@link SharedArray} or a {@link SharedValue} are: a name such as `'int32'` or `'float64'`, or
 * one of Python's type codes (`'i'`, `'d'`, ...). Those of 64 bits hold a `bigint`.
 */
export type ElementType = keyof typeof TYPES

/** The typed array whose elements have that type. */
export type TypedArrayOf<Type extends ElementType> = InstanceType<(typeof TYPES)[Type]>

/** What an element of that type is in JavaScript. */
export type ElementOf<Type extends ElementType> =
  TypedArrayOf<Type> extends { [index: number]: infer E } ? E : never

/** Any typed array that can lie in shared memory. */
export type AnyTypedArray = TypedArrayOf<ElementType>

/** A constructor of typed arrays: `Float64Array` and its kin. */
export interface TypedArrayConstructor<T extends ArrayBufferView> {
  new (buffer: ArrayBufferLike, byteOffset?: number, length?: number): T
  readonly name: string
  readonly BYTES_PER_ELEMENT: number
}

/** The typed array for a type. */
export function arrayTypeOf<Type extends ElementType>(type: Type): TypedArrayConstructor<TypedArrayOf<Type>> {
  if (typeof type === 'string' && Object.hasOwn(TYPES, type))
    return TYPES[type] as unknown as TypedArrayConstructor<TypedArrayOf<Type>>
  throw invalidArgument(
    TypeError,
    `Cannot share elements of the type ${inspect(type)}\n` +
      `To fix: use one of ${Object.keys(TYPES).join(' ')}`,
  )
}

/**
 * Checks what is to be stored as an element: what does not fit wraps around as in C, but a fraction is no integer.
 *
 * @param array - the constructor of the typed array that will hold it
 */
export function assertElement(array: { readonly name: string }, value: unknown): void {
  const isBig = array.name.startsWith('Big')
  const isFloat = array.name.startsWith('Float')
  if (isBig ? typeof value === 'bigint' : typeof value === 'number' && (isFloat || Number.isInteger(value)))
    return
  const wanted = isBig ? 'a bigint' : isFloat ? 'a number' : 'an integer'
  throw invalidArgument(
    TypeError,
    `Cannot store ${inspect(value, { depth: 0 })} in shared memory: an element of ${array.name} is ${wanted}\n` +
      `To fix: ${conversionOf(value, isBig) ?? 'convert it'}, or choose another type`,
  )
}

/** The text of what stores what was probably meant. */
function conversionOf(value: unknown, isBig: boolean): string | undefined {
  if (typeof value === 'boolean') return `pass ${Number(value)}${isBig ? 'n' : ''}`
  if (isBig && Number.isInteger(value)) return `pass ${BigInt(value as number)}n, or BigInt() of it`
  if (!isBig && typeof value === 'bigint') return 'pass Number() of it'
  return undefined
}
