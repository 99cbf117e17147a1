/**
 * The server of a manager: it has the objects, and does with them what its clients ask. It runs in a process (or thread)
 * of its own, or in whichever program calls `serveForever()`. Everything runs in one thread, one call after the other, so
 * each call of a plain object is atomic.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { inspect } from 'node:util'
import { letGo } from '../broker/shareable.ts'
import { type Address, addressText, parseAddress, plainAddress } from '../connection/address.ts'
import { SocketServer, type SocketServerOptions } from '../connection/socket-server.ts'
import { ClosedError, ProcessError, invalidState } from '../errors.ts'
import { SharedHeap, actAs } from '../platform/shared-heap.ts'
import { onAbort } from '../platform/on-abort.ts'
import type { Token } from './base-proxy.ts'
import { introduceServer } from './introduction.ts'
import { addLocalServer } from './links.ts'
import { LocalConnection, type ManagerConnection } from './local-connection.ts'
import type { ManagerPlace } from './manager-place.ts'
import { ObjectTable, type Served } from './object-table.ts'
import { CLIENTS_MAX, RING_CLIENTS_MAX } from './protocol.ts'
import './proxy-reducers.ts'
import { addReferents } from './referents.ts'
import { type ClientHost, Made, ServerClient } from './server-client.ts'
import { type ServedType, exposedMethods, makeObject } from './served-type.ts'

/** How a server listens. */
export interface ManagerServerOptions {
  address: Address
  authKey: Uint8Array
  tls?: SocketServerOptions['tls']
}

/**
 * The server of a manager, as Python's `Server`; `BaseManager.getServer()` makes it.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.managers.BaseManager.get_server
 */
export class ManagerServer implements AsyncDisposable {
  readonly #types: ReadonlyMap<string, ServedType>
  readonly #options: ManagerServerOptions
  readonly #name = randomBytes(8).toString('hex')
  readonly #clients = new Map<ServerClient, ManagerConnection>()
  #ringCount = 0
  readonly #table = new ObjectTable(served => this.#letGo(served))
  #heap: SharedHeap | undefined
  #sockets: SocketServer | undefined
  #state: 'new' | 'serving' | 'stopped' = 'new'
  #undo: (() => void)[] = []
  readonly #stop = new AbortController()

  /** @internal */
  constructor(types: ReadonlyMap<string, ServedType>, options: ManagerServerOptions) {
    this.#types = types
    this.#options = options
  }

  /** Where it listens: a path, or host and port. With port 0 the port is known once it listens. */
  get address(): ReturnType<typeof plainAddress> {
    return plainAddress(this.#sockets?.address ?? parseAddress(this.#options.address))
  }

  /** @internal */
  get place(): ManagerPlace {
    return { address: this.#sockets?.address ?? parseAddress(this.#options.address), server: this.#name }
  }

  /**
   * Begins to serve, and resolves when clients can connect. It keeps the program alive until `shutdown()`.
   *
   * @throws ProcessError `ERR_ALREADY_EXISTS` when somebody listens there; `ERR_INVALID_STATE` for a second start.
   */
  async listen(): Promise<void> {
    if (this.#state !== 'new') {
      throw invalidState(
        `Cannot start the server of a manager: it ${this.#state === 'serving' ? 'serves already' : 'was shut down'}\n` +
          'To fix: call getServer() for another one',
      )
    }
    this.#state = 'serving'
    const { address, authKey, tls } = this.#options
    const sockets = new SocketServer(address, {
      authKey,
      tls,
      // All clients of a program may come at the same moment.
      limits: { pendingMax: CLIENTS_MAX },
      onSocket: socket => void this.#introduce(socket),
    })
    this.#sockets = sockets
    await sockets.listening()
    this.#undo.push(
      addLocalServer({
        place: this.place,
        connect: () => {
          const [here, there] = LocalConnection.pair()
          this.#serve(there, { isServer: true, ended() {} })
          return here
        },
        hold: id => this.#table.hold(id),
      }),
      addReferents(this.#name, id => this.#table.get(id)?.object),
    )
  }

  /**
   * Serves until it is told to shut down, by `shutdown()` here or by a client, as Python's `serve_forever`.
   *
   * @throws as `listen()`; the reason of the signal, after it has shut down.
   */
  async serveForever({ signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    signal?.throwIfAborted()
    if (this.#state !== 'serving') await this.listen()
    const stopped = this.#stop.signal
    const aborted = (): void => void this.shutdown()
    if (signal) onAbort(signal, aborted)
    if (!stopped.aborted) await once(stopped, 'abort')
    signal?.removeEventListener('abort', aborted)
    signal?.throwIfAborted()
  }

  /** Lets go of everything. Whoever waits for an object gets a ClosedError. Twice is fine. */
  async shutdown(): Promise<void> {
    if (this.#state === 'stopped') return
    this.#state = 'stopped'
    for (const undo of this.#undo) undo()
    for (const [client, connection] of this.#clients) {
      client.end()
      // What was answered before still arrives.
      connection.close()
    }
    this.#table.clear()
    await this.#sockets?.close()
    this.#stop.abort()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown()
  }

  toString(): string {
    const where = addressText(this.place.address)
    return `<ManagerServer ${where} ${this.#state} objects=${this.#table.size} clients=${this.#clients.size}>`
  }

  /** @internal */
  [inspect.custom](): string {
    return this.toString()
  }

  get #host(): ClientHost {
    return {
      table: this.#table,
      heap: () => this.#ownHeap(),
      serverMethod: (method, args) => this.#serverMethod(method, args),
      keep: (typeId, object) => this.#keep(typeId, object),
      tokenOf: (served, lease) => this.#tokenOf(served, lease),
    }
  }

  #ownHeap(): SharedHeap {
    if (this.#heap === undefined) {
      this.#heap = SharedHeap.createOwn()
      // A member: only one can deal with the ends of others.
      void this.#heap.token
    }
    return this.#heap
  }

  async #introduce(socket: Socket): Promise<void> {
    socket.on('error', () => {})
    const introduced = await introduceServer(socket, () => ({
      server: this.#name,
      pid: process.pid,
      refusal: this.#clients.size >= CLIENTS_MAX ? tooManyClients() : undefined,
      // A bell is written past the socket, which over TLS would not be what it seems.
      mayHaveRings: this.place.address.family !== 'AF_INET' && this.#ringCount < RING_CLIENTS_MAX,
    }))
    if (introduced === undefined) return
    const { connection, hasRings } = introduced
    if (hasRings) this.#ringCount++
    const ended = (): void => {
      if (hasRings) this.#ringCount--
    }
    this.#serve(connection, { isServer: false, ended })
  }

  #serve(connection: ManagerConnection, { isServer, ended }: { isServer: boolean; ended: () => void }): void {
    const client = new ServerClient(this.#host, connection, { isServer })
    this.#clients.set(client, connection)
    connection.onClose = () => {
      this.#clients.delete(client)
      client.end()
      ended()
    }
    if (this.#state !== 'serving') connection.abort()
  }

  // ---- What a client can ask of the server itself ----

  #serverMethod(method: string, args: readonly unknown[]): unknown {
    switch (method) {
      case 'create':
        return this.#create(args[0] as string, args.slice(1))
      case 'numberOfObjects':
        return this.#table.size
      case 'debugInfo':
        return [...this.#table].map(({ id, typeId, uses, object, type }) => {
          const text = inspect(type.snapshot === undefined ? object : type.snapshot(object), { depth: 1 })
          return `${id}: ${typeId} uses=${uses}\n    ${text.slice(0, 75)}`
        })
      case 'numberOfClients':
        return this.#clients.size
      case 'shutdown':
        // The answer first.
        setImmediate(() => void this.shutdown())
        return undefined
      default:
        throw new ProcessError(
          'ERR_REMOTE',
          `The manager has no method "${method}"\nTo fix: use the same version of multiproc on both sides`,
        )
    }
  }

  #create(typeId: string, args: readonly unknown[]): unknown {
    const type = this.#typeOf(typeId)
    if (type.make === undefined) {
      throw new ProcessError(
        'ERR_REMOTE',
        `Cannot make a "${typeId}" in the manager: the type was registered there without a class or function\n` +
          'To fix: pass one to register() in the program that serves',
      )
    }
    const make = (): unknown => makeObject(type.make!, args)
    const object = type.operations === undefined ? make() : actAs(this.#ownHeap(), make)
    return object instanceof Promise
      ? object.then(made => new Made(this.#keep(typeId, made)))
      : new Made(this.#keep(typeId, object))
  }

  #typeOf(typeId: string): ServedType {
    const type = this.#types.get(typeId)
    if (type !== undefined) return type
    throw new ProcessError(
      'ERR_REMOTE',
      `The manager has no type "${typeId}"\n` +
        `To fix: register it before the manager is started; it has ${[...this.#types.keys()].join(', ')}`,
    )
  }

  #keep(typeId: string, object: unknown): Served {
    const type = this.#typeOf(typeId)
    if ((typeof object !== 'object' && typeof object !== 'function') || object === null) {
      throw new ProcessError(
        'ERR_REMOTE',
        `Cannot keep ${object === null ? 'null' : `a ${typeof object}`} as the manager's "${typeId}": it is no object\n` +
          'To fix: let the function that was registered return an object, or use manager.Value() for one value',
      )
    }
    return this.#table.add({ typeId, type, object, exposed: exposedMethods(type, object) })
  }

  #tokenOf({ id, typeId, type, object, exposed }: Served, lease: number): Token {
    const { proxyType } = type
    const isAuto = proxyType === undefined && !type.isBuiltIn
    return {
      place: this.place,
      id,
      typeId,
      lease,
      proxyType,
      exposed: isAuto ? [...exposed] : undefined,
      facts: type.factsOf?.(object),
      credentials: undefined,
    }
  }

  #letGo({ type, object }: Served): void {
    if (type.operations !== undefined) actAs(this.#ownHeap(), () => letGo(object))
    type.end?.(object)
  }
}

function tooManyClients(): ProcessError {
  return new ProcessError(
    'ERR_LIMIT',
    `Cannot use the manager here: ${CLIENTS_MAX} processes and threads use it already\n` +
      'To fix: run fewer at the same time, or start a second manager',
  )
}

/** For managers that were not started. */
export function notStarted(action: string): ClosedError {
  return new ClosedError(
    `Cannot ${action}: the manager is not started\nTo fix: await manager.start() or connect() first`,
  )
}
