/** One end of a pipe: messages to and from the other end, wherever in the program that is. */
import { inspect } from 'node:util'
import { ProcessError, TimeoutError, invalidArgument } from '../errors.ts'
import { type WaitOptions, assertTimeout } from '../platform/bounded-wait.ts'
import { sharedHeap } from '../platform/shared-heap.ts'
import { addReducer } from '../serialize/reducers.ts'
import { Channel } from './channel.ts'
import { assertNothingToLoad, decodeItem, encodeItem, letGoOf, turnNowAndThen } from './item-codec.ts'
import { PipeCore, type PipeHandle, type PipeParts, endsOfFile } from './pipe-core.ts'
import { type End, PipeEnds } from './pipe-ends.ts'
import { SharedObjects } from './shared-objects.ts'
import type { Attempt } from './wait-line.ts'
import { type Readiness, readiness } from './waitable.ts'

/** The ends that are open in this process or thread, and what each is made of. */
const ends = [new SharedObjects<object>(), new SharedObjects<object>()] as const
const cores = new WeakMap<object, PipeCore>()
let arriving: { parts: PipeParts; end: End } | undefined

function coreOf(connection: object): PipeCore {
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
    const { parts, end } = arriving
    arriving = undefined
    const core = new PipeCore(parts, end)
    cores.set(this, core)
    ends[end].add(parts.ends.handle, this, () => core.release())
  }

  /** Whether it receives: false for the second end of a pipe of one direction. */
  get readable(): boolean {
    return coreOf(this).incoming !== undefined
  }

  /** Whether it sends: false for the first end of a pipe of one direction. */
  get writable(): boolean {
    return coreOf(this).outgoing !== undefined
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
    await sendEncoded(this, () => encodeItem(value, 'message'), options)
  }

  /** `send()` that blocks this thread. */
  sendSync(value: Sent, { timeout }: { timeout?: number | undefined } = {}): void {
    sendEncodedSync(this, () => encodeItem(value, 'message'), timeout)
  }

  /**
   * Sends bytes as one message, without turning them into anything. What sends with this receives with `recvBytes()`.
   *
   * @param options - `offset` and `size` choose a part of the bytes
   * @throws RangeError when that part is not inside. As `send()`.
   */
  async sendBytes(
    bytes: Uint8Array,
    { offset, size, ...options }: WaitOptions & { offset?: number; size?: number } = {},
  ): Promise<void> {
    await sendEncoded(this, () => partOf(bytes, { offset, size }), options)
  }

  /**
   * Receives the next value, as soon as it is there.
   *
   * @throws ClosedError when nothing is left and nobody has the other end any more, and after `close()`; TimeoutError
   * when the timeout passes; SerializeError when the value cannot be rebuilt here; the signal's reason.
   */
  async recv(options: WaitOptions = {}): Promise<Received> {
    const bytes = await receive(this, options)
    await turnNowAndThen()
    return (await decodeItem(bytes)) as Received
  }

  /**
   * `recv()` that blocks this thread.
   *
   * @throws as `recv()`; ProcessError `ERR_NOT_SUPPORTED` when the value needs a module that is not loaded here. It
   * stays in the pipe then.
   */
  recvSync({ timeout }: { timeout?: number | undefined } = {}): Received {
    const core = coreOf(this)
    const { channel, line } = core.toReceive()
    const attempt = (): Attempt<Uint8Array> => core.tryTake(channel, assertNothingToLoad)
    return decodeItem(line.waitSync(attempt, timeout, () => nothingCame(timeout))) as Received
  }

  /**
   * Receives the bytes of one message.
   *
   * @throws RangeError for a `maxLength` that is no length; ProcessError `ERR_LIMIT` when the message is longer: it
   * stays in the pipe. As `recv()`.
   */
  async recvBytes({ maxLength, ...options }: WaitOptions & { maxLength?: number } = {}): Promise<Uint8Array> {
    if (maxLength !== undefined) assertLength('maxLength', maxLength)
    return await receive(this, options, bytes => {
      if (bytes.length > (maxLength ?? Infinity)) throw tooLong(bytes.length, `"maxLength" is ${maxLength}`)
    })
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
    { offset = 0, ...options }: WaitOptions & { offset?: number } = {},
  ): Promise<number> {
    assertLength('offset', offset)
    const room = target.byteLength - offset
    if (room < 0) throw outside('offset', offset, target.byteLength)
    const bytes = await receive(this, options, ({ length }) => {
      if (length > room) throw tooLong(length, `there is room for ${room} bytes`)
    })
    new Uint8Array(target.buffer, target.byteOffset + offset, bytes.length).set(bytes)
    return bytes.length
  }

  /**
   * Whether `recv()` would not have to wait: there is a message, or none will ever come. Without a timeout it only looks.
   *
   * @param options - `timeout: Infinity` waits until it is so
   */
  async poll({ timeout = 0, signal }: WaitOptions = {}): Promise<boolean> {
    const core = coreOf(this)
    const { line } = core.toReceive()
    signal?.throwIfAborted()
    if (core.isReady()) return true
    if (timeout <= 0) return false
    return await line.wait(
      this,
      () => (core.isReady() ? { value: true } : 'wait'),
      { timeout, signal },
      () => false,
    )
  }

  /** `poll()` that blocks this thread. */
  pollSync({ timeout = 0 }: { timeout?: number } = {}): boolean {
    const core = coreOf(this)
    const { line } = core.toReceive()
    return line.waitSync<boolean>(
      () => (core.isReady() ? { value: true } : 'wait'),
      Math.max(0, timeout),
      () => false,
    )
  }

  /**
   * This process or thread does not use the end any more. Calls of `recv()` that wait are rejected; calls of `send()`
   * that wait are carried out first. Twice is fine.
   */
  close(): void {
    const core = coreOf(this)
    core.close(() => ends[core.end].forget(core.parts.ends.handle, this))
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
    const core = coreOf(this)
    const { line } = core.toReceive()
    return { isReady: () => core.isReady(), line }
  }

  [inspect.custom](): string {
    const core = coreOf(this)
    if (core.isClosed) return '<PipeConnection closed>'
    return `<PipeConnection${this.readable ? ' readable' : ''}${this.writable ? ' writable' : ''}>`
  }
}

async function sendEncoded(
  connection: object,
  encode: () => Uint8Array,
  options: WaitOptions,
): Promise<void> {
  const core = coreOf(connection)
  assertTimeout(options.timeout)
  const { channel, line } = core.toSend()
  options.signal?.throwIfAborted()
  const item = channel.outgoing(encode())
  try {
    const isSent = line.length === 0 && typeof core.tryPut(channel, item) === 'object'
    if (!isSent) {
      if (options.timeout === 0) notTaken(0)
      await line.wait(
        connection,
        () => core.tryPut(channel, item),
        options,
        () => notTaken(options.timeout),
      )
    }
  } catch (error) {
    letGoOf(item)
    throw error
  }
  await turnNowAndThen()
}

function sendEncodedSync(connection: object, encode: () => Uint8Array, timeout: number | undefined): void {
  const core = coreOf(connection)
  const { channel, line } = core.toSend()
  const item = channel.outgoing(encode())
  try {
    const attempt = (): Attempt<void> => {
      // Those who wait with `await` came before.
      line.look()
      return line.length > 0 ? 'wait' : core.tryPut(channel, item)
    }
    line.waitSync(attempt, timeout, () => notTaken(timeout))
  } catch (error) {
    letGoOf(item)
    throw error
  }
}

async function receive(
  connection: object,
  options: WaitOptions,
  accept?: (bytes: Uint8Array) => void,
): Promise<Uint8Array> {
  assertTimeout(options.timeout)
  const core = coreOf(connection)
  const { channel, line } = core.toReceive()
  options.signal?.throwIfAborted()
  const attempt = (): Attempt<Uint8Array> => core.tryTake(channel, accept)
  const now = line.length === 0 ? attempt() : 'wait'
  if (typeof now === 'object') return now.value
  if (options.timeout === 0) return nothingCame(0)
  return await line.wait(connection, attempt, options, () => nothingCame(options.timeout))
}

function nothingCame(timeout: number | undefined): never {
  throw new TimeoutError(
    `Nothing came through the pipe within ${timeout} ms\nTo fix: wait longer, or see what the sender does`,
  )
}

function notTaken(timeout: number | undefined): never {
  throw new TimeoutError(
    `The pipe was full for ${timeout} ms, and nothing was sent\nTo fix: wait longer, or have the other end receive faster`,
  )
}

function tooLong(length: number, why: string): ProcessError {
  return new ProcessError(
    'ERR_LIMIT',
    `Cannot receive the next message: it has ${length} bytes, and ${why}; it stays in the pipe\nTo fix: make room for it`,
  )
}

function partOf(
  bytes: Uint8Array,
  { offset = 0, size }: { offset: number | undefined; size: number | undefined },
): Uint8Array {
  if (!(bytes instanceof Uint8Array)) {
    throw invalidArgument(
      TypeError,
      'Cannot send bytes: they must be a Uint8Array\nTo fix: pass one, or use send()',
    )
  }
  assertLength('offset', offset)
  if (offset > bytes.length) throw outside('offset', offset, bytes.length)
  const length = size ?? bytes.length - offset
  assertLength('size', length)
  if (offset + length > bytes.length) throw outside('size', length, bytes.length)
  // With a length of their own: nobody changes them while they wait for room.
  return bytes.slice(offset, offset + length)
}

function assertLength(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 0) return
  throw invalidArgument(
    RangeError,
    `"${name}" must be a whole number from 0 on, got ${String(value)}\nTo fix: pass such a number`,
  )
}

function outside(name: string, value: number, length: number): Error {
  return invalidArgument(
    RangeError,
    `"${name}" is ${value}, which leads out of the ${length} bytes\nTo fix: stay inside of them`,
  )
}

addReducer<PipeConnection>({
  type: PipeConnection,
  name: 'multiproc.PipeConnection',
  module: import.meta.url,
  encode: (connection, { isSameProcess }) => coreOf(connection).handleToSend(isSameProcess, connection),
  decode: data => {
    const { block, end, channels } = data as PipeHandle
    const known = ends[end].get(block) as PipeConnection | undefined
    const pipeEnds = known === undefined ? PipeEnds.attach(block) : coreOf(known).parts.ends
    const arrive = (): void => {
      pipeEnds.arrive(end)
      for (const handle of [block, channels[0]?.block, channels[1].block]) {
        if (handle !== undefined) sharedHeap().noteArrived(handle)
      }
    }
    if (known !== undefined) {
      arrive()
      return known
    }
    const connection = openEnd(
      {
        ends: pipeEnds,
        channels: [
          channels[0] === null ? undefined : Channel.attach(channels[0]),
          Channel.attach(channels[1]),
        ],
      },
      end,
    )
    arrive()
    return connection
  },
})
