/** One end of a connection between programs: what a pipe's end is within one. */
import { inspect } from 'node:util'
import { Socket } from 'node:net'
import { AuthenticationError, SerializeError, invalidArgument } from '../errors.ts'
import { type WaitOptions, assertWaitOptions } from '../platform/bounded-wait.ts'
import {
  RECV_BYTES_OPTIONS,
  RECV_INTO_OPTIONS,
  SEND_BYTES_OPTIONS,
  assertLength,
  partOf,
  roomIn,
} from '../queue/byte-range.ts'
import { decodeItem, encodeItem, letGoOf, turnNowAndThen } from '../queue/item-codec.ts'
import { type Readiness, readiness } from '../queue/waitable.ts'
import { addReducer } from '../serialize/reducers.ts'
import { Unsendable } from '../serialize/unsendable.ts'
import { isChallenge } from './handshake.ts'
import { MessageStream, type StreamState } from './message-stream.ts'

/** A message of more bytes than that is taken for a mistake, unless `maxMessageSize` says otherwise. */
export const MESSAGE_BYTES_MAX = 2 ** 30
/** Views of larger messages are given out as they are; smaller ones lie in a chunk with others, and are copied. */
const OWN_MEMORY_BYTES = 64 * 1024
/** The first byte of a value in Python's pickle, from its protocol 2 on. */
const PICKLE = 0x80

interface Parts {
  readonly stream: MessageStream
  readonly peer: string
}

const parts = new WeakMap<object, Parts>()
let arriving: Parts | undefined
let collected: FinalizationRegistry<MessageStream> | undefined

function streamOf(connection: object): MessageStream {
  return partsOf(connection).stream
}

function partsOf(connection: object): Parts {
  const found = parts.get(connection)
  if (found !== undefined) return found
  throw invalidArgument(
    TypeError,
    'This is not a RemoteConnection\nTo fix: get one from Client() or from accept() of a Listener',
  )
}

/** @internal The connection over a socket that has passed the handshake. */
export function openRemote<Received, Sent>(
  socket: Socket,
  { peer, maxMessageSize = MESSAGE_BYTES_MAX }: { peer: string; maxMessageSize?: number | undefined },
): RemoteConnection<Received, Sent> {
  arriving = { stream: new MessageStream(socket, { messageBytesMax: maxMessageSize }), peer }
  return new RemoteConnection<Received, Sent>()
}

/** Throws for a limit that is none, before anything is opened. */
export function assertMessageSize(maxMessageSize: number | undefined): void {
  if (maxMessageSize !== undefined) assertLength('maxMessageSize', maxMessageSize)
}

/**
 * One end of a connection between two programs, as Python's `multiprocessing.connection.Connection`; from
 * {@link Client} or {@link Listener}. It has what an end of a pipe has, without the forms that block.
 *
 * When the other side closes it or ends, `recv()` gives what was sent before and then rejects with `ClosedError`.
 * A connection that nobody waits for does not keep the program alive.
 *
 * It can be passed to other processes and threads of this program, with what it has received and nobody has taken; not
 * over TLS, and not without the native addon. The sender's stays open: close it there, and receive and send in one place only.
 *
 * A value can carry functions, which run where they arrive. So connect only programs that trust each other.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.connection.Connection
 *
 * @example
 * ```ts
 * import { Client, Listener, RemoteConnection } from 'multiproc'
 *
 * async function echo(connection: RemoteConnection): Promise<void> {
 *   for await (const value of connection) await connection.send(value)
 *   connection.close()
 * }
 *
 * using listener = new Listener()
 * const [there, here] = await Promise.all([listener.accept(), Client(listener.address)])
 * const echoing = echo(there)
 * await here.send(['any', new Map([['value', 1n]])])
 * console.log(await here.recv())
 * here.close()
 * await echoing
 * ```
 */
export class RemoteConnection<Received = unknown, Sent = Received> implements AsyncIterable<Received> {
  /** @internal */
  constructor() {
    if (arriving === undefined) {
      throw invalidArgument(
        TypeError,
        'A RemoteConnection is not made with new\nTo fix: call Client(), or accept() of a Listener',
      )
    }
    parts.set(this, arriving)
    collected ??= new FinalizationRegistry(stream => stream.close())
    collected.register(this, arriving.stream, this)
    arriving = undefined
  }

  /** Always true: both sides receive. */
  get readable(): boolean {
    return partsOf(this) !== undefined
  }

  /** Always true: both sides send. */
  get writable(): boolean {
    return partsOf(this) !== undefined
  }

  /** Whether `close()` was called here. */
  get isClosed(): boolean {
    return streamOf(this).isClosed
  }

  /** Who is on the other side, for people: `tcp://127.0.0.1:40112`. */
  get peer(): string {
    return partsOf(this).peer
  }

  /**
   * Sends a value. The promise fulfils when the system has taken it, so senders wait while the other side does not
   * receive. A call that times out or is aborted has sent nothing; one whose message is being taken at that moment fulfils.
   *
   * @throws SerializeError when it cannot be sent; ClosedError when the connection is closed, here or there, before all
   * of it was taken; TimeoutError when the timeout passes; the signal's reason.
   */
  async send(value: Sent, options: WaitOptions = {}): Promise<void> {
    await streamOf(this).send(() => encodeItem(value, 'message'), options, letGoOf)
    await turnNowAndThen()
  }

  /**
   * Sends bytes as one message, without turning them into anything. What sends with this receives with `recvBytes()`,
   * here or in Python.
   *
   * @param bytes - a `Uint8Array` or any other view of memory
   * @param options - `offset` and `size` choose a part of it, in bytes
   * @throws RangeError when that part is not inside. As `send()`.
   */
  async sendBytes(
    bytes: ArrayBufferView,
    options: WaitOptions & { offset?: number; size?: number } = {},
  ): Promise<void> {
    assertWaitOptions(options, SEND_BYTES_OPTIONS)
    const { offset, size, ...wait } = options
    await streamOf(this).send(() => partOf(bytes, { offset, size }), wait)
    await turnNowAndThen()
  }

  /**
   * Receives the next value, as soon as it is there.
   *
   * @throws ClosedError when nothing is left and the other side has ended, and after `close()`; TimeoutError when the
   * timeout passes; SerializeError when the value cannot be rebuilt here, as everything that `send()` of Python sends;
   * AuthenticationError when the other side waits for a key; ProcessError `ERR_LIMIT` for a message of more than
   * `maxMessageSize` and `ERR_PROTOCOL` for no message, which end the connection; the signal's reason.
   */
  async recv(options: WaitOptions = {}): Promise<Received> {
    const bytes = await streamOf(this).receive(options)
    await turnNowAndThen()
    try {
      return (await decodeItem(bytes)) as Received
    } catch (error) {
      throw foreign(bytes) ?? error
    }
  }

  /**
   * Receives the bytes of one message.
   *
   * @throws RangeError for a `maxLength` that is no length; ProcessError `ERR_LIMIT` when the message is longer: it
   * stays. As `recv()`.
   */
  async recvBytes(options: WaitOptions & { maxLength?: number } = {}): Promise<Uint8Array> {
    assertWaitOptions(options, RECV_BYTES_OPTIONS)
    const { maxLength, ...wait } = options
    if (maxLength !== undefined) assertLength('maxLength', maxLength)
    const limit =
      maxLength === undefined ? undefined : { maxBytes: maxLength, why: `"maxLength" is ${maxLength}` }
    const bytes = await streamOf(this).receive(wait, limit)
    await turnNowAndThen()
    if (bytes.length < OWN_MEMORY_BYTES) return new Uint8Array(bytes)
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  /**
   * Receives the bytes of one message into `target`, from `offset` on.
   *
   * @returns the number of bytes
   * @throws RangeError for an offset outside; ProcessError `ERR_LIMIT` when the message is longer than what is there:
   * it stays. As `recv()`.
   */
  async recvBytesInto(
    target: ArrayBufferView,
    options: WaitOptions & { offset?: number } = {},
  ): Promise<number> {
    assertWaitOptions(options, RECV_INTO_OPTIONS)
    const { offset = 0, ...wait } = options
    const room = roomIn(target, offset)
    const bytes = await streamOf(this).receive(wait, {
      maxBytes: room,
      why: `there is room for ${room} bytes`,
    })
    new Uint8Array(target.buffer, target.byteOffset + offset, bytes.length).set(bytes)
    await turnNowAndThen()
    return bytes.length
  }

  /**
   * Whether `recv()` would not have to wait: there is a message, or none will ever come. Without a timeout it only looks
   * at what has arrived.
   *
   * @param options - `timeout: Infinity` waits until it is so
   */
  async poll(options: WaitOptions = {}): Promise<boolean> {
    return await streamOf(this).poll(options)
  }

  /**
   * Ends the connection. Calls of `recv()` that wait are rejected; calls of `send()` that wait are carried out first, as
   * long as the other side takes something within 10 s. Twice is fine.
   */
  close(): void {
    collected?.unregister(this)
    streamOf(this).close()
  }

  /** The values as they come, until the other side has ended or the connection is closed here. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Received, void, undefined> {
    const stream = streamOf(this)
    for (;;) {
      let value: Received
      try {
        value = await this.recv()
      } catch (error) {
        const isEnd = (error as { code?: string }).code === 'ERR_CLOSED'
        if (isEnd && (stream.isClosed || stream.isAtEndOfFile)) return
        throw error
      }
      yield value
    }
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** For `wait()`: ready when `recv()` would not wait. */
  [readiness](): Readiness {
    return streamOf(this).readiness()
  }

  /** What the console shows, as Python's `str()`. */
  toString(): string {
    return this[inspect.custom]()
  }

  [inspect.custom](): string {
    const { stream, peer } = partsOf(this)
    return `<RemoteConnection ${stream.isClosed ? 'closed' : `to ${peer}`}>`
  }
}

/** What a message is that is no value of ours, if that can be told. */
function foreign(bytes: Uint8Array): Error | undefined {
  if (isChallenge(bytes)) {
    const reason = 'it asks for a key, and none was given here'
    return new AuthenticationError(
      `Cannot receive from the connection: the other side does not know who this is; ${reason}\n` +
        'To fix: pass the "authKey" of the other side',
      { reason },
    )
  }
  if (bytes[0] !== PICKLE) return undefined
  return new SerializeError(
    'Cannot rebuild the message: it is in the format of Python (pickle), and only values that multiproc sent can be received as such\n' +
      'To fix: use sendBytes() and recvBytes() on both sides, with JSON for instance',
    { code: 'ERR_NOT_DESERIALIZABLE' },
  )
}

/** What travels in the place of a connection. */
interface SentConnection extends StreamState {
  peer: string
}

addReducer<RemoteConnection>({
  type: RemoteConnection,
  name: 'multiproc.RemoteConnection',
  module: import.meta.url,
  encode: (connection): SentConnection => {
    const { stream, peer } = partsOf(connection)
    const state = stream.stateToSend((kind, advice) => {
      throw new Unsendable(connection, kind, advice)
    })
    return { ...state, peer }
  },
  decode: data => {
    const { socket, messages, begun, messageBytesMax, peer } = (data ?? {}) as Partial<SentConnection>
    const isWhole =
      (socket === null || socket instanceof Socket) &&
      Array.isArray(messages) &&
      [...messages, begun].every(bytes => bytes instanceof Uint8Array) &&
      typeof messageBytesMax === 'number' &&
      typeof peer === 'string'
    if (!isWhole) {
      throw new SerializeError(
        'Cannot rebuild a RemoteConnection: what arrived is none\nTo fix: use the same version of multiproc on both sides',
        { code: 'ERR_NOT_DESERIALIZABLE' },
      )
    }
    // The other side had ended: so has this socket, which was never open.
    const stream = new MessageStream(socket ?? new Socket().destroy(), {
      messageBytesMax,
      messages,
      begun: begun!,
    })
    arriving = { stream, peer }
    return new RemoteConnection()
  },
})
