/** One end of a pipe: messages to and from the other end, wherever in the program that is. */
import { inspect } from 'node:util'
import { addShareable } from '../broker/shareable.ts'
import { invalidArgument } from '../errors.ts'
import {
  type BlockingOptions,
  type WaitOptions,
  BLOCKING_OPTIONS,
  assertBlockingOptions,
  assertWaitOptions,
  pollOptions,
} from '../platform/bounded-wait.ts'
import { knownObject } from '../platform/heap-objects.ts'
import { sharedHeap } from '../platform/shared-heap.ts'
import {
  RECV_BYTES_OPTIONS,
  RECV_INTO_OPTIONS,
  SEND_BYTES_OPTIONS,
  assertLength,
  partOf,
  roomIn,
} from './byte-range.ts'
import type { Channel } from './channel.ts'
import { attachChannel, hasChannelMemory } from './channel-handle.ts'
import { doneWith, ownBytes } from './held-items.ts'
import { decodeItem, encodeItem, encodeOutgoing, turnNowAndThen } from './item-codec.ts'
import { PipeCore, type PipeForm, type PipeHandle, type PipeParts, endsOfFile } from './pipe-core.ts'
import { type End, PIPE_END_KIND, PipeEnd } from './pipe-end.ts'
import { pipeOperations } from './pipe-operations.ts'
import { type RemoteEnd, RemotePipeCore } from './remote-pipe-core.ts'
import { type Readiness, readiness } from './waitable.ts'

function encodeMessage(value: unknown, receiver: 'channel' | 'home'): Uint8Array {
  return receiver === 'channel' ? encodeOutgoing(value, 'message') : encodeItem(value, 'message')
}

const cores = new WeakMap<object, PipeForm>()
let arriving: { parts: PipeParts; end: End } | RemoteEnd | undefined

function coreOf(connection: object): PipeForm {
  const core = cores.get(connection)
  if (core !== undefined) return core
  throw invalidArgument(TypeError, 'This is not a PipeConnection\nTo fix: get both ends from Pipe()')
}

/** @internal The object for an end whose parts are here. */
export function openEnd(parts: PipeParts, end: End): PipeConnection {
  arriving = { parts, end }
  return new PipeConnection()
}

/**
 * One end of a pipe, as Python's `multiprocessing.connection.Connection`; both come from {@link Pipe}.
 *
 * An end can be passed to processes and threads in any way, and be open in several of them; each message goes to one.
 * When all who had the other end have closed it or ended, in whatever way, `recv()` gives what was sent before and then
 * rejects with `ClosedError`.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.connection.Connection
 */
export class PipeConnection<Received = unknown, Sent = Received> implements AsyncIterable<Received> {
  /** @internal */
  constructor() {
    if (arriving === undefined) {
      throw invalidArgument(TypeError, 'A PipeConnection is not made with new\nTo fix: call Pipe()')
    }
    const arrived = arriving
    arriving = undefined
    const core =
      'parts' in arrived ? new PipeCore(arrived.parts, arrived.end, this) : new RemotePipeCore(this, arrived)
    cores.set(this, core)
  }

  /** Whether it receives: false for the second end of a pipe of one direction. */
  get readable(): boolean {
    return coreOf(this).isReadable
  }

  /** Whether it sends: false for the first end of a pipe of one direction. */
  get writable(): boolean {
    return coreOf(this).isWritable
  }

  /** Whether `close()` was called here. */
  get isClosed(): boolean {
    return coreOf(this).isClosed
  }

  /**
   * Sends a value. The promise fulfils when it is in the pipe, which takes some 64 KiB before it makes senders wait.
   *
   * @throws SerializeError when it cannot be sent; ClosedError when this end is closed, or nobody has the other;
   * TimeoutError when the timeout passes; the signal's reason.
   */
  async send(value: Sent, options: WaitOptions = {}): Promise<void> {
    await coreOf(this).send(receiver => encodeMessage(value, receiver), options)
  }

  /** `send()` that blocks this thread. */
  sendSync(value: Sent, options: BlockingOptions = {}): void {
    assertBlockingOptions(options)
    coreOf(this).sendSync(receiver => encodeMessage(value, receiver), options.timeout)
  }

  /**
   * Sends bytes as one message, without turning them into anything. What sends with this receives with `recvBytes()`.
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
    await coreOf(this).send(() => partOf(bytes, { offset, size }), wait)
  }

  /**
   * Receives the next value, as soon as it is there.
   *
   * @throws ClosedError when nothing is left and nobody has the other end any more, and after `close()`; TimeoutError
   * when the timeout passes; SerializeError when the value cannot be rebuilt here; the signal's reason.
   */
  async recv(options: WaitOptions = {}): Promise<Received> {
    const bytes = await coreOf(this).receive(options)
    await turnNowAndThen()
    return (await decodeItem(bytes)) as Received
  }

  /**
   * `recv()` that blocks this thread.
   *
   * @throws as `recv()`; ProcessError `ERR_NOT_SUPPORTED` when the value needs a module that is not loaded here. It
   * stays in the pipe then.
   */
  recvSync(options: BlockingOptions = {}): Received {
    assertBlockingOptions(options)
    return decodeItem(coreOf(this).receiveSync(options.timeout)) as Received
  }

  /**
   * Receives the bytes of one message.
   *
   * @throws RangeError for a `maxLength` that is no length; ProcessError `ERR_LIMIT` when the message is longer: it
   * stays in the pipe. As `recv()`.
   */
  async recvBytes(options: WaitOptions & { maxLength?: number } = {}): Promise<Uint8Array> {
    assertWaitOptions(options, RECV_BYTES_OPTIONS)
    const { maxLength, ...wait } = options
    if (maxLength !== undefined) assertLength('maxLength', maxLength)
    const bytes = await coreOf(this).receive(
      wait,
      maxLength === undefined ? undefined : { maxBytes: maxLength, why: `"maxLength" is ${maxLength}` },
    )
    return ownBytes(bytes)
  }

  /**
   * Receives the bytes of one message into `target`, from `offset` on.
   *
   * @returns the number of bytes
   * @throws RangeError for an offset outside; ProcessError `ERR_LIMIT` when the message is longer than what is there:
   * it stays in the pipe. As `recv()`.
   */
  async recvBytesInto(
    target: ArrayBufferView,
    options: WaitOptions & { offset?: number } = {},
  ): Promise<number> {
    assertWaitOptions(options, RECV_INTO_OPTIONS)
    const { offset = 0, ...wait } = options
    const room = roomIn(target, offset)
    const bytes = await coreOf(this).receive(wait, {
      maxBytes: room,
      why: `there is room for ${room} bytes`,
    })
    new Uint8Array(target.buffer, target.byteOffset + offset, bytes.length).set(bytes)
    doneWith(bytes)
    return bytes.length
  }

  /**
   * Whether `recv()` would not have to wait: there is a message, or none will ever come. Without a timeout it only looks.
   *
   * @param options - `timeout: Infinity` waits until it is so
   */
  async poll(options: WaitOptions = {}): Promise<boolean> {
    return await coreOf(this).poll(options)
  }

  /** `poll()` that blocks this thread. */
  pollSync(options: BlockingOptions = {}): boolean {
    return coreOf(this).pollSync(pollOptions(options, BLOCKING_OPTIONS).timeout)
  }

  /**
   * This process or thread does not use the end any more. Calls of `recv()` that wait are rejected; calls of `send()`
   * that wait are carried out first. Twice is fine.
   */
  close(): void {
    coreOf(this).close()
  }

  /** The values as they come, until nothing more can come or the end is closed here. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Received, void, undefined> {
    for (;;) {
      let value: Received
      try {
        value = await this.recv()
      } catch (error) {
        if (this.isClosed || endsOfFile.has(error as object)) return
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
    return coreOf(this).readiness()
  }

  /** What the console shows, as Python's `str()`. */
  toString(): string {
    return this[inspect.custom]()
  }

  [inspect.custom](): string {
    const core = coreOf(this)
    if (core.isClosed) return '<PipeConnection closed>'
    return `<PipeConnection${this.readable ? ' readable' : ''}${this.writable ? ' writable' : ''}>`
  }
}

function knownEnd({ block }: PipeHandle): PipeConnection | undefined {
  return knownObject(block, PIPE_END_KIND) as PipeConnection | undefined
}

/** Opens an end that is not open here yet. */
function openArrived({ block, end, other, channels }: PipeHandle): PipeConnection {
  const opened: Channel[] = []
  try {
    const [first, second] = channels.map(handle => {
      if (handle === null) return undefined
      const channel = attachChannel(handle)
      opened.push(channel)
      return channel
    })
    return openEnd({ own: PipeEnd.attach(block, other), channels: [first, second!] }, end)
  } catch (error) {
    for (const each of opened) each.release()
    throw error
  }
}

addShareable<PipeConnection>({
  type: PipeConnection,
  name: 'multiproc.PipeConnection',
  module: import.meta.url,
  encode: (connection, receiver) => {
    const core = coreOf(connection)
    core.assertOpen('send')
    return (core as PipeCore).handleToSend(receiver)
  },
  handleIn: data => (data as PipeHandle).block,
  isWhole: data => {
    const handle = data as PipeHandle
    const hasMemory = handle.channels.every(channel => channel === null || hasChannelMemory(channel))
    return hasMemory || knownEnd(handle) !== undefined
  },
  decode: data => {
    const connection = knownEnd(data as PipeHandle) ?? openArrived(data as PipeHandle)
    // It holds them by now.
    for (const handle of (coreOf(connection) as PipeCore).handles) sharedHeap().noteArrived(handle)
    return connection
  },
  makeRemote: data => {
    const { end, channels } = data as PipeHandle
    // A pipe of one direction has only what its second end sends.
    const isDuplex = channels[0] !== null
    arriving = { isReadable: isDuplex || end === 0, isWritable: isDuplex || end === 1 }
    return new PipeConnection()
  },
  noteSent: connection => (coreOf(connection) as PipeCore).noteSent(),
  letGo: connection => coreOf(connection).close(),
  operations: pipeOperations(connection => coreOf(connection) as PipeCore),
})
