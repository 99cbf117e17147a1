/**
 * The connection of this thread to one manager: calls and their answers, and what the server is told of proxies. A call
 * ends with its answer or with the connection; nothing else decides what became of it.
 */
import { randomBytes } from 'node:crypto'
import { addressText } from '../connection/address.ts'
import { ClosedError, ProcessError } from '../errors.ts'
import { onAbort } from '../platform/on-abort.ts'
import { stackText } from '../platform/stack-text.ts'
import { decode, decodeThrown, encode, prepare } from '../serialize/codec.ts'
import type { ManagerConnection } from './local-connection.ts'
import type { Credentials, ManagerPlace } from './manager-place.ts'
import {
  type FromServer,
  PENDING_CALLS_MAX,
  type ToServer,
  type Welcome,
  decodeFromServer,
  encodeMessage,
} from './protocol.ts'
import { encodeForManager } from './written-for-manager.ts'

interface Pending {
  /** Kept alive while it is waited for: the server knows that somebody has it. */
  proxy: object | undefined
  signal: AbortSignal | undefined
  resolve(value: unknown): void
  reject(error: unknown): void
}

interface LinkOptions {
  /** Where, and which server is expected there; an empty name: whichever answers. */
  place: ManagerPlace
  /** What others of this program need to connect; `undefined` when they have it. */
  credentialsToShare: Credentials | undefined
  connect(): Promise<{ connection: ManagerConnection; welcome: Welcome }>
  /** Called once, before those who wait are told. It may say more about the end, and then they are told that. */
  ended(link: ManagerLink): Promise<string | undefined>
}

/** What a method has thrown, on its way to who called it. */
class Failure {
  readonly #payload: Uint8Array
  readonly #pid: number | undefined

  constructor(payload: Uint8Array, pid: number | undefined) {
    this.#payload = payload
    this.#pid = pid
  }

  thrown(callerStack: string | undefined): unknown {
    try {
      return decodeThrown(this.#payload, { pid: this.#pid, workerName: 'the manager', callerStack })
    } catch (problem) {
      return problem
    }
  }
}

export class ManagerLink {
  readonly #options: LinkOptions
  readonly #pending = new Map<number, Pending>()
  /** What was said before the connection was there. */
  #unsent: Uint8Array[] = []
  #connection: ManagerConnection | undefined
  #callCount = 0
  /** How many wait for the welcome. */
  #guests = 0
  /** Set when it has ended: nothing is sent any more. */
  #hasEnded = false
  /** Set when those who wait have been told. */
  #end: Error | undefined
  #welcome: Welcome | undefined
  readonly #welcomed: Promise<Welcome>
  #resolveWelcome!: (welcome: Welcome) => void
  #rejectWelcome!: (error: unknown) => void

  constructor(options: LinkOptions) {
    this.#options = options
    this.#welcomed = new Promise((resolve, reject) => {
      this.#resolveWelcome = resolve
      this.#rejectWelcome = reject
    })
    // Who waits for it is told; nobody has to.
    this.#welcomed.catch(() => {})
    void this.#connect()
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** Where the manager is. Its name is known once it was expected, or has answered. */
  get place(): ManagerPlace {
    const { place } = this.#options
    return this.#welcome === undefined ? place : { ...place, server: this.#welcome.server }
  }

  get credentialsToShare(): Credentials | undefined {
    return this.#options.credentialsToShare
  }

  /** Resolves with who answers there. */
  async welcomed(): Promise<Welcome> {
    this.#guests++
    this.#connection?.ref()
    try {
      return await this.#welcomed
    } finally {
      this.#guests--
      this.#letEnd()
    }
  }

  get #address(): string {
    return addressText(this.#options.place.address)
  }

  /** Somebody who waits keeps the program alive; an open connection alone does not. */
  #letEnd(): void {
    if (this.#pending.size === 0 && this.#guests === 0) this.#connection?.unref()
  }

  async #connect(): Promise<void> {
    let connection: ManagerConnection
    let welcome: Welcome
    try {
      ;({ connection, welcome } = await this.#options.connect())
    } catch (error) {
      void this.#fail(this.#cannotReach(error))
      return
    }
    const { server } = this.#options.place
    if (server !== '' && server !== welcome.server) {
      connection.abort()
      void this.#fail(this.#isAnother())
      return
    }
    if (this.#hasEnded) {
      connection.abort()
      return
    }
    this.#welcome = welcome
    this.#resolveWelcome(welcome)
    this.#connection = connection
    connection.onMessage = frame => this.#receive(frame)
    connection.onClose = error => void this.#fail(this.#gone(error))
    this.#letEnd()
    for (const frame of this.#unsent.splice(0)) this.#post(frame)
  }

  #post(frame: Uint8Array): void {
    if (this.#hasEnded) return
    if (this.#connection === undefined) {
      this.#unsent.push(frame)
      return
    }
    try {
      this.#connection.send(frame)
      // Most calls are answered at once.
      this.#connection.expectSoon()
    } catch {
      // It is closed: its end comes as an event.
    }
  }

  /**
   * Calls a method of an object, and gives a promise of what it returns.
   *
   * @throws (rejects with) what the method throws, the reason of the signal, ClosedError when the server ends,
   * SerializeError when an argument cannot be sent
   */
  async call(
    proxy: object | undefined,
    object: number,
    method: string,
    args: readonly unknown[],
    signal?: AbortSignal,
  ): Promise<unknown> {
    const outcome = await new Promise((resolve, reject) => {
      if (this.#end !== undefined) throw againAtCaller(this.#end)
      signal?.throwIfAborted()
      if (this.#pending.size >= PENDING_CALLS_MAX) throw tooManyCalls()
      const payload = encodeForManager([method, ...args], `${method}() and its arguments`)
      const call = (this.#callCount = (this.#callCount + 1) >>> 0)
      const pending: Pending = { proxy, signal, resolve, reject }
      if (signal !== undefined) this.#listen(call, pending, signal)
      if (this.#pending.size === 0) this.#connection?.ref()
      this.#pending.set(call, pending)
      this.#post(encodeMessage('call', call, object, payload))
    })
    if (!(outcome instanceof Failure)) return outcome
    // Here V8 knows who awaits the call, which would have cost as much as the call to note beforehand.
    const caller: { stack?: string } = {}
    Error.captureStackTrace(caller, this.call)
    throw outcome.thrown(stackText(caller))
  }

  #listen(call: number, pending: Pending, signal: AbortSignal): void {
    const aborted = (): void => this.#say({ kind: 'abort', call })
    const { resolve, reject } = pending
    const settle = (): void => signal.removeEventListener('abort', aborted)
    pending.resolve = value => (settle(), resolve(value))
    pending.reject = error => (settle(), reject(error))
    onAbort(signal, aborted)
  }

  /** One more proxy of the object is here. */
  open(object: number, lease: number | undefined): void {
    this.#say({ kind: 'open', object, payload: encode(lease) })
  }

  /** One proxy of it less. */
  release(object: number): void {
    this.#say({ kind: 'release', object })
  }

  /** The number under which the server keeps the object for who receives the proxy that is being written. */
  lease(object: number): number {
    const lease = newLease()
    this.#say({ kind: 'lease', object, payload: encode(lease) })
    // It has left this process before the message has, so that nothing is lost with this process either.
    this.#connection?.flush()
    return lease
  }

  #say(message: Exclude<ToServer, { kind: 'call' }>): void {
    const { kind } = message
    const payload = 'payload' in message ? message.payload : undefined
    this.#post(
      encodeMessage(
        kind,
        'call' in message ? message.call : 0,
        'object' in message ? message.object : 0,
        payload,
      ),
    )
  }

  #receive(frame: Uint8Array): void {
    let message: FromServer
    try {
      message = decodeFromServer(frame)
    } catch (error) {
      void this.#fail(error as Error)
      return
    }
    if (message.kind === 'answer') this.#answer(message.call, message.payload)
    else if (message.kind === 'failure') void this.#failure(message.call, message.payload)
    else if (message.kind === 'aborted') {
      const pending = this.#take(message.call)
      pending?.reject(pending.signal?.reason)
    } else void this.#refused(message.payload)
  }

  #take(call: number): Pending | undefined {
    const pending = this.#pending.get(call)
    if (pending !== undefined) {
      this.#pending.delete(call)
      this.#letEnd()
    }
    return pending
  }

  #answer(call: number, payload: Uint8Array): void {
    try {
      const loading = prepare(payload)
      if (loading === undefined) {
        const value = decode(payload)
        this.#take(call)?.resolve(value)
      } else void this.#answerLater(call, payload, loading)
    } catch (error) {
      this.#take(call)?.reject(error)
    }
  }

  /** Its value needs modules. It still counts as a call that waits, so that the program stays until it is here. */
  async #answerLater(call: number, payload: Uint8Array, loading: Promise<void>): Promise<void> {
    try {
      await loading
      const value = decode(payload)
      this.#take(call)?.resolve(value)
    } catch (error) {
      this.#take(call)?.reject(error)
    }
  }

  async #failure(call: number, payload: Uint8Array): Promise<void> {
    try {
      await prepare(payload)
    } catch (problem) {
      this.#take(call)?.reject(problem)
      return
    }
    this.#take(call)?.resolve(new Failure(payload, this.#welcome?.pid))
  }

  async #refused(payload: Uint8Array): Promise<void> {
    try {
      await prepare(payload)
      await this.#fail(decode(payload) as Error)
    } catch (error) {
      await this.#fail(error as Error)
    }
  }

  /** Nothing is waited for any more. Twice is fine. */
  close(): void {
    void this.#fail(
      new ClosedError(
        `Cannot use the manager at ${this.#address}: it was shut down\nTo fix: shut it down when nothing uses it any more`,
      ),
    )
  }

  async #fail(error: Error): Promise<void> {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#unsent = []
    const more = await this.#options.ended(this)
    const lines = error.message.split('\n')
    // Whoever started it knows.
    if (more !== undefined && error instanceof ClosedError) {
      error.message = [`${lines[0]!.replace(OR_SHUT_DOWN, '')}: ${more}`, ...lines.slice(1)].join('\n')
    }
    this.#end = error
    this.#rejectWelcome(error)
    for (const { reject } of this.#pending.values()) reject(againAtCaller(error))
    this.#pending.clear()
    // Last: until now it kept the program alive for those who waited.
    this.#connection?.abort()
  }

  #isAnother(): Error {
    return new ClosedError(
      `Cannot use the proxy: its manager at ${this.#address} has ended, and another one listens there\n` +
        'To fix: make the object again, in the manager that is there now',
    )
  }

  #cannotReach(cause: unknown): Error {
    // Who has a proxy of it knows that it was there.
    const isGone = this.#options.place.server !== '' && (cause as { code?: string }).code === 'ERR_NOT_FOUND'
    if (cause instanceof ProcessError && cause.code !== 'ERR_CLOSED' && !isGone) return cause
    const { message } = cause as Error
    return new ClosedError(
      `Cannot reach the manager at ${this.#address} (${message.split('\n')[0]!.replaceAll('\0', '@')})\n` +
        'To fix: start it before it is used, and let it live as long as all who use it',
      { cause },
    )
  }

  #gone(cause: Error | undefined): Error {
    const address = this.#address
    const who = this.#welcome === undefined ? '' : ` (pid ${this.#welcome.pid})`
    return new ClosedError(
      cause === undefined
        ? `Cannot use the manager at ${address}: its process${who} has ended${OR_SHUT_DOWN}\nTo fix: let it live as long as all who use it`
        : `Cannot use the manager at ${address}${who}: the connection broke (${cause.message.split('\n')[0]})\nTo fix: look whether it still runs, and connect again`,
      cause === undefined ? {} : { cause },
    )
  }
}

/** As far as a client can tell. */
const OR_SHUT_DOWN = ', or was told to shut down'

/** Of no use to who guesses it: it keeps an object for longer, for 5 minutes at most. */
export function newLease(): number {
  return randomBytes(6).readUIntLE(0, 6)
}

/** Each call that fails gets an error of its own, with its own stack. */
function againAtCaller(error: Error): Error {
  if (!(error instanceof ClosedError)) return error
  return new ClosedError(error.message, { cause: error.cause ?? error })
}

function tooManyCalls(): ProcessError {
  return new ProcessError(
    'ERR_LIMIT',
    `Cannot call a manager: ${PENDING_CALLS_MAX} calls of this thread wait already\nTo fix: await some of them first`,
  )
}
