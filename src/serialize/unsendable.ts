/**
 * Names the values that can never leave their process, and says where in a message they are. Only the way to an
 * error comes through here, so it may be slow.
 */
import { createRequire } from 'node:module'
import { inspect, types } from 'node:util'
import { SerializeError } from '../errors.ts'

/** Thrown inside the writer when a value has no place in any message; `encode()` finds out where it was. */
export class Unsendable extends Error {
  readonly culprit: unknown
  readonly kind: string
  readonly advice: string

  constructor(culprit: unknown, kind: string, advice: string) {
    super(kind)
    this.culprit = culprit
    this.kind = kind
    this.advice = advice
  }
}

const SEND_WHAT_IT_HOLDS = 'send the plain data that the other side needs and create the object there'

const ADVICE: Readonly<Record<string, string>> = {
  Promise: 'await it first and send its result',
  Proxy: 'send the object behind it, or a copy of its data',
  WeakRef: 'send what deref() returns',
  AbortSignal: 'leave it on this side: no other process can see it abort',
  AbortController: 'leave it on this side: no other process can see it abort',
  Headers: 'send its entries, [...headers], and make new Headers(entries) there',
  Generator: 'collect its values into an array first',
  AsyncGenerator: 'collect its values into an array first',
  Iterator: 'collect its values into an array first',
  SharedArrayBuffer: 'use a thread pool, which can share it, or send a copy: new Uint8Array(shared).slice()',
  FileHandle: 'send new DupFd(handle.fd), which has a descriptor of the same file there, or send the path',
  MessagePort: 'use a thread pool, which can hand it over',
}

export function adviceFor(kind: string, otherwise = SEND_WHAT_IT_HOLDS): string {
  return ADVICE[kind] ?? otherwise
}

const require = createRequire(import.meta.url)

/** Classes whose objects are bound to descriptors, threads or native state of this process. */
const BOUND_CLASSES: readonly [module: string, names: readonly string[]][] = [
  ['node:stream', ['Stream', 'Readable', 'Writable']],
  ['node:net', ['Server', 'BlockList', 'SocketAddress']],
  ['node:dgram', ['Socket']],
  ['node:child_process', ['ChildProcess']],
  ['node:worker_threads', ['Worker', 'MessagePort', 'MessageChannel', 'BroadcastChannel']],
  [
    'node:crypto',
    ['KeyObject', 'Hash', 'Hmac', 'ECDH', 'DiffieHellman', 'Sign', 'Verify', 'X509Certificate'],
  ],
  ['node:async_hooks', ['AsyncResource', 'AsyncLocalStorage']],
  ['node:vm', ['Script']],
  ['node:diagnostics_channel', ['Channel']],
  ['node:readline', ['Interface']],
  ['node:fs', ['Dir', 'FSWatcher', 'StatWatcher']],
  ['node:http', ['Agent', 'OutgoingMessage', 'IncomingMessage']],
]

const BOUND_GLOBALS: readonly string[] = [
  'AbortController AbortSignal EventTarget Event Blob ReadableStream WritableStream TransformStream CryptoKey',
  'Headers TextDecoderStream TextEncoderStream CompressionStream DecompressionStream WebSocket Request Response FormData',
  'Performance PerformanceObserver BroadcastChannel MessageChannel MessagePort FinalizationRegistry WeakRef Promise',
].flatMap(line => line.split(' '))

const NATIVE_SOURCE = /\{\s*\[native code\]\s*\}\s*$/

/**
 * What an object with this prototype is called, when such objects can never be sent; `undefined` when they may be
 * instances of a class of the user.
 */
export function boundKind(value: object, prototype: object): string | undefined {
  if (value === globalThis) return 'global object'
  if (types.isPromise(value)) return 'Promise'
  const tag = tagOf(value)
  if (types.isGeneratorObject(value)) return tag === 'AsyncGenerator' ? 'AsyncGenerator' : 'Generator'
  if (types.isExternal(value)) return 'External'
  if (types.isMapIterator(value) || types.isSetIterator(value)) return 'Iterator'
  for (let link: object | null = prototype; link !== null && link !== Object.prototype;) {
    const constructor = dataProperty(link, 'constructor')
    if (tag.endsWith('Iterator') && typeof constructor !== 'function') return 'Iterator'
    if (typeof constructor === 'function') {
      const ownClassName = dataProperty(constructor, 'name')
      const name = typeof ownClassName === 'string' ? ownClassName : ''
      if (name === 'Iterator' && NATIVE_SOURCE.test(Function.prototype.toString.call(constructor)))
        return 'Iterator'
      if (isBoundClass(constructor, name)) return ownName(prototype) ?? name
    }
    const next: object | null = Object.getPrototypeOf(link)
    if (typeof constructor !== 'function' && next === Object.prototype && tag !== 'Object') return tag
    link = next
  }
  return undefined
}

/** The value's `Symbol.toStringTag`, unless it is a getter: that would run code of the user. */
function tagOf(value: object): string {
  for (let link: object | null = value; link !== null; link = Object.getPrototypeOf(link)) {
    const tag: unknown = Object.getOwnPropertyDescriptor(link, Symbol.toStringTag)?.value
    if (typeof tag === 'string') return tag
  }
  return 'Object'
}

function ownName(prototype: object): string | undefined {
  const constructor = dataProperty(prototype, 'constructor')
  const name = typeof constructor === 'function' ? dataProperty(constructor, 'name') : undefined
  return typeof name === 'string' && name !== '' ? name : undefined
}

function isBoundClass(constructor: object, name: string): boolean {
  if (BOUND_GLOBALS.includes(name) && dataOrGetter(globalThis, name) === constructor) return true
  for (const [module, names] of BOUND_CLASSES) {
    if (names.includes(name) && (require(module) as Record<string, unknown>)[name] === constructor)
      return true
  }
  // What else is written in C++ (zlib handles, Intl.*, WebAssembly.*, TCP ...) has state that no copy can have.
  return NATIVE_SOURCE.test(Function.prototype.toString.call(constructor))
}

function dataProperty(target: object, key: string): unknown {
  return Object.getOwnPropertyDescriptor(target, key)?.value
}

function dataOrGetter(target: object, key: string): unknown {
  const descriptor = Object.getOwnPropertyDescriptor(target, key)
  return descriptor?.get === undefined ? descriptor?.value : descriptor.get.call(target)
}

/** A key of a Map, as it is named in a path. */
function keyName(key: unknown): string {
  if (typeof key === 'string') return JSON.stringify(key)
  return typeof key === 'object' && key !== null ? 'object' : inspect(key)
}

const MAX_VISITED = 1_000_000
const SIMPLE_KEY = /^[A-Za-z_$][\w$]*$/

/** How a property is written in a path: `.name`, `["two words"]`, `[3]`. */
export function pathStep(key: string | number | symbol): string {
  if (typeof key === 'symbol') return `[${String(key)}]`
  if (typeof key === 'number' || /^(0|[1-9]\d*)$/.test(key)) return `[${key}]`
  return SIMPLE_KEY.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`
}

/** The steps from `root` to the first place of `culprit`, without running any code of the user. */
export function findPath(root: unknown, culprit: unknown): string[] | undefined {
  if (root === culprit) return []
  if (typeof root !== 'object' || root === null) return undefined
  const cameFrom = new Map<object, { parent: object | undefined; step: string }>([
    [root, { parent: undefined, step: '' }],
  ])
  const queue: object[] = [root]
  const follow = (parent: object, step: string, value: unknown): boolean => {
    if (value === culprit) return true
    if (typeof value === 'object' && value !== null && !cameFrom.has(value)) {
      cameFrom.set(value, { parent, step })
      queue.push(value)
    }
    return false
  }
  const build = (parent: object, last: string): string[] => {
    const steps = [last]
    for (let at: object | undefined = parent; at !== undefined;) {
      const link: { parent: object | undefined; step: string } = cameFrom.get(at)!
      if (link.parent !== undefined) steps.unshift(link.step)
      at = link.parent
    }
    return steps
  }
  for (let index = 0; index < queue.length && index < MAX_VISITED; index++) {
    const value = queue[index]!
    if (types.isProxy(value)) continue
    if (types.isMap(value)) {
      for (const [key, item] of Map.prototype.entries.call(value) as IterableIterator<[unknown, unknown]>) {
        const name = keyName(key)
        if (follow(value, `.key(${name})`, key)) return build(value, `.key(${name})`)
        if (follow(value, `.get(${name})`, item)) return build(value, `.get(${name})`)
      }
    } else if (types.isSet(value)) {
      let position = 0
      for (const item of Set.prototype.values.call(value) as IterableIterator<unknown>) {
        const step = `.values()[${position++}]`
        if (follow(value, step, item)) return build(value, step)
      }
    } else if (ArrayBuffer.isView(value)) {
      if (follow(value, '.buffer', value.buffer)) return build(value, '.buffer')
      continue
    }
    for (const key of Reflect.ownKeys(value)) {
      const descriptor = Object.getOwnPropertyDescriptor(value, key)
      if (descriptor === undefined || descriptor.get !== undefined) continue
      if (follow(value, pathStep(key), descriptor.value)) return build(value, pathStep(key))
    }
  }
  return undefined
}

/** The error for a value that cannot be sent. */
export function unsendableError(
  root: unknown,
  problem: Unsendable,
  rootName: string | undefined,
): SerializeError {
  const steps = findPath(root, problem.culprit) ?? []
  const path = rootName === undefined ? steps : [rootName, ...steps]
  const where = path.length === 0 ? 'the value' : path.join('')
  return new SerializeError(
    `Cannot send ${rootName ?? 'the value'}: ${where} is ${problem.kind}, which cannot leave its process\n` +
      `To fix: ${problem.advice}`,
    { path },
  )
}
