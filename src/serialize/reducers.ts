/**
 * Types that know how to turn themselves into plain data and back. Both sides must have registered the same name.
 */
import { invalidArgument } from '../errors.ts'

/** How objects of one type travel, as Python's `copyreg.pickle`. */
export interface Reducer<T extends object = object> {
  /** Objects of this class and, unless they have a reducer of their own, of its subclasses. */
  type: abstract new (...parameters: never[]) => T
  /** Names the type on both sides; choose one that no other package uses. */
  name: string
  /** Turns an object into something that can be sent. */
  encode(value: T): unknown
  /** Turns what `encode` returned, after its journey, into an object. */
  decode(data: unknown): T
}

const reducersByName = new Map<string, Reducer>()
const reducersByPrototype = new Map<object, Reducer>()

/** Registers a reducer; see `codec.ts`. */
export function addReducer(reducer: Reducer): void {
  if (typeof reducer?.type !== 'function' || typeof reducer.type.prototype !== 'object') {
    throw invalidArgument(
      TypeError,
      'registerReducer() needs "type" to be a class\nTo fix: pass { type: MyClass, ... }',
    )
  }
  if (typeof reducer.name !== 'string' || reducer.name === '') {
    throw invalidArgument(
      TypeError,
      'registerReducer() needs a "name"\nTo fix: pass { name: "my-package.MyClass", ... }',
    )
  }
  if (typeof reducer.encode !== 'function' || typeof reducer.decode !== 'function') {
    throw invalidArgument(
      TypeError,
      `registerReducer() needs "encode" and "decode" for "${reducer.name}"\nTo fix: pass both functions`,
    )
  }
  if (reducer.type.prototype === Object.prototype || reducer.type.prototype === Array.prototype) {
    throw invalidArgument(
      TypeError,
      'registerReducer() cannot change how plain objects and arrays travel\nTo fix: register a class of your own',
    )
  }
  const existing = reducersByName.get(reducer.name)
  if (existing !== undefined && existing.type !== reducer.type) {
    throw invalidArgument(
      RangeError,
      `registerReducer() has another type under the name "${reducer.name}"\nTo fix: choose another name`,
    )
  }
  reducersByName.set(reducer.name, reducer)
  reducersByPrototype.set(reducer.type.prototype as object, reducer)
}

/** The reducer that the other side used. */
export function reducerNamed(name: string): Reducer | undefined {
  return reducersByName.get(name)
}

/** The reducer for objects with this prototype: the nearest one in its chain. */
export function reducerFor(prototype: object): Reducer | undefined {
  if (reducersByPrototype.size === 0) return undefined
  for (let link: object | null = prototype; link !== null; link = Object.getPrototypeOf(link)) {
    const reducer = reducersByPrototype.get(link)
    if (reducer !== undefined) return reducer
  }
  return undefined
}
