/** What an end of a pipe does, without the names and options of its public class. */
import { ClosedError, invalidState } from '../errors.ts'
import { carry } from '../platform/in-flight.ts'
import type { BlockHandle } from '../platform/shared-heap.ts'
import { CHANNEL } from './channel-layout.ts'
import type { Channel, ChannelHandle, OutgoingItem } from './channel.ts'
import type { End, PipeEnds } from './pipe-ends.ts'
import { IN_FLIGHT_MS, assertReachesProcesses } from './shared-objects.ts'
import { type Attempt, WaitLine } from './wait-line.ts'

/** What travels in the place of an end. `channels[n]` has what end n sends; a pipe of one direction has only that of end 1. */
export interface PipeHandle {
  block: BlockHandle
  end: End
  channels: [ChannelHandle | null, ChannelHandle]
}

/** What the two ends are made of. */
export interface PipeParts {
  ends: PipeEnds
  channels: [Channel | undefined, Channel]
}

/** Blocks of pipes of which this process or thread has an end open: how many. */
const openHere = new Map<string, number>()

export class PipeCore {
  readonly parts: PipeParts
  readonly end: End
  readonly incoming: Channel | undefined
  readonly outgoing: Channel | undefined
  readonly readers: WaitLine | undefined
  readonly writers: WaitLine | undefined
  isClosed = false
  /** Stand for its channels in messages. The other end, which has the same, may be in the message, too. */
  readonly #cargo = [{}, {}] as const
  #inFlightUntil = 0

  constructor(parts: PipeParts, end: End) {
    this.parts = parts
    this.end = end
    this.incoming = parts.channels[1 - end]
    this.outgoing = parts.channels[end]
    // The other end may have been sent and never arrive: then time is what changes.
    const lookAgainMs = (): number => parts.ends.inFlightMs(this.#other) || Infinity
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
    const key = keyOf(parts.ends.handle)
    const count = openHere.get(key) ?? 0
    openHere.set(key, count + 1)
    parts.ends.open(end, { isFirst: count === 0 })
  }

  get #other(): End {
    return this.end === 0 ? 1 : 0
  }

  /** Whether the other end is open anywhere. `isThorough`: also looks for those who ended just now. */
  isOtherOpen({ isThorough }: { isThorough: boolean }): boolean {
    if (isThorough) this.parts.channels[1].heap.reap()
    return this.parts.ends.isOpen(this.#other)
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
    return count === 1 ? { value: undefined } : 'wait'
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

  /** What travels. The message keeps `connection`, and counts the handles in it until it has arrived. */
  handleToSend(isSameProcess: boolean, connection: object): PipeHandle {
    this.assertOpen('send')
    if (!isSameProcess) assertReachesProcesses('PipeConnection')
    const { ends, channels } = this.parts
    carry(connection, ends.handle)
    for (const [index, channel] of channels.entries()) {
      if (channel !== undefined) carry(this.#cargo[index]!, channel.handle.block)
    }
    ends.send(this.end)
    this.#inFlightUntil = performance.now() + IN_FLIGHT_MS
    return {
      block: ends.handle,
      end: this.end,
      channels: [channels[0]?.handle ?? null, channels[1].handle],
    }
  }

  close(forget: () => void): void {
    if (this.isClosed) return
    this.isClosed = true
    this.readers?.failAll(
      new ClosedError(
        'This end of the pipe was closed while it waited\nTo fix: close it when nothing waits any more',
      ),
    )
    forget()
    if (this.writers === undefined || this.writers.length === 0) this.release()
    else void this.writers.idle.then(() => this.release())
  }

  /** The other side learns of it; what is on its way is kept for a while. */
  release(): void {
    const { ends, channels } = this.parts
    const key = keyOf(ends.handle)
    const left = openHere.get(key)! - 1
    if (left === 0) openHere.delete(key)
    else openHere.set(key, left)
    ends.close(this.end)
    for (const channel of channels) channel?.touch()
    const leftMs = this.#inFlightUntil - performance.now()
    if (leftMs > 0) setTimeout(() => releaseParts(this.parts), leftMs).unref()
    else releaseParts(this.parts)
  }
}

function keyOf({ index, generation }: BlockHandle): string {
  return `${index}:${generation}`
}

function releaseParts({ ends, channels }: PipeParts): void {
  for (const channel of channels) channel?.release()
  ends.release()
}

/** The errors by which an iteration ends. */
export const endsOfFile = new WeakSet<object>()

function endOfFile(): ClosedError {
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
