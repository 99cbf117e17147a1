/**
 * Listener: takes connections from this and other programs, on this and other machines. What fails before a peer has
 * shown its key is the peer's failure: whoever accepts goes on waiting for the next one.
 */
import type { Socket } from 'node:net'
import type { TlsOptions } from 'node:tls'
import { inspect } from 'node:util'
import { ClosedError, ProcessError, TimeoutError, invalidArgument } from '../errors.ts'
import type { WaitOptions } from '../platform/bounded-wait.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { type Readiness, readiness } from '../queue/waitable.ts'
import { Unsendable } from '../serialize/unsendable.ts'
import { addReducer } from '../serialize/reducers.ts'
import {
  type Address,
  type AddressFamily,
  addressText,
  arbitraryAddress,
  assertUsable,
  parseAddress,
  plainAddress,
} from './address.ts'
import { type AuthKey, authKeyBytes } from './auth-key.ts'
import { type RemoteConnection, assertMessageSize, openRemote } from './remote-connection.ts'
import { SocketServer } from './socket-server.ts'
import { type Attempt, Waiters } from './waiters.ts'

/** Connections that wait for `accept()`, unless `backlog` says otherwise. */
const BACKLOG = 128

/** What a {@link Listener} allows. */
export interface ListenerOptions {
  /** The kind of address when none is given, or a check of the one that is. */
  family?: AddressFamily | undefined
  /**
   * Connections that may wait for `accept()` at a time, after their handshake; one more is closed at once. Default: 128.
   */
  backlog?: number | undefined
  /** A secret that each side has to show to the other. Default: none, and everybody who can connect is let in. */
  authKey?: AuthKey | undefined
  /** Takes connections over TLS only, with these options of `tls.createServer()`: `key`, `cert`; `requestCert` and `ca`. */
  tls?: TlsOptions | undefined
  /** Allows an address that other machines can reach, without a key and without certificates of clients. */
  insecure?: boolean | undefined
  /** Milliseconds in which a peer has to finish its handshake. Default: 10,000. */
  handshakeTimeout?: number | undefined
  /** Peers that may be in the handshake at a time; one more, and the oldest of them is cut off. Default: 512. */
  maxPending?: number | undefined
  /** The longest message that is received, in bytes. Default: 1 GiB. */
  maxMessageSize?: number | undefined
  /** Is told of everybody who was not let in, and why: a wrong key, too slow, no place. */
  onRefused?: ((error: Error, peer: string) => void) | undefined
}

const OPTIONS: readonly (keyof ListenerOptions)[] = [
  'family',
  'backlog',
  'authKey',
  'tls',
  'insecure',
  'handshakeTimeout',
  'maxPending',
  'maxMessageSize',
  'onRefused',
]

interface Waiting {
  socket: Socket
  peer: string
  from: [host: string, port: number] | null
}

/**
 * Waits for connections, as Python's `multiprocessing.connection.Listener`.
 *
 * It listens from the moment that it is made; what is wrong with the address is told by `listening()` and `accept()`. A
 * listener that nobody waits for does not keep the program alive. `close()` removes the file of a Unix socket, and so
 * does the end of the program; one that a killed program left is replaced by the next listener there.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.connection.Listener
 *
 * @example
 * ```ts
 * import { Client, Listener, Process } from 'multiproc'
 *
 * using listener = new Listener()
 * const child = new Process({
 *   args: [listener.address],
 *   target: async address => {
 *     using connection = await Client(address)
 *     await connection.send('hello from the child')
 *   },
 * })
 * child.start()
 * using connection = await listener.accept()
 * console.log(await connection.recv()) // hello from the child
 * await child.join()
 * ```
 */
export class Listener<Received = unknown, Sent = Received> implements AsyncIterable<
  RemoteConnection<Received, Sent>
> {
  readonly #server: SocketServer
  readonly #backlog: number
  readonly #maxMessageSize: number | undefined
  readonly #onRefused: ListenerOptions['onRefused']
  readonly #waiting: Waiting[] = []
  readonly #accepting = new Waiters(() => this.#keepAlive())
  readonly #watchers = new Set<() => void>()
  #lastAccepted: [host: string, port: number] | null = null
  #refusedCount = 0
  #error: unknown
  #isClosed = false

  /**
   * Begins to listen.
   *
   * @param address - default: one that nobody else has, see {@link arbitraryAddress}. Port 0 has the system choose one.
   * @throws TypeError or RangeError for an address or options that make no sense, and for an address that other machines
   * can reach without anything that keeps strangers out; ProcessError `ERR_NOT_SUPPORTED` for a kind of address that
   * this system does not have.
   */
  constructor(address?: Address, options: ListenerOptions = {}) {
    assertKnownOptions('Listener', options, OPTIONS)
    const { backlog = BACKLOG, authKey, tls, insecure, handshakeTimeout, maxPending, family } = options
    assertCount('backlog', backlog)
    if (handshakeTimeout !== undefined) assertCount('handshakeTimeout', handshakeTimeout)
    if (maxPending !== undefined) assertCount('maxPending', maxPending)
    assertMessageSize(options.maxMessageSize)
    const parsed = parseAddress(address ?? arbitraryAddress(family))
    assertUsable(parsed, family)
    this.#backlog = backlog
    this.#maxMessageSize = options.maxMessageSize
    this.#onRefused = options.onRefused
    this.#server = new SocketServer(parsed, {
      authKey: authKeyBytes(authKey),
      tls,
      insecure,
      limits: {
        ...(handshakeTimeout === undefined ? {} : { handshakeMs: handshakeTimeout }),
        ...(maxPending === undefined ? {} : { pendingMax: maxPending }),
      },
      onSocket: (socket, peer) => this.#arrived(socket, peer),
      onRefused: (error, peer) => this.#refused(error, peer),
    })
    this.#server.unref()
    void this.#watchListening()
  }

  async #watchListening(): Promise<void> {
    try {
      await this.#server.listening()
    } catch (error) {
      this.#error = error
      this.#accepting.look()
      this.#tellWatchers()
    }
  }

  #arrived(socket: Socket, peer: string): void {
    if (this.#waiting.length >= this.#backlog) {
      socket.destroy()
      this.#refused(tooMany(this.#backlog), peer)
      return
    }
    socket.unref()
    const { remoteAddress, remotePort } = socket
    const from: Waiting['from'] =
      remoteAddress === undefined ? null : [remoteAddress.replace(/^::ffff:(?=\d+\.)/, ''), remotePort ?? 0]
    this.#waiting.push({ socket, peer, from })
    this.#accepting.look()
    this.#tellWatchers()
  }

  #refused(error: Error, peer: string): void {
    this.#refusedCount++
    this.#onRefused?.(error, peer)
  }

  #tellWatchers(): void {
    for (const watcher of this.#watchers) watcher()
  }

  #keepAlive(): void {
    if (this.#isClosed) return
    if (this.#accepting.count + this.#watchers.size > 0) this.#server.ref()
    else this.#server.unref()
  }

  /**
   * The next connection whose other side has shown the key. Peers that fail at that do not end the wait: `onRefused` is
   * told of them.
   *
   * @throws ClosedError after `close()`; TimeoutError when the timeout passes; ProcessError `ERR_ALREADY_EXISTS` when
   * somebody else listens there, `ERR_NOT_FOUND` when the address does not exist; the signal's reason.
   */
  async accept(options: WaitOptions = {}): Promise<RemoteConnection<Received, Sent>> {
    return await this.#accepting.wait(
      () => this.#tryAccept(),
      options,
      () => {
        throw new TimeoutError(
          `Nobody connected within ${options.timeout} ms\nTo fix: wait longer with "timeout", and see "onRefused" for those who tried`,
        )
      },
    )
  }

  #tryAccept(): Attempt<RemoteConnection<Received, Sent>> {
    if (this.#isClosed) throw listenerClosed()
    const next = this.#waiting.shift()
    if (next === undefined) {
      if (this.#error !== undefined) throw this.#error
      return 'wait'
    }
    this.#lastAccepted = next.from
    const { socket, peer } = next
    return { value: openRemote<Received, Sent>(socket, { peer, maxMessageSize: this.#maxMessageSize }) }
  }

  /**
   * Resolves with the address, port included, as soon as others can connect.
   *
   * @throws as `accept()`.
   */
  async listening(): Promise<string | [host: string, port: number]> {
    await this.#server.listening()
    return this.address
  }

  /**
   * Where it listens: `[host, port]`, or the path or name. It can be given to {@link Client}.
   *
   * @throws ProcessError `ERR_INVALID_STATE` for port 0, as long as the system has not chosen one: await `listening()`.
   */
  get address(): string | [host: string, port: number] {
    return plainAddress(this.#server.address)
  }

  /** `[host, port]` of who was accepted last; `null` before the first, and for one of the same machine. */
  get lastAccepted(): [host: string, port: number] | null {
    return this.#lastAccepted
  }

  /** Whether `close()` was called. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  /**
   * Stops listening. Calls of `accept()` that wait are rejected, and who was not accepted yet is cut off; connections that
   * were accepted stay. The address can be used again at once. Twice is fine.
   */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    void this.#server.close()
    for (const { socket } of this.#waiting.splice(0)) socket.destroy()
    this.#accepting.failAll(listenerClosed())
    this.#tellWatchers()
  }

  /** The connections as they come, until the listener is closed. */
  async *[Symbol.asyncIterator](): AsyncGenerator<RemoteConnection<Received, Sent>, void, undefined> {
    for (;;) {
      let connection: RemoteConnection<Received, Sent>
      try {
        connection = await this.accept()
      } catch (error) {
        if (this.#isClosed) return
        throw error
      }
      yield connection
    }
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** For `wait()`: ready when `accept()` would not wait. */
  [readiness](): Readiness {
    return {
      isReady: () => this.#isClosed || this.#waiting.length > 0 || this.#error !== undefined,
      needsTurn: true,
      changed: (onChange, stop) => {
        this.#watchers.add(onChange)
        this.#keepAlive()
        const ended = (): void => {
          this.#watchers.delete(onChange)
          this.#keepAlive()
        }
        stop.addEventListener('abort', ended, { once: true })
      },
    }
  }

  /** What the console shows, as Python's `str()`. */
  toString(): string {
    return this[inspect.custom]()
  }

  [inspect.custom](): string {
    if (this.#isClosed) return '<Listener closed>'
    const { address } = this.#server.isListening ? this.#server : { address: undefined }
    const where = address === undefined ? 'not listening yet' : addressText(address)
    return `<Listener ${where} waiting=${this.#waiting.length} refused=${this.#refusedCount}>`
  }
}

function assertCount(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value > 0) return
  throw invalidArgument(
    RangeError,
    `"${name}" must be a whole number greater than 0, got ${String(value)}\nTo fix: pass such a number`,
  )
}

function listenerClosed(): ClosedError {
  return new ClosedError('Cannot accept a connection: the listener is closed\nTo fix: make a new one')
}

function tooMany(backlog: number): ProcessError {
  return new ProcessError(
    'ERR_LIMIT',
    `The other side of the connection was refused: ${backlog} wait for accept() already\nTo fix: accept sooner, or allow more with "backlog"`,
  )
}

addReducer<Listener>({
  type: Listener,
  name: 'multiproc.Listener',
  encode: listener => {
    throw new Unsendable(
      listener,
      'a Listener',
      'send its address, or a net.Server, which several processes can share',
    )
  },
  decode: () => {
    throw invalidArgument(TypeError, 'A Listener never travels\nTo fix: send its address')
  },
})
