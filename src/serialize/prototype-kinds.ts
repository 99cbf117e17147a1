/**
 * Sorts objects by their prototype: a built-in, an instance of a class, something that cannot leave its process. The
 * answer is found once per prototype and remembered as long as the prototype lives.
 */
import { types } from 'node:util'
import type { Constructor } from './described-classes.ts'
import { boundKind } from './unsendable.ts'

export type BuiltinKind =
  | 'array'
  | 'map'
  | 'set'
  | 'date'
  | 'regexp'
  | 'boxed'
  | 'error'
  | 'dom-exception'
  | 'array-buffer'
  | 'buffer'
  | 'view'
  | 'url'
  | 'url-search-params'
  | 'text-encoder'
  | 'text-decoder'

export type PrototypeKind =
  | { type: 'plain' }
  | { type: 'builtin'; builtin: BuiltinKind }
  | { type: 'instance'; constructor: Constructor }
  | { type: 'subclass'; builtin: BuiltinKind; constructor: Constructor }
  | { type: 'unsendable'; name: string }
  | { type: 'graph' }

const GRAPH_KIND: PrototypeKind = { type: 'graph' }
const PLAIN_KIND: PrototypeKind = { type: 'plain' }

const TYPED_ARRAY_NAMES = [
  'Int8Array',
  'Uint8Array',
  'Uint8ClampedArray',
  'Int16Array',
  'Uint16Array',
  'Int32Array',
  'Uint32Array',
  'Float32Array',
  'Float64Array',
  'BigInt64Array',
  'BigUint64Array',
  'Float16Array',
  'DataView',
] as const

interface ViewConstructor {
  new (buffer: ArrayBufferLike, byteOffset?: number, length?: number): ArrayBufferView
  readonly prototype: object
  readonly BYTES_PER_ELEMENT?: number
}

/** The views that this runtime has; their order is part of the format. Float16Array is missing before Node 24. */
export const viewConstructors: readonly (ViewConstructor | undefined)[] = TYPED_ARRAY_NAMES.map(
  name => (globalThis as unknown as Record<string, ViewConstructor | undefined>)[name],
)
export const viewNames: readonly string[] = TYPED_ARRAY_NAMES

let builtins: Map<object, BuiltinKind> | undefined
const kinds = new WeakMap<object, PrototypeKind>()

function builtinPrototypes(): Map<object, BuiltinKind> {
  if (builtins !== undefined) return builtins
  builtins = new Map<object, BuiltinKind>([
    [Array.prototype, 'array'],
    [Map.prototype, 'map'],
    [Set.prototype, 'set'],
    [Date.prototype, 'date'],
    [RegExp.prototype, 'regexp'],
    [Error.prototype, 'error'],
    [DOMException.prototype, 'dom-exception'],
    [ArrayBuffer.prototype, 'array-buffer'],
    [SharedArrayBuffer.prototype, 'array-buffer'],
    [Buffer.prototype, 'buffer'],
    [URL.prototype, 'url'],
    [URLSearchParams.prototype, 'url-search-params'],
    [TextEncoder.prototype, 'text-encoder'],
    [TextDecoder.prototype, 'text-decoder'],
  ])
  for (const boxed of [Boolean, Number, String, BigInt, Symbol]) builtins.set(boxed.prototype, 'boxed')
  for (const error of [
    TypeError,
    RangeError,
    SyntaxError,
    ReferenceError,
    EvalError,
    URIError,
    AggregateError,
  ]) {
    builtins.set(error.prototype, 'error')
  }
  for (const view of viewConstructors) if (view !== undefined) builtins.set(view.prototype, 'view')
  return builtins
}

/** Sorts an object whose prototype is neither `Object.prototype` nor null. */
export function kindOfPrototype(value: object, prototype: object): PrototypeKind {
  let kind = kinds.get(prototype)
  if (kind === undefined) {
    kind = sort(value, prototype)
    kinds.set(prototype, kind)
  }
  return kind
}

function sort(value: object, prototype: object): PrototypeKind {
  const known = builtinPrototypes().get(prototype)
  if (known !== undefined) return { type: 'builtin', builtin: known }
  if (types.isWeakMap(value) || types.isWeakSet(value)) return GRAPH_KIND
  const bound = boundKind(value, prototype)
  const constructor: unknown = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value
  for (let link: object | null = prototype; link !== null; link = Object.getPrototypeOf(link)) {
    const builtin = builtinPrototypes().get(link)
    if (builtin === 'error') return { type: 'builtin', builtin }
    if (builtin !== undefined) {
      return isClassOf(constructor, prototype) ? { type: 'subclass', builtin, constructor } : GRAPH_KIND
    }
    if (link === Object.prototype) {
      if (bound !== undefined) return { type: 'unsendable', name: bound }
      return isClassOf(constructor, prototype) ? { type: 'instance', constructor } : GRAPH_KIND
    }
  }
  return sortForeign(value, prototype)
}

function isClassOf(constructor: unknown, prototype: object): constructor is Constructor {
  return typeof constructor === 'function' && constructor.prototype === prototype
}

/** Objects of another realm (a vm context). A built-in of there arrives as the built-in of here with its name. */
function sortForeign(value: object, prototype: object): PrototypeKind {
  const constructor: unknown = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value
  const name = typeof constructor === 'function' ? constructor.name : ''
  if (name === 'Object' && Object.getPrototypeOf(prototype) === null) return PLAIN_KIND
  if (types.isNativeError(value)) return { type: 'builtin', builtin: 'error' }
  for (const [own, builtin] of builtinPrototypes()) {
    if ((own.constructor as { name: string }).name === name && hasBrand(value, builtin))
      return { type: 'builtin', builtin }
  }
  const bound = boundKind(value, prototype)
  return bound === undefined ? GRAPH_KIND : { type: 'unsendable', name: bound }
}

const getterOf = (prototype: object, key: string): ((this: unknown) => unknown) =>
  Object.getOwnPropertyDescriptor(prototype, key)!.get!

/** Throws, or answers false, for an object that only looks like one. */
const brandChecks: Readonly<Record<BuiltinKind, (value: object) => unknown>> = {
  array: Array.isArray,
  map: types.isMap,
  set: types.isSet,
  date: types.isDate,
  regexp: types.isRegExp,
  boxed: types.isBoxedPrimitive,
  error: types.isNativeError,
  'array-buffer': types.isAnyArrayBuffer,
  buffer: types.isUint8Array,
  view: ArrayBuffer.isView,
  url: value => getterOf(URL.prototype, 'href').call(value),
  'dom-exception': value => getterOf(DOMException.prototype, 'name').call(value) !== undefined,
  'url-search-params': value => URLSearchParams.prototype.toString.call(value) !== undefined,
  'text-encoder': value => getterOf(TextEncoder.prototype, 'encoding').call(value),
  'text-decoder': value => getterOf(TextDecoder.prototype, 'encoding').call(value),
}

/** Whether the object has the insides that its prototype promises: prototypes can be set at will. */
export function hasBrand(value: object, builtin: BuiltinKind): boolean {
  try {
    return brandChecks[builtin](value) !== false
  } catch {
    return false
  }
}
