/**
 * Answers what own keys an array or a typed array has besides its elements, without listing a million indices.
 */
import { inspect } from 'node:util'

/** Above this length, asking `inspect` for the non-index keys (a flat microsecond) beats listing all keys. */
const LISTED_LENGTH_MAX = 64
/** The name of the last index, by length. */
const LAST_INDICES: readonly string[] = Array.from({ length: LISTED_LENGTH_MAX + 1 }, (_, length) =>
  String(length - 1),
)

const INDEX = /^(?:0|[1-9]\d{0,9})$/

/** Whether a key is an array index: a canonical number below 2^32 - 1. */
export function isIndex(key: string): boolean {
  return INDEX.test(key) && Number(key) < 0xffff_ffff
}

/** False only when the array certainly has no enumerable named properties; true means: look closely. */
export function hasExtraKeys(array: readonly unknown[]): boolean {
  const length = array.length
  if (length <= LISTED_LENGTH_MAX) {
    // Indices come first and in order: if the last key is the last index, nothing follows and nothing is missing.
    const keys = Object.keys(array)
    return keys.length !== length || (length > 0 && keys[length - 1] !== LAST_INDICES[length])
  }
  const shown = inspect(array, { maxArrayLength: 0, depth: 0, customInspect: false })
  return shown !== `[ ... ${length} more items ]`
}

/** The names of the own enumerable properties that are no elements. */
export function fieldNames(value: object): string[] {
  if (!Array.isArray(value) && !ArrayBuffer.isView(value)) return Object.keys(value)
  return Object.keys(value).filter(key => !isIndex(key))
}

/** True when at least half of the indices exist, so that writing every hole is no waste. */
export function isDense(array: readonly unknown[]): boolean {
  const length = array.length
  for (let i = 0; i < length; i++) {
    if (array[i] === undefined && !Object.hasOwn(array, i)) return Object.keys(array).length * 2 > length
  }
  return true
}
