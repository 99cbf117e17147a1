/**
 * One client as the server sees it: the proxies that it has, the calls that it waits for, and, once it uses a lock or a
 * queue, a member of the server's heap. So what becomes of locks, permits and barriers when the client ends follows from
 * the rules for members, as in `broker/`, and is written nowhere else.
 */
import { inspect } from 'node:util'
import { OpenObjects } from '../broker/open-objects.ts'
import { ClosedError, ProcessError } from '../errors.ts'
import { type SharedHeap, actAs } from '../platform/shared-heap.ts'
import { decode, encode, encodeThrown, prepare } from '../serialize/codec.ts'
import type { ManagerConnection } from './local-connection.ts'
import { newLease } from './manager-link.ts'
import type { ObjectTable, Served } from './object-table.ts'
import {
  PENDING_CALLS_MAX,
  SERVER_OBJECT,
  type ToServer,
  UNREAD_BYTES_MAX,
  decodeToServer,
  encodeMessage,
} from './protocol.ts'
import { ServerReference } from './server-reference.ts'
import type { Token } from './base-proxy.ts'
import { encodeForManager } from './written-for-manager.ts'

/** What a client needs of its server. */
export interface ClientHost {
  readonly table: ObjectTable
  /** The memory in which locks and queues lie. The first use makes it. */
  heap(): SharedHeap
  /** A method of the server itself. */
  serverMethod(method: string, args: readonly unknown[]): unknown
  /** Makes an object of the type out of what a method has returned. */
  keep(typeId: string, object: unknown): Served
  tokenOf(served: Served, lease: number): Token
}

/** What a method of the server has made. */
export class Made {
  readonly served: Served

  constructor(served: Served) {
    this.served = served
  }
}

/** Why a call ended that its client, or the client's end, has aborted. */
const ABORTED = Symbol('aborted')
const UNDEFINED = encode(undefined)

export class ServerClient {
  readonly #host: ClientHost
  readonly #connection: ManagerConnection
  readonly #isServer: boolean
  /** Proxies that the client has, by object. */
  readonly #proxies = new Map<number, { served: Served; count: number }>()
  /** Leases of what it has been answered and has not opened. Nobody else has been given them. */
  readonly #given = new Set<number>()
  readonly #calls = new Map<number, AbortController>()
  #member: { heap: SharedHeap; objects: OpenObjects } | undefined
  /** Messages behind one that waits for its modules: they are dealt with in order. */
  readonly #waiting: ToServer[] = []
  #isLoading = false
  #hasEnded = false

  /** @param isServer - whether it is the server that is its own client: its proxies keep their objects by themselves */
  constructor(host: ClientHost, connection: ManagerConnection, { isServer = false } = {}) {
    this.#host = host
    this.#isServer = isServer
    this.#connection = connection
    connection.onMessage = frame => this.#receive(frame)
  }

  #receive(frame: Uint8Array): void {
    let message: ToServer
    try {
      message = decodeToServer(frame)
    } catch (error) {
      this.refuse(error)
      return
    }
    if (this.#isLoading) this.#waiting.push(message)
    else this.#handle(message)
  }

  /** It is not served, or what it says cannot be trusted any more. */
  refuse(error: unknown): void {
    this.#post(encodeMessage('refused', 0, 0, encode(error)))
    this.#connection.close()
  }

  #handle(message: ToServer): void {
    if (this.#hasEnded) return
    switch (message.kind) {
      case 'call':
        this.#call(message.call, message.object, message.payload)
        return
      case 'abort':
        this.#calls.get(message.call)?.abort(ABORTED)
        return
      case 'open':
        this.#open(message.object, leaseIn(message.payload))
        return
      case 'release':
        this.#release(message.object)
        return
      case 'lease': {
        const served = this.#servedFor(message.object)
        const lease = leaseIn(message.payload)
        if (served !== undefined && lease !== undefined) this.#host.table.lease(served, lease)
      }
    }
  }

  // ---- Proxies ----

  /** An object that the client has a proxy of. */
  #servedFor(id: number): Served | undefined {
    return this.#isServer ? this.#host.table.get(id) : this.#proxies.get(id)?.served
  }

  #open(id: number, lease: number | undefined): void {
    const { table } = this.#host
    if (!this.#isServer) this.#count(id)
    if (lease === undefined) return
    this.#given.delete(lease)
    table.arrived(lease)
  }

  #count(id: number): void {
    const { table } = this.#host
    const here = this.#proxies.get(id)
    const served = here?.served ?? table.get(id)
    if (here !== undefined) here.count++
    else if (served !== undefined) {
      // One use for all proxies of one client, taken before the lease ends.
      table.use(served)
      this.#proxies.set(id, { served, count: 1 })
    }
  }

  #release(id: number): void {
    const here = this.#proxies.get(id)
    if (here === undefined || --here.count > 0) return
    this.#proxies.delete(id)
    this.#member?.objects.close(id)
    this.#host.table.drop(here.served)
  }

  // ---- Calls ----

  #call(call: number, id: number, payload: Uint8Array): void {
    let loading: Promise<void> | undefined
    try {
      loading = prepare(payload)
      if (loading === undefined) {
        this.#run(call, id, decode(payload))
        return
      }
    } catch (error) {
      this.#fail(call, error)
      return
    }
    void this.#callLater(call, id, payload, loading)
  }

  async #callLater(call: number, id: number, payload: Uint8Array, loading: Promise<void>): Promise<void> {
    this.#isLoading = true
    try {
      await loading
      const said = decode(payload)
      if (!this.#hasEnded) this.#run(call, id, said)
    } catch (error) {
      this.#fail(call, error)
    } finally {
      this.#isLoading = false
    }
    while (this.#waiting.length > 0 && !this.#isLoading) this.#handle(this.#waiting.shift()!)
  }

  #run(call: number, id: number, said: unknown): void {
    const [method, ...args] = said as [string, ...unknown[]]
    if (typeof method !== 'string') throw notExposed(String(method), 'object')
    if (this.#calls.size >= PENDING_CALLS_MAX) throw tooManyCalls()
    if (id === SERVER_OBJECT) {
      this.#settle(call, method, this.#host.serverMethod(method, args), undefined)
      return
    }
    const served = this.#servedFor(id)
    if (served === undefined) throw isGone()
    const { type, object, exposed } = served
    if (type.operations !== undefined) void this.#operate(call, served, method, args)
    else if (exposed.has(method)) {
      const value: unknown = (object as Record<string, (...args: unknown[]) => unknown>)[method]!(...args)
      const kept = type.methodToTypeId
      this.#settle(
        call,
        method,
        value,
        kept !== undefined && Object.hasOwn(kept, method) ? kept[method] : undefined,
      )
    } else this.#settle(call, method, general(served, method), undefined)
  }

  #settle(call: number, method: string, value: unknown, typeId: string | undefined): void {
    if (isThenable(value)) void this.#settleLater(call, method, value, typeId)
    else this.#answer(call, method, value, typeId)
  }

  async #settleLater(
    call: number,
    method: string,
    promise: PromiseLike<unknown>,
    typeId: string | undefined,
  ): Promise<void> {
    // So that it counts. What a user's method does cannot be aborted.
    this.#calls.set(call, new AbortController())
    try {
      const value = await promise
      this.#answer(call, method, value, typeId)
    } catch (error) {
      this.#fail(call, error)
    } finally {
      this.#calls.delete(call)
    }
  }

  /** Runs up to its first `await` at once, as the member that the client is. */
  async #operate(call: number, served: Served, method: string, args: readonly unknown[]): Promise<void> {
    const controller = new AbortController()
    this.#calls.set(call, controller)
    let use: (() => void) | undefined
    try {
      const { heap, objects } = this.#asMember()
      const real = this.#realOf(served, heap, objects)
      objects.use(real)
      use = () => objects.drop(real)
      const operation = Object.hasOwn(served.type.operations!, method)
        ? served.type.operations![method]!
        : method === '#describe'
          ? String
          : undefined
      if (operation === undefined) throw notExposed(method, served.typeId)
      const value = await actAs(heap, () => operation(real, args, controller.signal))
      this.#answer(call, method, value, undefined)
    } catch (error) {
      if (error === ABORTED) this.#post(encodeMessage('aborted', call, 0))
      else this.#fail(call, error)
    } finally {
      this.#calls.delete(call)
      use?.()
    }
  }

  #asMember(): { heap: SharedHeap; objects: OpenObjects } {
    if (this.#member === undefined) {
      const heap = this.#host.heap().anotherMember()
      this.#member = { heap, objects: new OpenObjects(heap) }
    }
    return this.#member
  }

  /** The object as this client has it: it goes from the server's member to that of the client as from thread to thread. */
  #realOf({ id, object, type }: Served, member: SharedHeap, objects: OpenObjects): object {
    const open = objects.get(id)
    if (open !== undefined) return open
    const attachments: unknown[] = []
    const attach = (value: object): number => {
      const known = attachments.indexOf(value)
      return known >= 0 ? known : attachments.push(value) - 1
    }
    const bytes = actAs(this.#host.heap(), () => encode(object, { attach }))
    const real = actAs(member, () => decode(bytes, { attachments })) as object
    objects.set(id, real)
    type.opened?.(real, object)
    return real
  }

  #answer(call: number, method: string, value: unknown, typeId: string | undefined): void {
    const { table } = this.#host
    if (this.#hasEnded) {
      // Nobody has what was made for it.
      if (value instanceof Made) table.drop(value.served, 0)
      return
    }
    let payload: Uint8Array
    let lease: number | undefined
    try {
      if (value instanceof Made || (typeId !== undefined && value !== undefined && value !== null)) {
        const served = value instanceof Made ? value.served : this.#host.keep(typeId!, value)
        lease = newLease()
        table.lease(served, lease)
        this.#given.add(lease)
        payload = encodeForManager(new ServerReference(this.#host.tokenOf(served, lease)), 'proxy')
      } else payload = value === undefined ? UNDEFINED : encodeForManager(value, `result of ${method}()`)
    } catch (error) {
      if (lease !== undefined) this.#endGiven(lease)
      this.#fail(call, error)
      return
    }
    this.#post(encodeMessage('answer', call, 0, payload))
  }

  #endGiven(lease: number): void {
    this.#given.delete(lease)
    this.#host.table.arrived(lease)
  }

  #fail(call: number, error: unknown): void {
    this.#post(encodeMessage('failure', call, 0, encodeThrown(error)))
  }

  #post(frame: Uint8Array): void {
    if (this.#hasEnded) return
    try {
      this.#connection.send(frame)
      // Who waits for each answer makes the next call at once.
      this.#connection.expectSoon()
      if (this.#connection.bufferedBytes > UNREAD_BYTES_MAX) this.#connection.abort(readsNothing())
    } catch {
      // It has closed, or the frame is longer than any may be: the client is told by the end.
      this.#connection.abort()
    }
  }

  /** The client has ended. First nothing of it waits any more, then it is no member, then it has no proxies. */
  end(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    for (const controller of this.#calls.values()) controller.abort(ABORTED)
    if (this.#member !== undefined) {
      this.#member.heap.end()
      this.#member.objects.clear()
      this.#host.heap().reap()
    }
    this.#waiting.length = 0
    for (const lease of this.#given) this.#endGiven(lease)
    for (const { served } of this.#proxies.values()) this.#host.table.drop(served)
    this.#proxies.clear()
  }

  /** How many proxies it has, for people who look for a fault. */
  get proxyCount(): number {
    return this.#proxies.size
  }
}

/** What every object can be asked. */
function general({ object, type, typeId }: Served, method: string): unknown {
  if (method === '#getValue') return type.snapshot === undefined ? object : type.snapshot(object)
  if (method === '#describe') return inspect(type.snapshot === undefined ? object : type.snapshot(object))
  throw notExposed(method, typeId)
}

function leaseIn(payload: Uint8Array): number | undefined {
  if (payload.length === 0) return undefined
  try {
    const lease = decode(payload)
    return Number.isSafeInteger(lease) ? (lease as number) : undefined
  } catch {
    return undefined
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  )
}

function notExposed(method: string, typeId: string): ProcessError {
  return new ProcessError(
    'ERR_REMOTE',
    `Cannot call "${method}" of the manager's "${typeId}": it is not exposed\n` +
      'To fix: name it in the option "exposed" of register(), or call another method',
  )
}

function isGone(): ClosedError {
  return new ClosedError(
    'Cannot use the proxy: its manager has let go of the object, since no proxy of it was left, or this one was on its way for longer than 5 minutes\n' +
      'To fix: keep a proxy of the object where it was made for as long as others use it',
  )
}

function tooManyCalls(): ProcessError {
  return new ProcessError(
    'ERR_LIMIT',
    `Cannot call a manager: ${PENDING_CALLS_MAX} calls of this client wait already\nTo fix: await some of them first`,
  )
}

function readsNothing(): ProcessError {
  return new ProcessError(
    'ERR_LIMIT',
    `The client of a manager has not read ${UNREAD_BYTES_MAX} bytes of answers\nTo fix: await calls before making more`,
  )
}
