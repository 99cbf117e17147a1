/**
 * Typed arrays on both sides of a map: as its items, which then travel as they are, and as what its results are put
 * into. Invariant: a result is in the array as it was returned, or its item has failed.
 */
import { types } from 'node:util'
import { invalidArgument } from '../errors.ts'

/** The classes of typed arrays, as the option `into` of `map` and `starmap` takes them. */
export type NumberArrayConstructor =
  | Int8ArrayConstructor
  | Uint8ArrayConstructor
  | Uint8ClampedArrayConstructor
  | Int16ArrayConstructor
  | Uint16ArrayConstructor
  | Int32ArrayConstructor
  | Uint32ArrayConstructor
  | Float32ArrayConstructor
  | Float64ArrayConstructor
  | BigInt64ArrayConstructor
  | BigUint64ArrayConstructor

/** The typed array that `map(fn, items, { into })` gives. */
export type NumberArrayOf<C extends NumberArrayConstructor> = C extends Float64ArrayConstructor
  ? Float64Array<ArrayBuffer>
  : C extends Float32ArrayConstructor
    ? Float32Array<ArrayBuffer>
    : C extends Int8ArrayConstructor
      ? Int8Array<ArrayBuffer>
      : C extends Uint8ArrayConstructor
        ? Uint8Array<ArrayBuffer>
        : C extends Uint8ClampedArrayConstructor
          ? Uint8ClampedArray<ArrayBuffer>
          : C extends Int16ArrayConstructor
            ? Int16Array<ArrayBuffer>
            : C extends Uint16ArrayConstructor
              ? Uint16Array<ArrayBuffer>
              : C extends Int32ArrayConstructor
                ? Int32Array<ArrayBuffer>
                : C extends Uint32ArrayConstructor
                  ? Uint32Array<ArrayBuffer>
                  : C extends BigInt64ArrayConstructor
                    ? BigInt64Array<ArrayBuffer>
                    : C extends BigUint64ArrayConstructor
                      ? BigUint64Array<ArrayBuffer>
                      : never

/** What such an array holds: `bigint` or `number`. */
export type NumberIn<C extends NumberArrayConstructor> = NumberArrayOf<C>[number]

/** Items or results in a row: an ordinary array, or numbers without boxes. */
export type Values = readonly unknown[] | NumberArray

/** A typed array, whichever numbers it has. */
export interface NumberArray {
  readonly length: number
  readonly [index: number]: unknown
  slice(start?: number, end?: number): NumberArray
  subarray(start: number, end: number): NumberArray
  set(values: ArrayLike<unknown>, offset?: number): void
}

type AnyConstructor = (new (lengthOrValues: number | ArrayLike<unknown>) => NumberArray) & { name: string }

const typedArray = Object.getPrototypeOf(Float64Array) as { prototype: { [Symbol.iterator]: unknown } }

/** By name: some are new in Node.js, and an array may come from another realm. */
function constructorOf(name: string): AnyConstructor | undefined {
  const found: unknown = /^[A-Z]\w*\d+(Clamped)?Array$/.test(name)
    ? (globalThis as Record<string, unknown>)[name]
    : undefined
  return typeof found === 'function' ? (found as AnyConstructor) : undefined
}

/** A copy of a typed array that iterates as they all do; `undefined` for any other input. A `Buffer` is bytes. */
export function copyOfNumbers(input: unknown): NumberArray | undefined {
  if (!types.isTypedArray(input)) return undefined
  if ((input as Iterable<unknown>)[Symbol.iterator] !== typedArray.prototype[Symbol.iterator])
    return undefined
  const kind = constructorOf(input[Symbol.toStringTag])
  return kind && new kind(input)
}

/** @throws TypeError for an option `into` that is no class of typed arrays. */
export function checkInto(value: unknown): AnyConstructor | undefined {
  if (value === undefined || value === null) return undefined
  const { name } = value as { name?: unknown }
  if (typeof value === 'function' && typeof name === 'string' && constructorOf(name) === value) {
    return value as AnyConstructor
  }
  throw invalidArgument(
    TypeError,
    `The option "into" must be a class of typed arrays, but it is ${typeof value === 'function' ? `the function "${String(name)}"` : `of the type ${typeof value}`}\nTo fix: pass one such as Float64Array, or leave "into" out for an ordinary array`,
  )
}

/** How much room an array of unknown length begins with. */
const roomMin = 1024

/** Results on their way into a typed array. */
export class NumberResults {
  readonly #kind: AnyConstructor
  readonly #isRounding: boolean
  readonly #isBig: boolean
  #array: NumberArray

  /** @param count - how many results there will be, if that is known */
  constructor(kind: AnyConstructor, count: number | undefined) {
    this.#kind = kind
    this.#isRounding = /^Float|Clamped/.test(kind.name)
    this.#isBig = kind.name.startsWith('Big')
    this.#array = new kind(count ?? roomMin)
  }

  /** Puts a result into its place. Returns why it cannot be there. */
  put(index: number, value: unknown): TypeError | RangeError | undefined {
    const array = this.#roomFor(index + 1)
    const expected = this.#isBig ? 'bigint' : 'number'
    if (typeof value !== expected) {
      return refused(TypeError, index, `is ${described(value)}, and ${this.#kind.name} holds a ${expected}`)
    }
    array.set([value], index)
    if (this.#isRounding || array[index] === value) return undefined
    return refused(RangeError, index, `is a number that ${this.#kind.name} cannot hold`)
  }

  /** Puts many results into their places, and says which cannot be there. */
  putAll(
    first: number,
    values: ArrayLike<unknown>,
    onRefused: (index: number, reason: unknown) => void,
  ): void {
    const { length } = values
    const array = this.#roomFor(first + length)
    if (!types.isTypedArray(values) || this.#isBig) {
      for (let at = 0; at < length; at++) {
        const reason = this.put(first + at, values[at])
        if (reason) onRefused(first + at, reason)
      }
      return
    }
    array.set(values, first)
    if (this.#isRounding) return
    for (let at = 0; at < length; at++) {
      if (array[first + at] === values[at]) continue
      onRefused(first + at, this.put(first + at, values[at]))
    }
  }

  /** The array of all `count` results. */
  finish(count: number): NumberArray {
    return this.#array.length === count ? this.#array : this.#array.slice(0, count)
  }

  #roomFor(length: number): NumberArray {
    if (this.#array.length >= length) return this.#array
    const larger = new this.#kind(Math.max(length, 2 * this.#array.length))
    larger.set(this.#array)
    this.#array = larger
    return larger
  }
}

function refused(
  kind: typeof TypeError | typeof RangeError,
  index: number,
  why: string,
): TypeError | RangeError {
  return invalidArgument(
    kind,
    `The result of item ${index} ${why}\nTo fix: return what fits from the function, pass another class as "into", or leave "into" out for an ordinary array`,
  )
}

function described(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
