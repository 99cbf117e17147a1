/**
 * Columns of numbers: the widths and typed arrays by column kind, the choice of the narrowest way to write one, and
 * the way back to ordinary arrays. Columns lie in little-endian order.
 */
import * as tags from './tags.ts'

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
 * An ordinary array of that length, without holes and with room for integers or for doubles. V8 keeps a copy of a
 * packed array packed, so a copied template that is then overwritten takes a fifth of the time of pushing.
 */
function newPackedArray(length: number, isDouble: boolean): number[] {
  const template = isDouble ? (doubleTemplate ??= makeTemplate(0.5)) : (integerTemplate ??= makeTemplate(0))
  if (length <= TEMPLATE_LENGTH) return template.slice(0, length)
  const parts: number[][] = []
  for (let rest = length - TEMPLATE_LENGTH; rest > 0; rest -= TEMPLATE_LENGTH) {
    parts.push(rest >= TEMPLATE_LENGTH ? template : template.slice(0, rest))
  }
  return template.concat(...parts)
}

/** An ordinary array with the numbers of a typed array. */
export function packedArrayFrom(column: ColumnArray): number[] {
  const { length } = column
  const array = newPackedArray(length, column instanceof Float64Array)
  for (let i = 0; i < length; i++) array[i] = column[i]!
  return array
}

/** How a column of numbers is written: as it is, or as the differences between neighbours. */
export interface NumberPlan {
  /** The narrowest kind that holds every number exactly. */
  kind: number
  /** The narrowest kind that holds every difference exactly, where that is narrower. */
  deltaKind?: number
}

/** Fewer numbers are not worth the differences. */
const DELTA_LENGTH_MIN = 32
const PLANS: readonly NumberPlan[] = COLUMN_WIDTHS.map((_, kind) => ({ kind }))

/** The narrowest way to write numbers exactly; `undefined` when something is no number. */
export function numberPlan(values: readonly unknown[]): NumberPlan | undefined {
  const { length } = values
  let min = 0
  let max = 0
  let deltaMin = 0
  let deltaMax = 0
  let previous = values[0]
  for (let index = 0; index < length; index++) {
    const value = values[index]
    if (typeof value !== 'number') return undefined
    // A fraction, NaN, or -0, which no integer kind can tell from 0.
    if (Math.floor(value) !== value || (value === 0 && 1 / value < 0)) return floatPlan(values, index)
    if (value < min) min = value
    else if (value > max) max = value
    const delta = value - (previous as number)
    if (delta < deltaMin) deltaMin = delta
    else if (delta > deltaMax) deltaMax = delta
    previous = value
  }
  // The difference of two integers is exact while both are safe; infinity is no safe integer either.
  if (min < Number.MIN_SAFE_INTEGER || max > Number.MAX_SAFE_INTEGER) return PLANS[tags.COLUMN_FLOAT64]
  const kind = integerKind(min, max)
  if (length < DELTA_LENGTH_MIN) return PLANS[kind]
  const deltaKind = integerKind(deltaMin, deltaMax)
  return COLUMN_WIDTHS[deltaKind]! < COLUMN_WIDTHS[kind]! ? { kind, deltaKind } : PLANS[kind]
}

function floatPlan(values: readonly unknown[], from: number): NumberPlan | undefined {
  for (let index = from; index < values.length; index++) {
    if (typeof values[index] !== 'number') return undefined
  }
  return PLANS[tags.COLUMN_FLOAT64]
}

/** For integers from `min` (at most 0) to `max` (at least 0). */
function integerKind(min: number, max: number): number {
  if (min >= 0 && max <= 0xff) return tags.COLUMN_UINT8
  if (min >= 0 && max <= 0xffff) return tags.COLUMN_UINT16
  if (min >= -0x80 && max <= 0x7f) return tags.COLUMN_INT8
  if (min >= -0x8000 && max <= 0x7fff) return tags.COLUMN_INT16
  if (min >= -0x8000_0000 && max <= 0x7fff_ffff) return tags.COLUMN_INT32
  return tags.COLUMN_FLOAT64
}

/** The difference of each number to the one before it; 0 for the first. */
export function deltasOf(values: readonly number[], kind: number): ColumnArray {
  const { length } = values
  const deltas = new COLUMN_ARRAYS[kind]!(new ArrayBuffer(length * COLUMN_WIDTHS[kind]!), 0, length)
  let previous = values[0]!
  for (let i = 1; i < length; i++) {
    const value = values[i]!
    deltas[i] = value - previous
    previous = value
  }
  return deltas
}

/** The numbers whose differences these are. `isDouble`: whether some of them are beyond 32 bits. */
export function sumsOf(first: number, deltas: ColumnArray, isDouble: boolean): number[] {
  const { length } = deltas
  const sums = newPackedArray(length, isDouble)
  let sum = first
  for (let i = 0; i < length; i++) {
    sum += deltas[i]!
    sums[i] = sum
  }
  return sums
}

/** Memory outside of V8's heap that comes and goes with every message makes V8 collect all garbage again and again. */
const SCRATCH_LENGTH = 1 << 15
let scratch: Float64Array<ArrayBuffer> | undefined

/** As `sumsOf`, without a box for any number. The array is that of the next call, too. */
export function typedSumsOf(first: number, deltas: ColumnArray): Float64Array<ArrayBuffer> {
  const { length } = deltas
  const sums =
    length > SCRATCH_LENGTH
      ? new Float64Array(length)
      : (scratch ??= new Float64Array(SCRATCH_LENGTH)).subarray(0, length)
  let sum = first
  for (let i = 0; i < length; i++) {
    sum += deltas[i]!
    sums[i] = sum
  }
  return sums
}
