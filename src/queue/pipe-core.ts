/** What an end of a pipe does, without the names and options of its public class. */
import { withHome } from '../broker/shareable.ts'
import { ClosedError, ProcessError, TimeoutError, invalidState } from '../errors.ts'
import {
  type WaitOptions,
  assertTimeout,
  assertWaitOptions,
  pollOptions,
  isLookOnly,
} from '../platform/bounded-wait.ts'
import { standFor, standNoMore } from '../platform/heap-objects.ts'
import { carry } from '../platform/in-flight.ts'
import { type BlockHandle, sharedHeap } from '../platform/shared-heap.ts'
import type { Receiver } from '../serialize/reducers.ts'
import { channelToSend, holdChannel } from './channel-handle.ts'
import { CHANNEL } from './channel-layout.ts'
import type { Channel, ChannelHandle, OutgoingItem } from './channel.ts'
import { assertNothingToLoad, letGoOf, turnNowAndThen } from './item-codec.ts'
import { type End, PIPE_END_KIND, type PipeEnd } from './pipe-end.ts'
import { type Attempt, WaitLine } from './wait-line.ts'
import type { Readiness } from './waitable.ts'

/** What travels in the place of an end. `channels[n]` has what end n sends; a pipe of one direction has only that of end 1. */
export interface PipeHandle {
  block: BlockHandle
  end: End
  /** The block of the other end. */
  other: BlockHandle
  channels: [ChannelHandle | null, ChannelHandle]
}

/** What an end is made of. */
export interface PipeParts {
  own: PipeEnd
  channels: [Channel | undefined, Channel]
}

/** Encodes what is to be sent, once it is clear that it may be: for a channel of this process, or for the pipe's home. */
export type EncodeMessage = (receiver: 'channel' | 'home') => Uint8Array

/** What an end is asked, wherever the memory of its pipe is. */
export interface PipeForm {
  readonly isReadable: boolean
  readonly isWritable: boolean
  readonly isClosed: boolean
  send(encode: EncodeMessage, options: WaitOptions): Promise<void>
  sendSync(encode: EncodeMessage, timeout: number | undefined): void
  receive(options: WaitOptions, limit?: ReceiveLimit): Promise<Uint8Array>
  /** Only what can be decoded without loading modules. */
  receiveSync(timeout: number | undefined): Uint8Array
  poll(options: WaitOptions): Promise<boolean>
  pollSync(timeout: number): boolean
  close(): void
  assertOpen(action: string): void
  readiness(): Readiness
}

/** How long a message may be, and the reason for people. A longer one stays in the pipe. */
export interface ReceiveLimit {
  maxBytes: number
  why: string
}

const DONE = Object.freeze({ value: undefined })

export class PipeCore implements PipeForm {
  readonly parts: PipeParts
  readonly end: End
  readonly incoming: Channel | undefined
  readonly outgoing: Channel | undefined
  readonly readers: WaitLine | undefined
  readonly writers: WaitLine | undefined
  isClosed = false
  readonly #connection: WeakRef<object>
  /** Stand for its channels in messages, which may be sent again after `close()`. */
  #holds: readonly [object | undefined, object] | undefined

  /** `connection` is the object for it, until it is collected or closed. */
  constructor(parts: PipeParts, end: End, connection: object) {
    this.#connection = new WeakRef(connection)
    this.parts = parts
    this.end = end
    this.incoming = parts.channels[1 - end]
    this.outgoing = parts.channels[end]
    // The other end may have been sent and never arrive: then time is what changes.
    const lookAgainMs = (): number => parts.own.otherOpenMs || Infinity
    const { incoming, outgoing } = this
    if (incoming !== undefined) {
      this.readers = new WaitLine(incoming.heap, {
        word: incoming.base + CHANNEL.commits,
        counter: incoming.base + CHANNEL.readersWaiting,
        lookAgainMs,
      })
    }
    if (outgoing !== undefined) {
      this.writers = new WaitLine(outgoing.heap, {
        word: outgoing.base + CHANNEL.takes,
        counter: outgoing.base + CHANNEL.writersWaiting,
        lookAgainMs,
      })
    }
    standFor(connection, PIPE_END_KIND, {
      heap: parts.own.heap,
      handle: parts.own.handle,
      release: () => release(parts),
    })
  }

  get isReadable(): boolean {
    return this.incoming !== undefined
  }

  get isWritable(): boolean {
    return this.outgoing !== undefined
  }

  /** Kept alive by those who wait: when it is collected, the end is closed. */
  get #owner(): object {
    return this.#connection.deref() ?? this
  }

  /** Whether the other end is open anywhere. `isThorough`: also looks for those who ended just now. */
  isOtherOpen({ isThorough }: { isThorough: boolean }): boolean {
    if (isThorough) this.parts.channels[1].heap.reap()
    return this.parts.own.otherOpenMs > 0
  }

  assertOpen(action: string): void {
    if (!this.isClosed) return
    throw new ClosedError(
      `Cannot ${action} this end of the pipe: it is closed here\nTo fix: call close() when nothing here uses it any more`,
    )
  }

  toSend(): { channel: Channel; line: WaitLine } {
    this.assertOpen('send through')
    if (this.outgoing === undefined || this.writers === undefined) throw wrongDirection('receives only')
    return { channel: this.outgoing, line: this.writers }
  }

  toReceive(): { channel: Channel; line: WaitLine } {
    this.assertOpen('receive through')
    if (this.incoming === undefined || this.readers === undefined) throw wrongDirection('sends only')
    return { channel: this.incoming, line: this.readers }
  }

  tryPut(channel: Channel, item: OutgoingItem): Attempt<void> {
    if (!this.isOtherOpen({ isThorough: false })) {
      throw new ClosedError(
        'Cannot send through the pipe: all who had its other end have closed it or ended\n' +
          'To fix: keep the other end open where messages are received',
      )
    }
    const count = channel.put([item])
    if (count === 'busy') return 'busy'
    return count === 1 ? DONE : 'wait'
  }

  tryTake(channel: Channel, accept?: (bytes: Uint8Array) => void): Attempt<Uint8Array> {
    let taken = channel.take(1, accept)
    if (taken.length === 0 && !this.isOtherOpen({ isThorough: true })) {
      // What was sent right before the end of the other side.
      taken = channel.take(1, accept)
      if (taken.length === 0) throw endOfFile()
    }
    if (taken === 'busy') return 'busy'
    return taken.length === 0 ? 'wait' : { value: taken[0]! }
  }

  isReady(): boolean {
    if (this.isClosed || this.incoming === undefined || this.incoming.size > 0) return true
    return !this.isOtherOpen({ isThorough: true })
  }

  async send(encode: EncodeMessage, options: WaitOptions): Promise<void> {
    assertWaitOptions(options)
    const { channel, line } = this.toSend()
    options.signal?.throwIfAborted()
    const item = channel.outgoing(encode('channel'))
    try {
      const isSent = line.length === 0 && typeof this.tryPut(channel, item) === 'object'
      if (!isSent) {
        if (isLookOnly(options.timeout)) notTaken(0)
        await line.wait(
          this.#owner,
          () => this.tryPut(channel, item),
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

  sendSync(encode: EncodeMessage, timeout: number | undefined): void {
    const { channel, line } = this.toSend()
    assertTimeout(timeout)
    const item = channel.outgoing(encode('channel'))
    try {
      // Nearly always there is room at once, so nothing is made ready for a wait before.
      if (line.length === 0 && this.tryPut(channel, item) === DONE) return
      const attempt = (): Attempt<void> => {
        // Those who wait with `await` came before.
        line.look()
        return line.length > 0 ? 'wait' : this.tryPut(channel, item)
      }
      line.waitSync(attempt, timeout, () => notTaken(timeout))
    } catch (error) {
      letGoOf(item)
      throw error
    }
  }

  receive(options: WaitOptions, limit?: ReceiveLimit): Promise<Uint8Array> {
    return this.receiveIf(
      options,
      limit &&
        (({ length }) => {
          if (length > limit.maxBytes) throw tooLong(length, limit.why)
        }),
    )
  }

  /** Receives a message that `accept` does not throw for. */
  async receiveIf(options: WaitOptions, accept?: (bytes: Uint8Array) => void): Promise<Uint8Array> {
    assertWaitOptions(options)
    const { channel, line } = this.toReceive()
    options.signal?.throwIfAborted()
    const attempt = (): Attempt<Uint8Array> => this.tryTake(channel, accept)
    const now = line.length === 0 ? attempt() : 'wait'
    if (typeof now === 'object') return now.value
    if (isLookOnly(options.timeout)) return nothingCame(0)
    return await line.wait(this.#owner, attempt, options, () => nothingCame(options.timeout))
  }

  receiveSync(timeout: number | undefined): Uint8Array {
    const { channel, line } = this.toReceive()
    assertTimeout(timeout)
    // As in sendSync(); what finds nothing here looks for the end of the other side below.
    const taken = channel.take(1, assertNothingToLoad)
    if (taken !== 'busy' && taken.length > 0) return taken[0]!
    const attempt = (): Attempt<Uint8Array> => this.tryTake(channel, assertNothingToLoad)
    return line.waitSync(attempt, timeout, () => nothingCame(timeout))
  }

  async poll(options: WaitOptions): Promise<boolean> {
    const { timeout, signal } = pollOptions(options)
    const { line } = this.toReceive()
    signal?.throwIfAborted()
    if (this.isReady()) return true
    if (timeout <= 0) return false
    return await line.wait(
      this.#owner,
      () => (this.isReady() ? { value: true } : 'wait'),
      { timeout, signal },
      () => false,
    )
  }

  pollSync(timeout: number): boolean {
    const { line } = this.toReceive()
    return line.waitSync<boolean>(
      () => (this.isReady() ? { value: true } : 'wait'),
      Math.max(0, timeout),
      () => false,
    )
  }

  readiness(): Readiness {
    const { line } = this.toReceive()
    return { isReady: () => this.isReady(), line }
  }

  /** What travels. The message counts its handles until it has arrived: the end is open meanwhile. */
  handleToSend(receiver: Receiver): PipeHandle {
    this.assertOpen('send')
    const { own, channels } = this.parts
    this.#holds ??= [channels[0] && holdChannel(channels[0].handle), holdChannel(channels[1].handle)]
    carry(this.#owner, own.handle)
    for (const [index, channel] of channels.entries()) {
      if (channel !== undefined) carry(this.#holds[index]!, channel.handle.block)
    }
    return {
      block: withHome(own.handle, receiver),
      end: this.end,
      other: own.other,
      channels: [
        channels[0] === undefined ? null : channelToSend(channels[0].handle, receiver),
        channelToSend(channels[1].handle, receiver),
      ],
    }
  }

  /** For a client that sends it on: what `handleToSend()` and its message do. */
  noteSent(): void {
    this.assertOpen('send')
    for (const handle of this.handles) sharedHeap().noteSent(handle)
  }

  /** The blocks that are counted when the end is sent. */
  get handles(): BlockHandle[] {
    const { own, channels } = this.parts
    return [own.handle, ...channels.flatMap(channel => channel?.handle.block ?? [])]
  }

  close(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.readers?.failAll(
      new ClosedError(
        'This end of the pipe was closed while it waited\nTo fix: close it when nothing waits any more',
      ),
    )
    const connection = this.#connection.deref()
    if (connection !== undefined) standNoMore(connection)
    this.#holds = undefined
    if (this.writers === undefined || this.writers.length === 0) release(this.parts)
    else void this.writers.idle.then(() => release(this.parts))
  }
}

/** The other side learns of it. What is on its way is kept by its messages. */
function release({ own, channels }: PipeParts): void {
  own.close()
  for (const channel of channels) {
    channel?.touch()
    channel?.release()
  }
}

/** The errors by which an iteration ends. */
export const endsOfFile = new WeakSet<object>()

/** For who receives when nothing can come any more. */
export function endOfFile(): ClosedError {
  const error = new ClosedError(
    'EOF: nothing is left in the pipe, and all who had its other end have closed it or ended\n' +
      'To fix: iterate with "for await", which ends then',
  )
  endsOfFile.add(error)
  return error
}

function wrongDirection(what: string): Error {
  return invalidState(
    `Cannot use this end of the pipe that way: it ${what}\nTo fix: use the other end, or make the pipe with { duplex: true }`,
  )
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
