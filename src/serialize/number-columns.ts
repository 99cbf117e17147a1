/**
 * The widths and typed arrays of the number columns, by column kind. Columns lie in little-endian order.
 */
/** On the few big-endian machines columns are read and written number by number. */
export const IS_LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

export type ColumnArray = Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Float64Array
type ColumnArrayConstructor = new (buffer: ArrayBuffer, byteOffset: number, length: number) => ColumnArray

/** Indexed by the kinds COLUMN_INT8 to COLUMN_FLOAT64 of tags.ts. */
export const COLUMN_ARRAYS: readonly (ColumnArrayConstructor | undefined)[] = [
  undefined,
  Int8Array,
  Uint8Array,
  Int16Array,
  Uint16Array,
  Int32Array,
  Float64Array,
]
export const COLUMN_WIDTHS: readonly number[] = [0, 1, 1, 2, 2, 4, 8]

/** Bigger arrays are put together from copies of templates. */
const TEMPLATE_LENGTH = 16 * 1024
let integerTemplate: number[] | undefined
let doubleTemplate: number[] | undefined

function makeTemplate(value: number): number[] {
  const template: number[] = []
  for (let i = 0; i < TEMPLATE_LENGTH; i++) template.push(value)
  return template
}

/**
 * An ordinary array with the numbers of a typed array. V8 keeps a copy of a packed array packed, so a copied template
 * that is then overwritten has no holes and the right element kind, at a fifth of the cost of pushing.
 */
export function packedArrayFrom(column: ColumnArray): number[] {
  const { length } = column
  const isDouble = column instanceof Float64Array
  const template = isDouble ? (doubleTemplate ??= makeTemplate(0.5)) : (integerTemplate ??= makeTemplate(0))
  let array: number[]
  if (length <= TEMPLATE_LENGTH) array = template.slice(0, length)
  else {
    const parts: number[][] = []
    for (let rest = length - TEMPLATE_LENGTH; rest > 0; rest -= TEMPLATE_LENGTH) {
      parts.push(rest >= TEMPLATE_LENGTH ? template : template.slice(0, rest))
    }
    array = template.concat(...parts)
  }
  for (let i = 0; i < length; i++) array[i] = column[i]!
  return array
}
