/**
 * The connection of this thread to one home: calls and their answers. A call ends with its answer, or with the
 * connection; nothing else decides what became of it.
 */
import { ClosedError, ProcessError } from '../errors.ts'
import type { HomeAddress } from '../platform/shared-heap.ts'
import { onAbort } from '../platform/on-abort.ts'
import { decode, encode } from '../serialize/codec.ts'
import { Bridge } from './bridge.ts'
import { type FromHome, PENDING_CALLS_MAX, type ToHome } from './protocol.ts'

interface Pending {
  /** Kept alive while it is waited for. */
  object: object | undefined
  operation: string
  /** What an abort rejects with. */
  signal: AbortSignal | undefined
  /** The same, for what `abortCalls()` has aborted. */
  reason?: unknown
  resolve(value: unknown): void
  reject(error: unknown): void
}

/** How long a process that ends waits for what it has sent. */
const EXIT_MS_MAX = 2000

let bridge: Bridge | undefined
const links = new Map<string, HomeLink>()

/** The link to a home: the first use connects. */
export function linkTo(address: HomeAddress): HomeLink {
  let link = links.get(address.path)
  if (link === undefined) {
    if (bridge === undefined) process.on('exit', flushAll)
    if (bridge === undefined || bridge.isOver) bridge = new Bridge()
    link = new HomeLink(bridge, address)
    links.set(address.path, link)
  }
  return link
}

/** What was put without being awaited is still put before this process or thread is gone. */
function flushAll(): void {
  for (const link of links.values()) link.flush()
}

/** While a message for a home is written: its objects go back to where they are real, and are not on their way. */
let writingFor: HomeLink | undefined

/** Whether the message that is being written is for this home. */
export function isWrittenFor(link: HomeLink): boolean {
  return writingFor === link
}

function encodeFor(link: HomeLink, object: object): Uint8Array {
  const before = writingFor
  writingFor = link
  try {
    return encode(object)
  } finally {
    writingFor = before
  }
}

export class HomeLink {
  readonly #bridge: Bridge
  readonly #address: HomeAddress
  readonly #link: number
  readonly #pending = new Map<number, Pending>()
  #callCount = 0
  #objectCount = 0
  #end: Error | undefined

  constructor(own: Bridge, address: HomeAddress) {
    this.#bridge = own
    this.#address = address
    this.#link = own.connect(address, {
      received: bytes => this.#receive(bytes),
      ended: (reason, message) => this.#fail(this.#endError(reason, message)),
    })
  }

  /** Why it has ended, if it has. */
  get end(): Error | undefined {
    return this.#end
  }

  /** The number by which home and client mean an object. */
  newObject(): number {
    return ++this.#objectCount
  }

  /** Has the home open an object. */
  open(object: object, id: number): void {
    this.#post({ kind: 'open', object: id, bytes: encodeFor(this, object) })
  }

  close(object: number): void {
    this.#post({ kind: 'close', object })
  }

  #post(message: ToHome): void {
    if (this.#end === undefined) this.#bridge.send(this.#link, encode(message))
  }

  #begin(pending: Pending, message: (call: number) => ToHome): number {
    if (this.#end !== undefined) throw this.#end
    if (this.#pending.size >= PENDING_CALLS_MAX) {
      throw new ProcessError(
        'ERR_LIMIT',
        `Cannot wait for more shared objects at once: ${PENDING_CALLS_MAX} calls of this thread wait already\n` +
          'To fix: await some of them first',
      )
    }
    const call = ++this.#callCount
    this.#post(message(call))
    this.#pending.set(call, pending)
    return call
  }

  #beginCall(pending: Pending, object: number, args: readonly unknown[]): number {
    const { operation } = pending
    return this.#begin(pending, call => ({ kind: 'call', call, object, operation, args }))
  }

  /**
   * Calls an operation, and gives a promise of its result.
   *
   * @throws (rejects with) what the operation throws, the reason of the signal, ClosedError when the home ends
   */
  later(
    object: object,
    id: number,
    operation: string,
    args: readonly unknown[],
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      const settle = (): void => {
        this.#bridge.endWait()
        signal?.removeEventListener('abort', aborted)
      }
      const aborted = (): void => this.#post({ kind: 'abort', call })
      const pending: Pending = {
        object,
        operation,
        signal,
        resolve: value => {
          settle()
          resolve(value)
        },
        reject: error => {
          settle()
          reject(error)
        },
      }
      const call = this.#beginCall(pending, id, args)
      this.#bridge.beginWait()
      if (signal) onAbort(signal, aborted)
    })
  }

  /** Aborts the calls of `object` that wait. Each rejects with the reason, unless it was done already. */
  abortCalls(object: object, operations: readonly string[], reason: unknown): void {
    for (const [call, pending] of this.#pending) {
      if (pending.object !== object || !operations.includes(pending.operation)) continue
      pending.reason = reason
      this.#post({ kind: 'abort', call })
    }
  }

  /** Calls an operation, and blocks this thread until it has its result. */
  now(object: object, id: number, operation: string, args: readonly unknown[]): unknown {
    let outcome: { value: unknown } | { error: unknown } | undefined
    const pending: Pending = {
      object,
      operation,
      signal: undefined,
      resolve: value => (outcome = { value }),
      reject: error => (outcome = { error }),
    }
    const call = this.#beginCall(pending, id, args)
    try {
      this.#bridge.block(() => outcome !== undefined)
    } finally {
      this.#pending.delete(call)
    }
    const { value, error } = outcome as { value?: unknown; error?: unknown }
    if (error !== undefined) throw error
    return value
  }

  /** Waits until the home has dealt with what was sent, for a moment. Only when something is still unanswered. */
  flush(): void {
    if (this.#end !== undefined || this.#pending.size === 0) return
    let isDone = false
    const done = (): void => {
      isDone = true
    }
    const ping: Pending = { object: undefined, operation: '', signal: undefined, resolve: done, reject: done }
    this.#begin(ping, call => ({
      kind: 'ping',
      call,
    }))
    this.#bridge.block(() => isDone, EXIT_MS_MAX)
  }

  #receive(bytes: Uint8Array): void {
    let message: FromHome
    try {
      message = decode(bytes) as FromHome
    } catch (error) {
      // Not ours any more: which call it was an answer to is not known.
      this.#fail(error as Error)
      return
    }
    if (message.kind === 'refused') {
      this.#fail(message.error as Error)
      return
    }
    const pending = this.#pending.get(message.call)
    this.#pending.delete(message.call)
    if (message.kind === 'answer') pending?.resolve(message.value)
    else if (message.kind === 'failure') pending?.reject(message.error)
    else pending?.reject(pending.reason ?? pending.signal?.reason)
  }

  #fail(error: Error): void {
    if (this.#end !== undefined) return
    this.#end = error
    links.delete(this.#address.path)
    for (const { reject } of this.#pending.values()) reject(error)
    this.#pending.clear()
  }

  #endError(reason: 'unreachable' | 'ended' | 'broken', message: string): ClosedError {
    const { pid } = this.#address
    const what = {
      ended: `the process that made it (pid ${pid}) has ended`,
      unreachable: `the process that made it (pid ${pid}) cannot be reached (${message.replaceAll('\0', '@')})`,
      broken: `the connection to the process that made it (pid ${pid}) broke (${message})`,
    }[reason]
    return new ClosedError(
      `Cannot use the shared object: ${what}\n` +
        'To fix: make it in a process that lives as long as all who use it, such as the main program; ' +
        'with the native addon it outlives its maker ("multiproc doctor" tells why the addon does not load)',
    )
  }
}
