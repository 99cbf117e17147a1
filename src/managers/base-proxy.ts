/**
 * What stands for an object of a manager: every method is a call over the link of its thread. A proxy may be sent
 * anywhere; each one that exists is counted by the server, and so is each that is on its way (by a lease).
 */
import { inspect } from 'node:util'
import { plainAddress } from '../connection/address.ts'
import { ClosedError } from '../errors.ts'
import { carry, leaseFor } from '../platform/in-flight.ts'
import { holdHere, linkTo } from './links.ts'
import type { ManagerLink } from './manager-link.ts'
import type { Credentials, ManagerPlace } from './manager-place.ts'
import { isWrittenForManager } from './written-for-manager.ts'

/** A class of proxies. */
// oxlint-disable-next-line typescript/no-explicit-any -- any class of proxies
export type ProxyType<P extends BaseProxy = BaseProxy> = (new () => P) & {
  readonly exposed?: readonly string[]
}

/** What a proxy is when it travels, as Python's `Token`. */
export interface Token {
  place: ManagerPlace
  /** The number of the object in its server. */
  id: number
  typeId: string
  lease: number | undefined
  /** The class of a user; that of the library's own types is found by the type. */
  proxyType: ProxyType | undefined
  /** For proxies without a class of their own: the methods. */
  exposed: readonly string[] | undefined
  /** What does not change about the object, for the proxy. */
  facts: unknown
  /** For members of the program only. */
  credentials: Credentials | undefined
}

interface ProxyRecord extends Omit<Token, 'lease' | 'credentials'> {
  link: ManagerLink
  /** The object itself, in its server. */
  held: object | undefined
}

const records = new WeakMap<object, ProxyRecord>()
/** Of each manager, by the number of the object. */
const known = new Map<string, WeakRef<BaseProxy>>()
/** The proxy classes of the library's own types. */
const proxyTypes = new Map<string, ProxyType>()
let arriving: ProxyRecord | undefined
let collected: FinalizationRegistry<{ key: string; link: ManagerLink; id: number }> | undefined

/** Has objects of a type of the library be stood for by a class, in every process. */
export function addProxyType(typeId: string, type: ProxyType): void {
  proxyTypes.set(typeId, type)
}

/**
 * The base of all proxies, as Python's `BaseProxy`. A class of your own has a method for each method of the object, which
 * passes it on with {@link BaseProxy.callMethod}; see `BaseManager.register()`.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.managers.BaseProxy
 */
export class BaseProxy<T = unknown> implements Disposable {
  #link: ManagerLink
  #id: number

  /**
   * Proxies are made by managers.
   *
   * @throws ClosedError otherwise.
   */
  constructor() {
    const record = arriving
    arriving = undefined
    if (record === undefined) {
      throw new ClosedError(
        `Cannot make a ${new.target.name}: a proxy stands for an object of a manager\n` +
          'To fix: have the manager make the object, as in: await manager.dict()',
      )
    }
    this.#link = record.link
    this.#id = record.id
    records.set(this, record)
  }

  /** The type of the object, the number by which its manager knows it, and where that is. */
  get token(): Pick<Token, 'typeId' | 'id'> & { address: string | [host: string, port: number] } {
    const { typeId, id, place } = recordOf(this)
    return { typeId, id, address: plainAddress(place.address) }
  }

  /**
   * Calls a method of the object in its manager, as Python's `_callmethod`.
   *
   * @returns what it returns, awaited; an object of the manager where the type says so
   * @throws what the method throws, with its stack there; ProcessError `ERR_REMOTE` for a method that is not exposed;
   * ClosedError when the manager has ended, or the proxy was detached.
   */
  callMethod(method: string, args: readonly unknown[] = [], signal?: AbortSignal): Promise<unknown> {
    return this.#link.call(this, this.#id, method, args, signal)
  }

  /** A copy of the object, as Python's `_getvalue`. */
  getValue(): Promise<T> {
    return this.callMethod('#getValue') as Promise<T>
  }

  /** The object as text, as its manager sees it: Python's `str(proxy)`. */
  describe(): Promise<string> {
    return this.callMethod('#describe') as Promise<string>
  }

  /**
   * This proxy is not used any more. The manager lets go of an object when no proxy of it is left anywhere; without
   * this call, that is when the garbage collector has found out. Twice is fine.
   */
  detach(): void {
    const record = records.get(this)
    if (record === undefined) return
    records.delete(this)
    collected?.unregister(this)
    const key = keyOf(record)
    if (known.get(key)?.deref() === this) known.delete(key)
    record.link.release(record.id)
    this.#link = DETACHED
  }

  [Symbol.dispose](): void {
    this.detach()
  }

  toString(): string {
    const record = records.get(this)
    if (record === undefined) return `<${this.constructor.name} detached>`
    return `<${this.constructor.name} ${record.typeId} ${record.id}>`
  }

  /** @internal */
  [inspect.custom](): string {
    return this.toString()
  }
}

/** What a detached proxy has for a link. */
const DETACHED = {
  call: () => Promise.reject(detached()),
} as unknown as ManagerLink

function detached(): ClosedError {
  return new ClosedError(
    'Cannot use the proxy: it was detached\nTo fix: call detach() when nothing here uses it any more',
  )
}

function recordOf(proxy: object): ProxyRecord {
  const record = records.get(proxy)
  if (record === undefined) throw detached()
  return record
}

/** What does not change about an object, and came with its proxy. */
export function factsOf(proxy: object): unknown {
  return recordOf(proxy).facts
}

/** The number of the object in the server of that name; `undefined` for anything but a proxy of one of its objects. */
export function idIn(server: string, value: unknown): number | undefined {
  const record = typeof value === 'object' && value !== null ? records.get(value) : undefined
  return record?.place.server === server ? record.id : undefined
}

function keyOf({ place, id }: Pick<ProxyRecord, 'place' | 'id'>): string {
  return `${place.server} ${id}`
}

/** The proxy for a token that arrived: the one that is here, or a new one. */
export function proxyFor(token: Token): BaseProxy {
  const { id, typeId, lease, proxyType, exposed, facts, credentials } = token
  const link = linkTo(token.place, credentials)
  // A server may listen at all addresses of its machine; how it was reached from here is what others can use.
  const { place } = link
  const key = keyOf({ place, id })
  const here = known.get(key)?.deref()
  if (here !== undefined && records.get(here)?.link === link) {
    // The lease ends, and there is no new proxy.
    link.open(id, lease)
    link.release(id)
    return here
  }
  const type = proxyType ?? (exposed === undefined ? proxyTypes.get(typeId)! : autoProxy(typeId, exposed))
  arriving = { link, place, id, typeId, proxyType, exposed, facts, held: holdHere(place, id) }
  let proxy: BaseProxy
  try {
    proxy = new type()
  } finally {
    arriving = undefined
  }
  link.open(id, lease)
  known.set(key, new WeakRef(proxy))
  collected ??= new FinalizationRegistry(gone => {
    if (known.get(gone.key)?.deref() === undefined) known.delete(gone.key)
    gone.link.release(gone.id)
  })
  collected.register(proxy, { key, link, id }, proxy)
  return proxy
}

const autoProxies = new Map<string, ProxyType>()
/** Classes are kept, so that equal ones are one; beyond, they are made anew. */
const AUTO_PROXIES_MAX = 256

function autoProxy(typeId: string, exposed: readonly string[]): ProxyType {
  const key = JSON.stringify([typeId, exposed])
  let type = autoProxies.get(key)
  if (type === undefined) {
    type = makeProxyType(`AutoProxy[${typeId}]`, exposed)
    if (autoProxies.size >= AUTO_PROXIES_MAX) autoProxies.clear()
    autoProxies.set(key, type)
  }
  return type
}

/**
 * A class of proxies with the given methods, each of which is passed on, as Python's `MakeProxyType`.
 *
 * @param name - of the class
 * @param exposed - names of methods
 */
export function makeProxyType(
  name: string,
  exposed: readonly string[],
): ProxyType<BaseProxy & Record<string, (...args: unknown[]) => Promise<unknown>>> {
  const type = class extends BaseProxy {
    static readonly exposed: readonly string[] = [...exposed]
  }
  Object.defineProperty(type, 'name', { value: name })
  for (const method of exposed) {
    // What a proxy has itself stays: "detach" of an object is reached by callMethod().
    if (method in BaseProxy.prototype) continue
    Object.defineProperty(type.prototype, method, {
      value(this: BaseProxy, ...args: unknown[]): Promise<unknown> {
        return this.callMethod(method, args)
      },
      writable: true,
      configurable: true,
    })
  }
  return type as never
}

/** What is sent in the place of a proxy. */
export function tokenToSend(proxy: BaseProxy): Token {
  const { link, typeId, proxyType, exposed, facts, id, place } = recordOf(proxy)
  // The number is at the server before the message has left. Bytes that are kept here keep the proxy.
  const { lease } = leaseFor(proxy, () => ({ isReadOften: false, release() {}, lease: link.lease(id) }))
  carry(proxy, () => {})
  const credentials = isWrittenForManager() ? undefined : link.credentialsToShare
  return { place, id, typeId, lease, proxyType, exposed, facts, credentials }
}
