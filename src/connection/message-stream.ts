/**
 * Messages over a socket that has passed the handshake. Each is delivered whole and in order, or its sender learns that
 * the connection has ended; what nobody receives is bounded, because the socket is not read any further.
 */
import type { Socket } from 'node:net'
import { ClosedError, TimeoutError } from '../errors.ts'
import { type WaitOptions, assertWaitOptions, boundedWait, pollOptions } from '../platform/bounded-wait.ts'
import { LongTimer } from '../platform/long-timer.ts'
import { endedInsideMessage } from '../transport/connection-errors.ts'
import { isPeerGone } from '../transport/peer-gone.ts'
import type { Readiness } from '../queue/waitable.ts'
import { surviveGoneWrites } from './gone-writes.ts'
import { closeGently } from './handshake-stream.ts'
import { MessageReader, messagePieces } from './message-format.ts'
import { brokenBy, endOfFile, notTaken, tooLong } from './stream-errors.ts'
import { type Attempt, Waiters } from './waiters.ts'

/** Received messages of more bytes than this wait for somebody to receive them before anything more is read. */
const HELD_BYTES_MAX = 1024 * 1024
/** A message of no bytes takes memory, too. */
const HELD_MESSAGE_COST_BYTES = 64
/** While so many bytes have not been taken by the system, senders wait. As many as a pipe holds. */
const SENDING_BYTES_MAX = 64 * 1024
/** A closed connection whose other side takes nothing for so long is cut off. */
const SILENT_PEER_MS_MAX = 10_000

/** How long a message may be, and the reason for people. A longer one stays. */
export interface ReceiveLimit {
  maxBytes: number
  why: string
}

/** What a connection is, to be gone on with in another process. */
export interface StreamState {
  /** `null` when the other side has ended. */
  socket: Socket | null
  /** Received, and not taken. */
  messages: Uint8Array[]
  /** The beginning of the next message. */
  begun: Uint8Array
  messageBytesMax: number
}

const DONE = Object.freeze({ value: undefined })

export class MessageStream {
  readonly #socket: Socket
  readonly #messageBytesMax: number
  readonly #reader: MessageReader
  #messages: Buffer[] = []
  /** How many of `#messages` have been taken. */
  #taken = 0
  #heldBytes = 0
  /** Says why nothing more will be received. */
  #end: (() => Error) | undefined
  #isEndOfFile = false
  /** Set when the other side takes nothing any more. */
  #gone: Error | undefined
  #isClosed = false
  #watchers = 0
  readonly #listeners = new Set<() => void>()
  readonly #receivers = new Waiters(() => this.#keepAlive())
  readonly #senders = new Waiters(() => this.#keepAlive())

  /** It was sent to another process: its end here is not the end of the connection. */
  #wasSent = false
  /** Nothing is read until somebody receives here after all. */
  #isStopped = false

  /**
   * Takes over the socket; nothing else may read, write or close it from now on.
   *
   * @param options - `messages` and `begun` are what another process had received of it
   */
  constructor(
    socket: Socket,
    {
      messageBytesMax,
      messages = [],
      begun,
    }: { messageBytesMax: number; messages?: readonly Uint8Array[]; begun?: Uint8Array },
  ) {
    this.#socket = socket
    this.#messageBytesMax = messageBytesMax
    this.#reader = new MessageReader(messageBytesMax)
    for (const message of messages) this.#hold(viewOf(message))
    if (begun !== undefined) this.#reader.read(viewOf(begun), message => this.#hold(message))
    surviveGoneWrites(socket, error => this.#peerIsGone(error))
    socket.unref()
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('end', () => this.#finish())
    socket.on('error', error => this.#finish(error))
    socket.on('close', () => this.#finish())
    if (socket.destroyed) process.nextTick(() => this.#finish())
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Whether the other side has ended in order, and everything was received. */
  get isAtEndOfFile(): boolean {
    return this.#isEndOfFile && this.#held === 0
  }

  get #held(): number {
    return this.#messages.length - this.#taken
  }

  /** A waiting call keeps the program alive, an open connection does not. */
  #keepAlive(): void {
    if (this.#receivers.count + this.#senders.count + this.#watchers > 0) this.#socket.ref()
    else this.#socket.unref()
  }

  // ---- Receiving ----

  #read(chunk: Buffer): void {
    if (this.#isClosed || this.#end !== undefined) return
    try {
      this.#reader.read(chunk, message => this.#hold(message))
    } catch (error) {
      this.#finish(error as Error)
      this.#socket.destroy()
      return
    }
    if (this.#heldBytes > HELD_BYTES_MAX) this.#socket.pause()
    this.#changed()
  }

  #hold(message: Buffer): void {
    this.#messages.push(message)
    this.#heldBytes += message.length + HELD_MESSAGE_COST_BYTES
  }

  /** Somebody receives: reads again what was stopped for a message to another process. */
  #goOn(): void {
    if (!this.#isStopped) return
    this.#isStopped = false
    this.#socket.resume()
  }

  #finish(error?: Error): void {
    if (this.#end !== undefined) return
    if (error !== undefined && !isPeerGone(error)) this.#end = () => brokenBy(error)
    else if (this.#reader.isInsideMessage) this.#end = endedInsideMessage
    else {
      this.#end = endOfFile
      this.#isEndOfFile = true
    }
    this.#gone ??= error ?? new Error('it was closed there')
    this.#changed()
    this.#senders.look()
  }

  #changed(): void {
    this.#receivers.look()
    for (const listener of this.#listeners) listener()
  }

  #tryTake(limit: ReceiveLimit | undefined): Attempt<Buffer> {
    const message = this.#messages[this.#taken]
    if (message === undefined) {
      if (this.#end !== undefined) throw this.#end()
      return 'wait'
    }
    if (limit !== undefined && message.length > limit.maxBytes) throw tooLong(message.length, limit.why)
    this.#taken++
    this.#heldBytes -= message.length + HELD_MESSAGE_COST_BYTES
    if (this.#held === 0) {
      this.#messages = []
      this.#taken = 0
    } else this.#messages[this.#taken - 1] = EMPTY
    if (this.#heldBytes <= HELD_BYTES_MAX && !this.#isStopped && this.#socket.isPaused())
      this.#socket.resume()
    return { value: message }
  }

  async receive(options: WaitOptions, limit?: ReceiveLimit): Promise<Buffer> {
    this.#assertOpen('receive from')
    this.#goOn()
    return await this.#receivers.wait(
      () => this.#tryTake(limit),
      options,
      () => {
        throw new TimeoutError(
          `No message came within ${options.timeout} ms\nTo fix: wait longer with "timeout", or look with poll() first`,
        )
      },
    )
  }

  get #isReady(): boolean {
    return this.#isClosed || this.#held > 0 || this.#end !== undefined
  }

  async poll(options: WaitOptions): Promise<boolean> {
    const { timeout, signal } = pollOptions(options)
    this.#assertOpen('poll')
    this.#goOn()
    return await this.#receivers.wait<boolean>(
      () => (this.#isReady ? { value: true } : 'wait'),
      { timeout, signal },
      () => false,
    )
  }

  readiness(): Readiness {
    this.#assertOpen('wait for')
    this.#goOn()
    return {
      isReady: () => this.#isReady,
      needsTurn: true,
      changed: (onChange, stop) => {
        this.#listeners.add(onChange)
        this.#watchers++
        this.#keepAlive()
        const ended = (): void => {
          this.#listeners.delete(onChange)
          this.#watchers--
          this.#keepAlive()
        }
        stop.addEventListener('abort', ended, { once: true })
      },
    }
  }

  // ---- Sending ----

  #peerIsGone(error: Error): void {
    this.#gone ??= error
    this.#senders.look()
  }

  /** Gives the message to the socket, if there is room: from then on it cannot be called off. */
  #trySend(body: Uint8Array): Attempt<{ whenTaken: Promise<void> | undefined }> {
    if (this.#gone !== undefined) throw notTaken(this.#gone)
    const socket = this.#socket
    if (socket.writableLength >= SENDING_BYTES_MAX) return 'wait'
    const pieces = messagePieces(body)
    const last = pieces.pop()!
    let taken: ((error?: Error | null) => void) | undefined
    if (pieces.length > 0) socket.cork()
    for (const piece of pieces) socket.write(piece)
    socket.write(last, error => {
      taken?.(error)
      this.#senders.look()
    })
    if (pieces.length > 0) socket.uncork()
    // Nearly always the system takes it at once.
    if (socket.writableLength === 0) return { value: { whenTaken: undefined } }
    const whenTaken = new Promise<void>((resolve, reject) => {
      taken = error => {
        const problem = this.#gone ?? error
        if (problem) reject(notTaken(problem))
        else resolve()
      }
    })
    // Who has been told of a timeout does not look any more.
    whenTaken.catch(() => {})
    return { value: { whenTaken } }
  }

  /**
   * Resolves when the system has taken the message, so that the end of this process cannot destroy it any more; or when
   * the time has passed and it is being taken. A call that times out or is aborted has sent nothing.
   *
   * @param encode - gives the message; called once it is known that the connection is open
   */
  async send(
    encode: () => Uint8Array,
    options: WaitOptions,
    letGo: (bytes: Uint8Array) => void = () => {},
  ): Promise<void> {
    this.#assertOpen('send through')
    assertWaitOptions(options)
    const { timeout, signal } = options
    signal?.throwIfAborted()
    const until = performance.now() + (timeout ?? Infinity)
    const bytes = encode()
    let whenTaken: Promise<void> | undefined
    try {
      const sent = await this.#senders.wait(
        () => this.#trySend(bytes),
        { timeout, signal },
        () => {
          throw new TimeoutError(
            `The message was not taken within ${timeout} ms, because the other side does not receive; it is not sent\n` +
              'To fix: wait longer with "timeout", or have the other side receive',
          )
        },
      )
      whenTaken = sent.whenTaken
    } catch (error) {
      letGo(bytes)
      throw error
    }
    if (whenTaken === undefined) return
    try {
      const left = timeout === undefined ? undefined : Math.max(0, until - performance.now())
      await boundedWait(whenTaken, { timeout: left, signal }, { onTimeout: () => {} })
    } catch (error) {
      // It was begun, so it is sent.
      if (!signal?.aborted || error !== signal.reason) throw error
    }
  }

  // ---- To another process ----

  /**
   * What travels in a message. Reading stops here, so that the other process has every byte: those that were received
   * travel along, and the rest is still with the system. When the message comes to nothing, the first call that receives
   * goes on here, and nothing is lost either.
   *
   * @param refuse - throws for a connection that would lose something
   */
  stateToSend(refuse: (kind: string, advice: string) => never): StreamState {
    const socket = this.#socket
    if (this.#isClosed) refuse('a RemoteConnection that is closed', 'send it first and close() it afterwards')
    if ('encrypted' in socket)
      refuse('a RemoteConnection over TLS', 'connect in the process that uses it, or send what was received')
    if (this.#receivers.count + this.#watchers > 0)
      refuse(
        'a RemoteConnection that is being received from',
        'send it when no recv(), poll() or wait() waits for it',
      )
    if (this.#senders.count > 0 || socket.writableLength > 0)
      refuse('a RemoteConnection that is sending', 'await send() first')
    if (this.#end === undefined) {
      this.#isStopped = true
      socket.pause()
      // What lies in the stream comes by its event "data".
      while (socket.read() !== null) continue
    }
    if (this.#end !== undefined && !this.#isEndOfFile)
      refuse('a RemoteConnection that broke', 'connect again, and send that')
    this.#wasSent = true
    return {
      socket: this.#end === undefined ? socket : null,
      messages: this.#messages.slice(this.#taken),
      begun: this.#reader.begunBytes,
      messageBytesMax: this.#messageBytesMax,
    }
  }

  // ---- The end ----

  #assertOpen(action: string): void {
    if (!this.#isClosed) return
    throw new ClosedError(
      `Cannot ${action} this connection: it is closed here\nTo fix: call close() when nothing here uses it any more`,
    )
  }

  /** Those who wait to send are carried out; nothing is received any more. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#receivers.failAll(
      new ClosedError(
        'The connection was closed while it waited\nTo fix: close it when nothing waits any more',
      ),
    )
    this.#messages = []
    this.#taken = 0
    this.#heldBytes = 0
    for (const listener of this.#listeners) listener()
    const socket = this.#socket
    if (socket.destroyed) return
    if (this.#wasSent && socket.writableLength === 0) {
      // Only this descriptor: end() would end the connection for the other process, too.
      socket.destroy()
      return
    }
    // What still comes is read and dropped: a socket that is closed with unread data takes back what it has sent.
    socket.resume()
    let leftBytes = Infinity
    const look = (): void => {
      const bytes = socket.writableLength + this.#senders.count
      if (bytes >= leftBytes) socket.destroy()
      else {
        leftBytes = bytes
        timer = new LongTimer(look, SILENT_PEER_MS_MAX)
      }
    }
    let timer = new LongTimer(look, SILENT_PEER_MS_MAX)
    socket.once('close', () => timer.stop())
    void this.#closeWhenSent()
  }

  async #closeWhenSent(): Promise<void> {
    const socket = this.#socket
    await this.#senders.wait(
      () => (this.#gone === undefined && socket.writableLength >= SENDING_BYTES_MAX ? 'wait' : DONE),
      {},
      () => {},
    )
    socket.end()
    if (socket.writableFinished) closeGently(socket)
    else socket.once('finish', () => closeGently(socket))
  }
}

const EMPTY = Buffer.alloc(0)

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength)
}
