/**
 * Names for the objects that every process has: `Array.prototype.map`, `process.env`, `%GeneratorFunction%`. A name is
 * a path from a global variable or a hidden intrinsic, so that the other side walks to its own object of that name.
 */
import { types } from 'node:util'
import vm from 'node:vm'

/** A path of property keys; `@@name` stands for a well-known symbol. */
export interface BuiltinName {
  path: readonly string[]
  accessor?: 'get' | 'set'
}

const languageGlobals =
  `Object Function Array Number parseFloat parseInt Infinity NaN undefined Boolean String Symbol
  Date Promise RegExp Error AggregateError EvalError RangeError ReferenceError SyntaxError TypeError URIError
  SuppressedError JSON Math Intl ArrayBuffer Atomics Uint8Array Int8Array Uint16Array Int16Array Uint32Array Int32Array
  Float16Array Float32Array Float64Array Uint8ClampedArray BigUint64Array BigInt64Array DataView Map BigInt Set Iterator
  WeakMap WeakSet WeakRef Proxy Reflect FinalizationRegistry SharedArrayBuffer DisposableStack AsyncDisposableStack
  Temporal decodeURI decodeURIComponent encodeURI encodeURIComponent escape unescape eval isFinite isNaN globalThis
  WebAssembly`.split(/\s+/)

const platformGlobals = `process Buffer console setTimeout setInterval setImmediate clearTimeout clearInterval
  clearImmediate queueMicrotask structuredClone fetch URL URLSearchParams URLPattern TextEncoder TextDecoder
  AbortController AbortSignal Event EventTarget CustomEvent MessageChannel MessagePort MessageEvent BroadcastChannel
  performance Performance PerformanceObserver Blob File FormData Headers Request Response WebSocket CloseEvent
  EventSource ReadableStream WritableStream TransformStream CompressionStream DecompressionStream TextDecoderStream
  TextEncoderStream DOMException crypto Crypto CryptoKey SubtleCrypto atob btoa navigator Navigator Storage
  global`.split(/\s+/)

/** Global names that a fresh process has too. */
export const freshGlobals: ReadonlySet<string> = new Set([...languageGlobals, ...platformGlobals])

/** Objects whose members are not part of the language or platform, or are many. */
const shallow = new Set(['globalThis', 'global', 'navigator', 'crypto', 'performance', 'process'])

const processMembers = 'env argv execArgv hrtime nextTick cwd memoryUsage uptime exit emitWarning'.split(' ')

const hiddenIntrinsics: Record<string, string> = {
  '%GeneratorFunction%': '(function*(){}).constructor',
  '%GeneratorFunction.prototype%': 'Object.getPrototypeOf(function*(){})',
  '%Generator%': 'Object.getPrototypeOf(function*(){}).prototype',
  '%AsyncFunction%': '(async function(){}).constructor',
  '%AsyncFunction.prototype%': 'Object.getPrototypeOf(async function(){})',
  '%AsyncGeneratorFunction%': '(async function*(){}).constructor',
  '%AsyncGeneratorFunction.prototype%': 'Object.getPrototypeOf(async function*(){})',
  '%AsyncGenerator%': 'Object.getPrototypeOf(async function*(){}).prototype',
  '%TypedArray%': 'Object.getPrototypeOf(Int8Array)',
  '%TypedArray.prototype%': 'Object.getPrototypeOf(Int8Array.prototype)',
  '%ArrayIterator.prototype%': 'Object.getPrototypeOf([][Symbol.iterator]())',
  '%IteratorPrototype%': 'Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()))',
}

/** Class -> the global that is its only instance. */
const lazyInstances = new Map([
  ['Crypto', 'crypto'],
  ['Performance', 'performance'],
  ['Navigator', 'navigator'],
])

type NameTable = Map<object, BuiltinName>

const realms = new Map<object, NameTable>()
const realmsMax = 64
let mainGlobal: object | undefined

/** The global object of the program, which is not ours inside Jest. */
export function globalOfProgram(): object {
  mainGlobal ??= vm.runInThisContext('globalThis') as object
  return mainGlobal
}

/** Makes the built-ins of a vm context known under the names of ours. */
export function addRealm(global: object): void {
  if (realms.has(global)) return
  if (realms.size >= realmsMax) realms.delete(realms.keys().next().value as object)
  const FunctionOfRealm = (global as { Function?: FunctionConstructor }).Function
  const evaluate = (source: string): unknown =>
    global === globalOfProgram()
      ? vm.runInThisContext(source)
      : FunctionOfRealm && (FunctionOfRealm(`return ${source}`)() as unknown)
  realms.set(global, buildTable(global as Record<string, unknown>, evaluate))
}

/** The name of a built-in object or function, whichever realm it is of. */
export function builtinName(value: object): BuiltinName | undefined {
  if (realms.size === 0) {
    addRealm(globalThis)
    addRealm(globalOfProgram())
  }
  for (const table of realms.values()) {
    const name = table.get(value)
    if (name) return name
  }
  return lazyGlobalName(value)
}

/** The name as in source text: `Map.prototype.get`. */
export function printBuiltin({ path }: BuiltinName): string {
  return path.join('.')
}

/** This process's built-in of that name. */
export function builtinOf({ path, accessor }: BuiltinName): unknown {
  const [first = '', ...rest] = path
  let holder: unknown
  let value: unknown = first.startsWith('%')
    ? vm.runInThisContext(hiddenIntrinsics[first] ?? 'undefined')
    : (globalThis as Record<string, unknown>)[first]
  let key: PropertyKey = first
  for (const part of rest) {
    holder = value
    key = part.startsWith('@@')
      ? ((Symbol as unknown as Record<string, symbol>)[part.slice(2)] as symbol)
      : part
    if (value === undefined || value === null) break
    const isLast = part === path.at(-1)
    value = isLast && accessor ? undefined : (value as Record<PropertyKey, unknown>)[key]
  }
  if (accessor) value = Object.getOwnPropertyDescriptor(holder ?? {}, key)?.[accessor]
  return value
}

function buildTable(global: Record<string, unknown>, evaluate: (source: string) => unknown): NameTable {
  const table: NameTable = new Map()
  const add = (value: unknown, path: readonly string[], depth: number): void => {
    if (!isObject(value) || table.has(value)) return
    table.set(value, { path })
    if (depth > 0) addMembers(value, path, depth - 1)
  }
  const addMembers = (holder: object, path: readonly string[], depth: number): void => {
    for (const key of Reflect.ownKeys(holder)) {
      if (key === 'caller' || key === 'arguments' || key === 'callee' || key === 'constructor') continue
      const part = typeof key === 'string' ? key : wellKnownName(key)
      const descriptor = part === undefined ? undefined : Object.getOwnPropertyDescriptor(holder, key)
      if (!descriptor) continue
      const memberPath = [...path, part as string]
      if ('value' in descriptor) add(descriptor.value, memberPath, depth)
      for (const accessor of ['get', 'set'] as const) {
        const fn = descriptor[accessor]
        if (fn && !table.has(fn)) table.set(fn, { path: memberPath, accessor })
      }
    }
  }
  for (const name of freshGlobals) {
    // Only data properties: the getters of a global load big modules.
    const descriptor = Object.getOwnPropertyDescriptor(global, name)
    if (descriptor && 'value' in descriptor) add(descriptor.value, [name], shallow.has(name) ? 0 : 3)
  }
  const { process, Buffer } = global as { process?: Record<string, unknown>; Buffer?: unknown }
  add(process, ['process'], 0)
  for (const member of processMembers) add(process?.[member], ['process', member], 0)
  add(Buffer, ['Buffer'], 2)
  for (const [name, source] of Object.entries(hiddenIntrinsics)) add(evaluate(source), [name], 1)
  return table
}

/** `fetch`, `Headers`, `crypto`: whoever has such a value has loaded what its getter loads. */
function lazyGlobalName(value: object): BuiltinName | undefined {
  if (types.isProxy(value)) return undefined
  const global = globalThis as Record<string, unknown>
  const isLazy = (name: unknown): name is string => typeof name === 'string' && freshGlobals.has(name)
  if (typeof value === 'function') {
    const name = Object.getOwnPropertyDescriptor(value, 'name')?.value as unknown
    return isLazy(name) && global[name] === value ? { path: [name] } : undefined
  }
  const constructor = Object.getOwnPropertyDescriptor(value, 'constructor')?.value as unknown
  if (typeof constructor === 'function' && isLazy(constructor.name)) {
    const { prototype } = global[constructor.name] as { prototype?: unknown }
    if (prototype === value) return { path: [constructor.name, 'prototype'] }
  }
  const prototype = Object.getPrototypeOf(value) as object | null
  const kind = prototype && (Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value as unknown)
  const name = lazyInstances.get(typeof kind === 'function' ? kind.name : '')
  if (isLazy(name) && global[name] === value) return { path: [name] }
  return undefined
}

function wellKnownName(symbol: symbol): string | undefined {
  for (const name of Object.getOwnPropertyNames(Symbol)) {
    if ((Symbol as unknown as Record<string, unknown>)[name] === symbol) return `@@${name}`
  }
  return undefined
}

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}
