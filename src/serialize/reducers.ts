/**
 * Types that know how to turn themselves into plain data and back. Both sides must have registered the same name.
 */
import { SerializeError, invalidArgument } from '../errors.ts'
import type { ModuleReference } from './function/module-reference.ts'

/** What a reducer may know of the side that it encodes for. */
export interface Receiver {
  /**
   * Whether that is another thread of this process, with which memory can be shared. A value for an unknown receiver
   * is encoded as if for another process.
   */
  readonly isSameProcess: boolean
  /**
   * Whether the message may be read more than once, as that with a function or a task of a pool: what is kept for its
   * readers has to last.
   */
  readonly isReadOften: boolean
}

/** How objects of one type travel, as Python's `copyreg.pickle`. */
export interface Reducer<T extends object = object> {
  /** Objects of this class and, unless they have a reducer of their own, of its subclasses. */
  type: abstract new (...parameters: never[]) => T
  /** Names the type on both sides; choose one that no other package uses. */
  name: string
  /** Turns an object into something that can be sent. */
  encode(value: T, receiver: Receiver): unknown
  /** Turns what `encode` returned, after its journey, into an object. */
  decode(data: unknown): T
}

/** A reducer of the library itself. */
interface OwnReducer extends Reducer {
  /** The module that registers it, so that a process which meets such an object for the first time can load it. */
  module?: string
}

const reducersByName = new Map<string, OwnReducer>()
const reducersByPrototype = new Map<object, OwnReducer>()

/** Registers a reducer; see `codec.ts`. */
export function addReducer<T extends object>(reducer: Reducer<T> & { module?: string }): void {
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
export function registeredReducer(name: string): Reducer {
  const reducer = reducersByName.get(name)
  if (reducer !== undefined) return reducer
  throw new SerializeError(
    `Cannot rebuild a value: no reducer "${name}" is registered in this process\n` +
      'To fix: call registerReducer() in a module that the workers load too, or in their "initializer"',
    { code: 'ERR_NOT_DESERIALIZABLE' },
  )
}

/** What a reducer is told of the receiver: only a connection between threads lets anything travel beside the bytes. */
export function receiverOf({
  attach,
  isReadOften = false,
}: {
  attach?: unknown
  isReadOften?: boolean | undefined
}): Receiver {
  return (attach === undefined ? OTHER_PROCESS : SAME_PROCESS)[isReadOften ? 'often' : 'once']
}

const OTHER_PROCESS = receivers(false)
const SAME_PROCESS = receivers(true)

function receivers(isSameProcess: boolean): Readonly<Record<'once' | 'often', Receiver>> {
  return {
    once: Object.freeze({ isSameProcess, isReadOften: false }),
    often: Object.freeze({ isSameProcess, isReadOften: true }),
  }
}

/** What the receiver has to load before it can use the reducer. */
export function modulesOfReducer({ module }: OwnReducer): ModuleReference[] {
  return module === undefined ? [] : [{ kind: 'esm', url: module }]
}

/** The reducer for an object: that of the nearest class in its chain. */
export function reducerFor(value: object): OwnReducer | undefined {
  if (reducersByPrototype.size === 0) return undefined
  for (
    let link = Object.getPrototypeOf(value) as object | null;
    link !== null;
    link = Object.getPrototypeOf(link)
  ) {
    const reducer = reducersByPrototype.get(link)
    if (reducer !== undefined) return reducer
  }
  return undefined
}
