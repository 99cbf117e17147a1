/**
 * BaseManager: types, and the server that has their objects. It starts the server in a process or thread of its own,
 * serves here, or connects to one that somebody else has started.
 */
import { inspect } from 'node:util'
import type { ConnectionOptions, TlsOptions } from 'node:tls'
import { type Address, addressText, parseAddress, plainAddress } from '../connection/address.ts'
import { type AuthKey, authKeyBytes } from '../connection/auth-key.ts'
import { ClosedError, TimeoutError, invalidArgument, invalidState } from '../errors.ts'
import { type WaitOptions, boundedWait } from '../platform/bounded-wait.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { newSocketPath } from '../platform/local-socket.ts'
import { type ContextLike, Process } from '../process/process.ts'
import { getAuthKey } from '../process/process-state.ts'
import { Pipe } from '../queue/pipe.ts'
import type { PipeConnection } from '../queue/pipe-connection.ts'
import { wait } from '../queue/wait.ts'
import type { BaseProxy, ProxyType } from './base-proxy.ts'
import { connectLink, linkTo, tellEndOf } from './links.ts'
import type { ManagerLink } from './manager-link.ts'
import type { Credentials, ManagerPlace } from './manager-place.ts'
import { ManagerServer, notStarted } from './manager-server.ts'
import { SERVER_OBJECT } from './protocol.ts'
import { type ManagerProcessStart, serveInChild } from './server-process.ts'
import type { ServedType } from './served-type.ts'

/** Options of a manager. */
export interface ManagerOptions {
  /** Where it listens, or where to connect. Default: a local socket that only this program knows. */
  address?: Address | undefined
  /** The secret of all who use the manager. Default: the key of the program, which its children inherit. */
  authKey?: AuthKey | undefined
  /** For TLS: options of node:tls, `{ key, cert }` for who serves and `{ ca }` for who connects. */
  tls?: (TlsOptions & ConnectionOptions) | undefined
  /** How to start the server: as a process or a thread. Default: `getStartMethod()` at the time of `start()`. */
  context?: ContextLike | undefined
  /** Milliseconds that `shutdown()` gives the server before it is ended by force. Default: 1000. */
  shutdownTimeout?: number | undefined
  /** The name of the server's process. Default: the name of the class. */
  name?: string | undefined
}

/** Options of `BaseManager.register()`. */
export interface RegisterOptions {
  /** The class of its proxies. Default: one with a method for each exposed method. */
  proxyType?: ProxyType | undefined
  /** The methods that clients may call. Default: those of the proxy class, or all that do not begin with `_`. */
  exposed?: readonly string[] | undefined
  /** Methods whose result stays in the manager as an object of another registered type, and arrives as a proxy. */
  methodToTypeId?: Readonly<Record<string, string>> | undefined
  /** Whether the manager gets a method of that name. Default: true. */
  createMethod?: boolean | undefined
}

/** What is registered: a class, or a function that gives an object. */
// oxlint-disable-next-line typescript/no-explicit-any -- arguments of any kind
type Registrable = (new (...args: any[]) => object) | ((...args: any[]) => object | PromiseLike<object>)

type ObjectOf<C> = C extends new (...args: never[]) => infer T
  ? T
  : C extends (...args: never[]) => infer T
    ? Awaited<T>
    : unknown
type ArgumentsOf<C> = C extends new (...args: infer A) => unknown
  ? A
  : C extends (...args: infer A) => unknown
    ? A
    : unknown[]

/** The methods of an object as a proxy has them: each gives a promise. */
export type Proxied<T> = BaseProxy<T> & {
  [Name in keyof T as T[Name] extends (...args: never[]) => unknown ? Name : never]: T[Name] extends (
    ...args: infer A
  ) => infer R
    ? (...args: A) => Promise<Awaited<R>>
    : never
}

/** A class of managers with one more method, for a type that was registered. */
export type WithType<M, TypeId extends string, C, P> = M extends abstract new (...args: infer A) => infer I
  ? Omit<M, 'prototype'> & (new (...args: A) => I & Record<TypeId, (...args: ArgumentsOf<C>) => Promise<P>>)
  : never

const OPTIONS = ['address', 'authKey', 'tls', 'context', 'shutdownTimeout', 'name']
const SHUTDOWN_MS = 1000
/** How long the end of a connection waits for the end of the process, to tell how that came. */
const END_MS_MAX = 2000

/** Types of each class of managers; a subclass has those of its base at the time of its first own one. */
const registries = new WeakMap<object, Map<string, ServedType>>()

/** The types of a class of managers. */
export function typesOf(manager: object): Map<string, ServedType> {
  let types = registries.get(manager)
  if (types === undefined) {
    const base = Object.getPrototypeOf(manager) as object | null
    types = new Map(base === null || base === Function.prototype ? [] : typesOf(base))
    registries.set(manager, types)
  }
  return types
}

/**
 * A server process with objects that others use through proxies, as Python's `BaseManager`. It has no types of its own:
 * {@link BaseManager.register} adds them. `Manager()` starts one that has a dict, a list, locks and so on.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.managers.BaseManager
 *
 * @example
 * ```ts
 * import { BaseManager } from 'multiproc'
 *
 * class Counter {
 *   count = 0
 *   increment(by = 1) {
 *     return (this.count += by)
 *   }
 * }
 * const MyManager = BaseManager.register('Counter', Counter)
 * await using manager = new MyManager()
 * await manager.start()
 * const counter = await manager.Counter()
 * await counter.increment()
 * console.log(await counter.increment(2)) // 3
 * ```
 */
export class BaseManager implements AsyncDisposable {
  readonly #options: ManagerOptions
  #state: 'new' | 'starting' | 'started' | 'connected' | 'stopped' = 'new'
  #process: Process<[ManagerProcessStart]> | undefined
  #link: ManagerLink | undefined
  #place: ManagerPlace | undefined

  /**
   * Nothing starts yet.
   *
   * @throws TypeError or RangeError for options that make no sense.
   */
  constructor(options: ManagerOptions = {}) {
    assertKnownOptions(new.target.name, options, OPTIONS)
    if (options.address !== undefined) parseAddress(options.address)
    authKeyBytes(options.authKey)
    const { shutdownTimeout = SHUTDOWN_MS } = options
    if (!(typeof shutdownTimeout === 'number' && shutdownTimeout >= 0)) {
      throw invalidArgument(
        RangeError,
        `"shutdownTimeout" must be a number of milliseconds from 0 on, got ${String(shutdownTimeout)}\nTo fix: pass such a number`,
      )
    }
    this.#options = { ...options }
  }

  /**
   * Adds a type to this class of managers: `manager.create(typeId, ...)`, and a method of that name, make an object in the
   * server. To be called before the manager is started. A manager that only connects needs no class or function.
   *
   * @param callable - a class, or a function that returns an object; it is sent to the server
   * @returns this class, with the type of the new method
   * @throws TypeError for options that make no sense.
   */
  static register<
    M extends typeof BaseManager,
    TypeId extends string,
    C extends Registrable,
    P = Proxied<ObjectOf<C>>,
  >(
    this: M,
    typeId: TypeId,
    callable?: C,
    options: RegisterOptions & { proxyType?: (new () => P & BaseProxy) | undefined } = {},
  ): WithType<M, TypeId, C, P> {
    assertKnownOptions('register()', options, ['proxyType', 'exposed', 'methodToTypeId', 'createMethod'])
    if (typeof typeId !== 'string' || typeId === '') {
      throw invalidArgument(TypeError, 'register() needs a name for the type\nTo fix: pass a string first')
    }
    if (callable !== undefined && typeof callable !== 'function') {
      throw invalidArgument(
        TypeError,
        `register() needs a class or a function for "${typeId}", got a ${typeof callable}\nTo fix: pass one, or nothing in a program that only connects`,
      )
    }
    const { proxyType, exposed, methodToTypeId, createMethod = true } = options
    typesOf(this).set(typeId, {
      typeId,
      make: callable as ServedType['make'],
      proxyType: proxyType,
      exposed,
      methodToTypeId,
    })
    if (createMethod) {
      Object.defineProperty(this.prototype, typeId, {
        value(this: BaseManager, ...args: unknown[]): Promise<unknown> {
          return this.create(typeId, ...args)
        },
        writable: true,
        configurable: true,
      })
    }
    return this as never
  }

  /**
   * Starts the server in a child, a daemon: it ends with this program, however that ends.
   *
   * @param options - `initializer(...initArgs)` is called in the server before it serves
   * @throws what the initializer throws; ProcessError `ERR_START_FAILED`, `ERR_ALREADY_EXISTS` when somebody listens at
   * the address, `ERR_INVALID_STATE` when it was started or shut down before; SerializeError for types that cannot be sent.
   */
  async start<A extends unknown[] = []>(
    options: { initializer?: ((...args: A) => unknown) | undefined; initArgs?: A | undefined } = {},
  ): Promise<void> {
    assertKnownOptions('start()', options, ['initializer', 'initArgs'])
    const { initializer, initArgs } = options
    if (initializer !== undefined && typeof initializer !== 'function') {
      throw invalidArgument(
        TypeError,
        '"initializer" must be a function\nTo fix: pass a function, or leave it out',
      )
    }
    if (initArgs !== undefined && !Array.isArray(initArgs)) {
      throw invalidArgument(TypeError, '"initArgs" must be an array\nTo fix: pass [argument]')
    }
    this.#assertNew('start')
    this.#state = 'starting'
    const [reader, writer] = Pipe<ManagerPlace>({ duplex: false })
    try {
      const { context, name = this.constructor.name } = this.#options
      const start: ManagerProcessStart = {
        ...this.#serverOptions(),
        types: [...typesOf(this.constructor).values()].map(type =>
          type.isBuiltIn === true ? type.typeId : type,
        ),
        initializer: initializer,
        initArgs: initArgs ?? [],
        listening: writer,
      }
      const child = new Process({ target: serveInChild, args: [start], name, daemon: true, context })
      child.start()
      this.#process = child
      writer.close()
      // A process that is awaited keeps the program alive: only until it serves or has ended.
      const [first] = await wait([reader, child])
      this.#place = first === reader ? await placeFrom(reader, child) : await failed(child)
      const { server } = this.#place
      tellEndOf(server, () => howItEnded(child))
      this.#link = linkTo(this.#place, this.#credentials())
      await this.#link.welcomed()
      this.#state = 'started'
    } catch (error) {
      this.#state = 'stopped'
      this.#process?.terminate()
      throw error
    } finally {
      writer.close()
      reader.close()
    }
  }

  /**
   * Connects to a manager that another program has started, at the address of this one.
   *
   * @throws ProcessError `ERR_NOT_FOUND` when nobody listens there; AuthenticationError for another key; TypeError without
   * an address.
   */
  async connect(): Promise<void> {
    this.#assertNew('connect')
    const { address } = this.#options
    if (address === undefined) {
      throw invalidArgument(
        TypeError,
        'Cannot connect: there is no address\nTo fix: new Manager({ address, authKey })',
      )
    }
    this.#state = 'starting'
    try {
      this.#link = await connectLink(parseAddress(address), this.#credentials())
      this.#place = this.#link.place
      this.#state = 'connected'
    } catch (error) {
      this.#state = 'new'
      throw error
    }
  }

  /** A server with the types of this manager, to run in this process: `await manager.getServer().serveForever()`. */
  getServer(): ManagerServer {
    this.#assertNew('serve')
    return new ManagerServer(typesOf(this.constructor), this.#serverOptions())
  }

  #serverOptions(): { address: Address; authKey: Uint8Array; tls: TlsOptions | undefined } {
    const { address = newSocketPath(), tls } = this.#options
    return { address, authKey: authKeyBytes(this.#options.authKey) ?? getAuthKey(), tls }
  }

  #credentials(): Credentials | undefined {
    const { authKey, tls } = this.#options
    if (authKey === undefined && tls === undefined) return undefined
    return { authKey: authKeyBytes(authKey) ?? getAuthKey(), tls: clientPart(tls) }
  }

  #assertNew(action: string): void {
    if (this.#state === 'new') return
    const why =
      this.#state === 'stopped'
        ? 'it was shut down'
        : this.#state === 'connected'
          ? 'it is connected'
          : 'it was started'
    throw invalidState(`Cannot ${action} the manager: ${why} already\nTo fix: make a new one`)
  }

  #linkOr(action: string): ManagerLink {
    if (this.#link === undefined) throw notStarted(action)
    return this.#link
  }

  /**
   * Makes an object of a registered type, and gives a proxy.
   *
   * @throws what the class or function throws; ProcessError `ERR_REMOTE` for a type that the server does not have;
   * ClosedError before `start()` or `connect()`, and after the end.
   */
  async create(typeId: string, ...args: unknown[]): Promise<BaseProxy> {
    return (await this.#linkOr(`make a "${typeId}"`).call(undefined, SERVER_OBJECT, 'create', [
      typeId,
      ...args,
    ])) as BaseProxy
  }

  /** How many objects the server has, as Python's `_number_of_objects`. */
  numberOfObjects(): Promise<number> {
    return this.#ask('numberOfObjects') as Promise<number>
  }

  /** A text of two lines for each object, as Python's `_debug_info`. */
  debugInfo(): Promise<string[]> {
    return this.#ask('debugInfo') as Promise<string[]>
  }

  async #ask(method: string): Promise<unknown> {
    return await this.#linkOr('ask the manager').call(undefined, SERVER_OBJECT, method, [])
  }

  /**
   * Ends the server that `start()` has started: it is told, has `shutdownTimeout` to end by itself, and is terminated then,
   * and killed. For a manager that is only connected, it does nothing. Twice is fine.
   */
  async shutdown(): Promise<void> {
    const child = this.#process
    if (this.#state !== 'started') {
      if (this.#state === 'new') this.#state = 'stopped'
      if (child !== undefined) await child.join()
      return
    }
    this.#state = 'stopped'
    const { shutdownTimeout: timeout = SHUTDOWN_MS } = this.#options
    // One that does not answer any more is ended by force, and so is one that has ended.
    const told = this.#link!.call(undefined, SERVER_OBJECT, 'shutdown', []).catch(() => {})
    await boundedWait(told, { timeout }, { onTimeout: () => {} })
    this.#link!.close()
    if ((await child!.join({ timeout })) !== null) return
    child!.terminate()
    if ((await child!.join({ timeout })) !== null) return
    child!.kill()
    await child!.join()
  }

  /**
   * Waits for the end of the server's process.
   *
   * @throws TimeoutError after the timeout; the signal's reason; ProcessError `ERR_INVALID_STATE` unless this manager has
   * started it.
   */
  async join(wait: WaitOptions = {}): Promise<void> {
    if (this.#process === undefined) {
      throw invalidState('Cannot join the manager: it has started no process\nTo fix: call start() first')
    }
    if ((await this.#process.join(wait)) !== null) return
    throw new TimeoutError(
      `The process of the manager has not ended within ${wait.timeout} ms\nTo fix: call shutdown(), or wait longer`,
    )
  }

  /**
   * Where the server listens: a path, or host and port.
   *
   * @throws ClosedError as long as that is not known.
   */
  get address(): ReturnType<typeof plainAddress> {
    if (this.#place !== undefined) return plainAddress(this.#place.address)
    if (this.#options.address !== undefined) return plainAddress(parseAddress(this.#options.address))
    throw notStarted('tell the address')
  }

  /** The process of the server, if this manager has started it. */
  get process(): Process<[ManagerProcessStart]> | undefined {
    return this.#process
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown()
  }

  toString(): string {
    const where = this.#place === undefined ? '' : ` ${addressText(this.#place.address)}`
    return `<${this.constructor.name}${where} ${this.#state}>`
  }

  /** @internal */
  [inspect.custom](): string {
    return this.toString()
  }
}

/** Rejects when the child ends before it serves. */
/** Where it serves, or why it does not: at its end there is nothing to be read. */
async function placeFrom(
  reader: PipeConnection<ManagerPlace>,
  child: Process<[ManagerProcessStart]>,
): Promise<ManagerPlace> {
  try {
    return await reader.recv()
  } catch (error) {
    if (error instanceof ClosedError) return await failed(child)
    throw error
  }
}

async function failed(child: Process<[ManagerProcessStart]>): Promise<never> {
  await child.result()
  throw invalidState(
    'The manager was shut down before it served\nTo fix: do not call process.exit() in its initializer',
  )
}

/** For those who wait for a manager that has ended. */
async function howItEnded(child: Process<[ManagerProcessStart]>): Promise<string | undefined> {
  const exitCode = await child.join({ timeout: END_MS_MAX })
  if (exitCode === null) return undefined
  return child.signal === null ? `it ended with exit code ${exitCode}` : `it was ended by ${child.signal}`
}

/** Of options for both sides, those with which others connect. */
function clientPart(tls: ManagerOptions['tls']): ConnectionOptions | undefined {
  if (tls === undefined) return undefined
  const { ca, cert, key, passphrase, servername, rejectUnauthorized, minVersion } = tls
  const part = { ca, cert, key, passphrase, servername, rejectUnauthorized, minVersion }
  return Object.fromEntries(Object.entries(part).filter(([, value]) => value !== undefined))
}
