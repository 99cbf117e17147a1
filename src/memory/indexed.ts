/**
 * Objects whose elements are reached by index, `list[0]`, and are no properties of theirs: they lie in shared memory. A
 * Proxy does that in the chain of prototypes and not in the place of the object, so that the object itself has its
 * class, its private fields, and can be sent.
 */

/** Called for `object[index]`; gives undefined beyond the end. */
export const GET_INDEX: unique symbol = Symbol('getIndex')
/** Called for `object[index] = value`; throws RangeError beyond the end. */
export const SET_INDEX: unique symbol = Symbol('setIndex')

interface Elements {
  [GET_INDEX]?(index: number): unknown
  [SET_INDEX]?(index: number, value: unknown): void
}

const INDEX = /^(?:0|[1-9]\d{0,15})$/

/**
 * Base of such classes, which have the methods `GET_INDEX` and `SET_INDEX`. Negative numbers are names of properties, as
 * for arrays; there is `at()`.
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
        if (setIndex === undefined) return Reflect.set(target, key, value, receiver)
        setIndex.call(receiver, Number(key), value)
        return true
      },
    },
  ),
)
