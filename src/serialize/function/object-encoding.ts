/**
 * Encodes objects that are not functions: plain data fast, then every kind that can be rebuilt elsewhere, and a clear
 * error for each kind whose state lives outside of JavaScript.
 */
import { types } from 'node:util'
import { isSharedBuffer } from '../../platform/shared-buffers.ts'
import { addRealm, builtinName, printBuiltin } from './builtin-names.ts'
import { isNativeText, isObject, sourceTextOf, type Encoding } from './encoding.ts'
import type { GraphNode, ObjectExtras, Properties, PropertyValue, Slot } from './graph-node.ts'
import { inspector } from './inspector-session.ts'
import { nodeModuleMember } from './node-module-index.ts'
import { privateStateOf } from './private-state.ts'
import { scriptOf } from './script-table.ts'
import type { Trail } from './trail.ts'
import { adviceFor } from '../unsendable.ts'

/** Built-in classes whose instances can be rebuilt. */
const rebuildable = new Set(
  `Object Array Map Set WeakMap WeakSet Date RegExp ArrayBuffer DataView Number String Boolean Symbol BigInt Error
  EvalError RangeError ReferenceError SyntaxError TypeError URIError AggregateError SuppressedError Function Buffer
  Int8Array Uint8Array Uint8ClampedArray Int16Array Uint16Array Int32Array Uint32Array Float16Array Float32Array
  Float64Array BigInt64Array BigUint64Array %TypedArray% URL URLSearchParams Headers TextEncoder
  TextDecoder`.split(/\s+/),
)

/** Classes of `node:` modules that are plain JavaScript objects. */
const rebuildableNodeClasses = new Set(['EventEmitter', 'Buffer', 'AsyncResource'])

/** Longer arrays are asked for further properties through the inspector: listing a million keys takes a second. */
const listedElementsMax = 4096

export function encodeObject(encoding: Encoding, value: object, trail: Trail, index: number): GraphNode {
  const prototype = Object.getPrototypeOf(value) as object | null
  if (prototype === Object.prototype) {
    const record = encodeRecord(encoding, value, trail)
    if (record) return record
  } else if (prototype === Array.prototype && Array.isArray(value)) {
    const items = encodeItems(encoding, value, trail)
    if (items) return { t: 'array', items }
  }
  refuseBrokenKinds(value, trail)
  refuseForeignState(value, prototype, trail)
  const special = encodePrototypeObject(encoding, value, trail)
  if (special) return special
  noteHolder(encoding, value)
  const contents = encodeContents(encoding, value, trail, index)
  const extras = encodeExtras(encoding, value, contents, trail)
  return { ...contents.node, ...extras } as GraphNode
}

/** The usual plain object: enumerable, writable values under string keys. */
function encodeRecord(encoding: Encoding, value: object, trail: Trail): GraphNode | undefined {
  if (!Object.isExtensible(value) || types.isExternal(value) || types.isArgumentsObject(value))
    return undefined
  if (types.isNativeError(value) || types.isBoxedPrimitive(value) || types.isModuleNamespaceObject(value))
    return undefined
  const keys = Reflect.ownKeys(value)
  const contents: unknown[] = []
  for (const key of keys) {
    if (typeof key === 'symbol' || key === 'constructor') return undefined
    const descriptor = Object.getOwnPropertyDescriptor(value, key) as PropertyDescriptor
    if (!('value' in descriptor) || flagsOf(descriptor) !== 7) return undefined
    contents.push(descriptor.value)
  }
  noteHolder(encoding, value)
  const values = contents.map((content, position) =>
    isPrimitive(content) && typeof content !== 'string'
      ? content
      : encoding.slot(content, trail.to(keys[position] as string)),
  )
  return { t: 'record', shape: encoding.shapeIndex(keys as string[]), values }
}

/** The elements of an array without holes or further properties. */
function encodeItems(encoding: Encoding, array: readonly unknown[], trail: Trail): Slot[] | undefined {
  if (!Object.isExtensible(array) || hasFurtherProperties(array)) return undefined
  const { length } = array
  let bytes = length * 8
  let position = 0
  for (; position < length; position++) {
    const item = array[position]
    if (!isPrimitive(item)) break
    if (typeof item === 'string') bytes += item.length
    else if (item === undefined && !Object.hasOwn(array, position)) return undefined
  }
  encoding.countBytes(trail, bytes)
  if (position === length) return array.slice() as Slot[]
  const items: Slot[] = []
  for (let at = 0; at < length; at++) {
    const item = array[at]
    if (item === undefined && !Object.hasOwn(array, at)) return undefined
    items.push(isPrimitive(item) ? item : encoding.slot(item, trail.to(at)))
  }
  return items
}

function hasFurtherProperties(array: readonly unknown[]): boolean {
  if (array.length <= listedElementsMax) return Reflect.ownKeys(array).length !== array.length + 1
  // Holes make the count smaller, so that a sparse array may seem to have further properties: it then goes the slow way.
  return (inspector()?.namedPropertiesOf(array) ?? ['length']).length !== 1
}

function refuseBrokenKinds(value: object, trail: Trail): void {
  if (types.isPromise(value)) {
    const state = inspector()?.stateOf(value)
    throw trail.error(
      `is a Promise${state === undefined ? '' : ` (${state})`}, which settles in this process only`,
      '`await` it first and use the result',
    )
  }
  if (value instanceof WeakRef || value instanceof FinalizationRegistry) {
    const name = value instanceof WeakRef ? 'WeakRef' : 'FinalizationRegistry'
    throw trail.error(`is a ${name}, which only has a meaning in this process`, 'use the object itself')
  }
  if (types.isGeneratorObject(value)) {
    throw trail.error(
      'is a running generator, whose state is out of reach',
      'use the generator function and its arguments',
    )
  }
  if (types.isExternal(value)) {
    throw trail.error('is a native handle of this process', 'create it inside the function')
  }
  if (types.isSharedArrayBuffer(value)) {
    throw trail.error(
      'is a SharedArrayBuffer, which other processes have no part in',
      'send a copy: new Uint8Array(buffer).slice()',
    )
  }
  if (types.isMapIterator(value) || types.isSetIterator(value)) {
    throw trail.error('is an iterator, whose position is out of reach', 'use an array: [...iterator]')
  }
}

/** Refuses instances of native and `node:` classes, except for those that are plain data inside. */
function refuseForeignState(value: object, prototype: object | null, trail: Trail): void {
  for (let holder = prototype; holder; holder = Object.getPrototypeOf(holder) as object | null) {
    const type: unknown = Object.getOwnPropertyDescriptor(holder, 'constructor')?.value
    const typeName = typeof type === 'function' ? type.name : 'object'
    let name = builtinName(holder)
    const member = name ? undefined : nodeModuleMember(holder)
    const isNative =
      typeof type === 'function' && type.prototype === holder && isNativeText(sourceTextOf(type))
    if (!name && !member && isNative) {
      addRealm((type.constructor as FunctionConstructor)('return globalThis')() as object)
      name = builtinName(holder)
    }
    if (name) {
      const [first = '', ...rest] = name.path
      if (first === '%TypedArray.prototype%') return
      const isAllowed = rest.length === 1 && rest[0] === 'prototype' && rebuildable.has(first)
      if (isAllowed) continue
      const what = rest.at(-1) === 'prototype' ? [first, ...rest.slice(0, -1)].join('.') : typeName
      throw trail.error(
        `is a ${what}, whose state lives outside of JavaScript`,
        'create it inside the function',
      )
    }
    if (member?.path.at(-1) === 'prototype' && !rebuildableNodeClasses.has(typeName)) {
      throw trail.error(
        `is a ${className(value) ?? typeName} (${member.module}), which belongs to this process`,
        'open it inside the function, or in the initializer of the pool, and send only its address',
      )
    }
    if (!name && !member && typeof type === 'function' && type.prototype === holder && isInsideNode(type)) {
      throw trail.error(
        `is a ${typeName} of Node.js, which belongs to this process`,
        adviceFor(typeName, 'create it inside the function'),
      )
    }
    if (isNative && !member) {
      throw trail.error(`is an instance of the native class ${typeName}`, 'create it inside the function')
    }
  }
}

const insideNode = new WeakMap<Function, boolean>()

/** Whether a class is a part of Node.js that no module exports, such as that of timers. */
function isInsideNode(type: Function): boolean {
  let isInside = insideNode.get(type)
  if (isInside === undefined) {
    const location = inspector()?.lookAtFunction(type).location
    isInside = location !== undefined && (scriptOf(location.scriptId)?.url.startsWith('node:') ?? false)
    insideNode.set(type, isInside)
  }
  return isInside
}

/** The name of an object's class, without running a getter of it. */
function className(value: object): string | undefined {
  const prototype = Object.getPrototypeOf(value) as object | null
  const type: unknown = prototype && Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value
  return typeof type === 'function' && type.name ? type.name : undefined
}

/** `C.prototype` is not an object of its own, but a part of C. */
function encodePrototypeObject(encoding: Encoding, value: object, trail: Trail): GraphNode | undefined {
  const type: unknown = Object.getOwnPropertyDescriptor(value, 'constructor')?.value
  if (typeof type !== 'function' || type.prototype !== value || builtinName(type)) return undefined
  // Whatever the class's text does not say about its prototype is added when the class is encoded.
  return { t: 'prototype', of: encoding.slot(type, trail.to('constructor')) }
}

/** An arrow in a field of an object may have that object as its `this`. */
function noteHolder(encoding: Encoding, value: object): void {
  // Their elements are no functions, and there may be millions of them.
  if (ArrayBuffer.isView(value)) return
  for (const key of Object.keys(value)) {
    const member: unknown = Object.getOwnPropertyDescriptor(value, key)?.value
    if (typeof member === 'function' && !encoding.holders.has(member)) encoding.holders.set(member, value)
  }
}

interface Contents {
  node: { t: string }
  /** The usual class of such a node. */
  standard: string
  /** Keys that are part of the contents. */
  omitted: ReadonlySet<PropertyKey>
  isIndexed?: boolean
}

function encodeContents(encoding: Encoding, value: object, trail: Trail, index: number): Contents {
  const contents = (
    node: GraphNode,
    standard: string,
    omitted: PropertyKey[] = [],
    isIndexed = false,
  ): Contents => ({
    node,
    standard,
    omitted: new Set(omitted),
    isIndexed,
  })
  const part = (content: unknown, text: string) => encoding.slot(content, trail.toPart(text))
  if (Array.isArray(value)) {
    return contents({ t: 'array', items: [], length: value.length }, 'Array', ['length'])
  }
  if (types.isMap(value)) {
    const entries = [...(Map.prototype.entries.call(value) as MapIterator<[unknown, unknown]>)]
    const keys = entries.map(([key], at) => part(key, `map key ${at}`))
    const values = entries.map(([key, content], at) =>
      part(content, typeof key === 'string' ? `.get(${JSON.stringify(key)})` : `map value ${at}`),
    )
    return contents({ t: 'map', keys, values }, 'Map')
  }
  if (types.isSet(value)) {
    const items = [...(Set.prototype.values.call(value) as SetIterator<unknown>)]
    return contents({ t: 'set', items: items.map((item, at) => part(item, `set value ${at}`)) }, 'Set')
  }
  if (types.isWeakMap(value)) {
    encoding.weakCollections.push({ index, collection: value, trail })
    return contents({ t: 'weak-map', keys: [], values: [] }, 'WeakMap')
  }
  if (types.isWeakSet(value)) {
    encoding.weakCollections.push({ index, collection: value, trail })
    return contents({ t: 'weak-set', items: [] }, 'WeakSet')
  }
  if (types.isDate(value)) return contents({ t: 'date', time: Date.prototype.getTime.call(value) }, 'Date')
  if (types.isRegExp(value))
    return contents({ t: 'regexp', source: value.source, flags: value.flags }, 'RegExp')
  if (types.isArrayBuffer(value)) {
    encoding.countBytes(trail, value.byteLength)
    const node: GraphNode = { t: 'buffer', bytes: new Uint8Array(value).slice() }
    if ((value as { resizable?: boolean }).resizable) {
      node.maxByteLength = (value as unknown as { maxByteLength: number }).maxByteLength
    }
    return contents(node, 'ArrayBuffer')
  }
  if (ArrayBuffer.isView(value)) return encodeView(encoding, value, trail)
  if (types.isBoxedPrimitive(value)) {
    const primitive: unknown = value.valueOf()
    const isText = typeof primitive === 'string'
    const node: GraphNode = { t: 'boxed', value: encoding.slot(primitive, trail) }
    return contents(
      node,
      primitive === undefined ? 'Object' : Object(primitive).constructor.name,
      ['length'],
      isText,
    )
  }
  if (types.isNativeError(value)) {
    return contents({ t: 'error', stack: encoding.slot(value.stack, trail.to('stack')) }, 'Error', ['stack'])
  }
  return encodeConstructed(value) ?? contents({ t: 'object' }, 'Object')
}

function encodeView(encoding: Encoding, view: ArrayBufferView, trail: Trail): Contents {
  const isDataView = types.isDataView(view)
  const type = isDataView ? 'DataView' : (view as Uint8Array)[Symbol.toStringTag]
  const isPooled =
    view.buffer.byteLength > 2 * view.byteLength + 64 &&
    !types.isSharedArrayBuffer(view.buffer) &&
    !isSharedBuffer(view.buffer)
  // A small view of a large buffer (Buffer's pool) takes only its own bytes along, unless they share it knowingly.
  const isCopied = isPooled && Buffer.isBuffer(view)
  const buffer = isCopied
    ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice().buffer
    : view.buffer
  const node: GraphNode = {
    t: 'view',
    type,
    buffer: encoding.slot(buffer, trail.to('buffer')),
    offset: isCopied ? 0 : view.byteOffset,
    length: isDataView ? view.byteLength : (view as Uint8Array).length,
  }
  return { node, standard: type, omitted: new Set(), isIndexed: true }
}

/** Instances of platform classes that are no more than what their constructor takes. */
function encodeConstructed(value: object): Contents | undefined {
  const node = (type: string, args: readonly unknown[]): Contents => ({
    node: { t: 'constructed', type, arguments: args } as GraphNode,
    standard: type,
    omitted: new Set(),
  })
  if (value instanceof URL) return node('URL', [value.href])
  if (value instanceof URLSearchParams) return node('URLSearchParams', [value.toString()])
  if (value instanceof TextEncoder) return node('TextEncoder', [])
  if (value instanceof TextDecoder) {
    const { encoding, fatal, ignoreBOM } = value
    return node('TextDecoder', [encoding, { fatal, ignoreBOM }])
  }
  // Reading the global would load undici; whoever has an instance has loaded it.
  if (Object.prototype.toString.call(value) === '[object Headers]' && value instanceof Headers) {
    return node('Headers', [[...value].map(([name, text]) => [name, text])])
  }
  return undefined
}

function encodeExtras(encoding: Encoding, value: object, contents: Contents, trail: Trail): ObjectExtras {
  const extras: ObjectExtras = {}
  const prototype = Object.getPrototypeOf(value) as object | null
  const properties = encodeProperties(encoding, value, contents, trail)
  if (properties) extras.properties = properties
  if (prototype === null) extras.prototype = null
  else {
    const name = builtinName(prototype)
    if (!name || printBuiltin(name) !== `${contents.standard}.prototype`) {
      extras.prototype = encoding.slot(prototype, trail.toPart('prototype'))
    }
  }
  const privateState = privateStateOf(encoding, value, trail)
  if (privateState) extras.privateState = privateState
  if (!Object.isExtensible(value)) extras.extensibility = Object.isFrozen(value) ? 'frozen' : 'fixed'
  return extras
}

function encodeProperties(
  encoding: Encoding,
  value: object,
  { omitted, isIndexed, node }: Contents,
  trail: Trail,
): Properties | undefined {
  const keys: Slot[] = []
  const values: PropertyValue[] = []
  const flags: number[] = []
  // Symbol marks of Node's own on URL and the like are made by their constructors.
  for (const key of node.t === 'constructed' ? Object.keys(value) : ownKeysOf(value)) {
    if (omitted.has(key) || (isIndexed && typeof key === 'string' && /^\d+$/.test(key))) continue
    const descriptor = Object.getOwnPropertyDescriptor(value, key) as PropertyDescriptor
    const { value: content, flag } = describeProperty(encoding, descriptor, trail.to(key), value)
    keys.push(encoding.slot(key, trail))
    values.push(content)
    flags.push(flag)
  }
  if (keys.length === 0) return undefined
  return flags.every(flag => flag === 7) ? { keys, values } : { keys, values, flags }
}

/** All own keys; of a long view only those that are no elements, or none where nothing can tell them apart. */
function ownKeysOf(value: object): readonly PropertyKey[] {
  const isLongView = ArrayBuffer.isView(value) && ((value as Uint8Array).length ?? 0) > listedElementsMax
  if (!isLongView) return Reflect.ownKeys(value)
  return (
    inspector()
      ?.namedPropertiesOf(value)
      .filter(name => Object.hasOwn(value, name)) ?? []
  )
}

/** A property as its value (or accessors) and flags. */
export function describeProperty(
  encoding: Encoding,
  descriptor: PropertyDescriptor,
  trail: Trail,
  holder?: object,
): { value: PropertyValue; flag: number } {
  const flag = flagsOf(descriptor)
  if ('value' in descriptor) return { value: encoding.slot(descriptor.value, trail), flag }
  const { get, set } = descriptor
  // `Error.captureStackTrace(object)` leaves a native accessor.
  if (get && holder && isNativeText(sourceTextOf(get)) && !builtinName(get)) {
    return { value: encoding.slot(get.call(holder) as unknown, trail), flag: flag | 1 }
  }
  return { value: { get: encoding.slot(get, trail), set: encoding.slot(set, trail) }, flag }
}

function flagsOf({ writable, enumerable, configurable }: PropertyDescriptor): number {
  return (writable ? 1 : 0) | (enumerable ? 2 : 0) | (configurable ? 4 : 0)
}

/** Values that are slots as they are. */
export function isPrimitive(value: unknown): value is Exclude<Slot, readonly [number]> {
  return !isObject(value) && typeof value !== 'symbol'
}
