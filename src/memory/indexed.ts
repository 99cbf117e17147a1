/**
 * Objects whose elements are reached by index, `list[0]`, and are no properties of theirs: they lie in shared memory. A
 * Proxy does that in the chain of prototypes and not in the place of the object, so that the object itself has its
 * class, its private fields, and can be sent.
 */

import { invalidArgument } from '../errors.ts'

/** Called for `object[index]`; gives undefined beyond the end. */
export const GET_INDEX: unique symbol = Symbol('getIndex')
/** Called for `object[index] = value`; throws RangeError beyond the end. */
export const SET_INDEX: unique symbol = Symbol('setIndex')

interface Elements {
  [GET_INDEX]?(index: number): unknown
  [SET_INDEX]?(index: number, value: unknown): void
}

const INDEX = /^(?:0|[1-9]\d{0,15})$/

const NEGATIVE_INDEX = /^-[1-9]\d{0,15}$/

/**
 * Base of such classes, which have the methods `GET_INDEX` and `SET_INDEX`. Negative numbers are no indices, as for
 * arrays; there is `at()`. To write to one, as Python counts from the end, is an error, since it would be a property of
 * this object that nobody else sees.
 */
export const Indexed: abstract new () => object = class Indexed extends Object {}

Object.setPrototypeOf(
  Indexed.prototype,
  new Proxy(
    {},
    {
      get(target, key, receiver: Elements): unknown {
        if (typeof key === 'string' && INDEX.test(key)) return receiver[GET_INDEX]?.(Number(key))
        return Reflect.get(target, key, receiver)
      },
      set(target, key, value, receiver: Elements): boolean {
        const setIndex = typeof key === 'string' && INDEX.test(key) ? receiver[SET_INDEX] : undefined
        if (typeof key === 'string' && NEGATIVE_INDEX.test(key) && receiver[SET_INDEX])
          throw noNegativeIndex(receiver, key)
        if (setIndex === undefined) return Reflect.set(target, key, value, receiver)
        setIndex.call(receiver, Number(key), value)
        return true
      },
    },
  ),
)

function noNegativeIndex(receiver: object, index: string): RangeError {
  const { name } = receiver.constructor
  return invalidArgument(
    RangeError,
    `Cannot set element ${index} of a ${name}: elements are counted from 0\n` +
      `To fix: count from the end by the length, as in: array[array.length - ${index.slice(1)}]`,
  )
}
