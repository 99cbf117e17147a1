/**
 * A connection to a thread over a MessagePort. The frames of a tick travel as one buffer, which is moved and not
 * copied. A port does not tell how much waits in it, so both ends share counters of the bytes taken (see
 * "Back-pressure" in README.md).
 */
import { MessageChannel, MessagePort, receiveMessageOnPort } from 'node:worker_threads'
import { ProcessError } from '../errors.ts'
import { LentBytes, takeLent } from '../platform/arena.ts'
import type { BlockHandle } from '../platform/shared-heap.ts'
import { yieldWhile } from '../platform/yield-while.ts'
import { BufferedConnection } from './buffered-connection.ts'
import { HEADER_BYTES, packFrames, readHeader } from './frame-format.ts'
import { LOOK_MICROSECONDS, Vigil } from './vigil.ts'

/** From here on moving a buffer to the other thread is cheaper than copying it twice. */
const TRANSFER_BYTES_MIN = 2048

/** "Everything up to here is taken": the answer to a raised drain flag. */
const DRAINED = 0

/** Where the counters of posted messages begin, in bytes. */
const POSTED_AT = 4 * BigInt64Array.BYTES_PER_ELEMENT

/** One end of a channel in a form that can be sent to a thread, with `port` in the transfer list. */
export interface PortEnd {
  port: MessagePort
  /**
   * Four 64-bit words: bytes taken by side 0 and side 1, drain flag raised by side 0 and side 1. Two of 32 bits: messages
   * posted by side 0 and side 1.
   */
  counters: SharedArrayBuffer
  side: 0 | 1
}

/** Large data in shared memory, in the place of an attachment. Its sender keeps it until the message was answered. */
interface Lent {
  lent: BlockHandle
  byteLength: number
}

function asLent({ handle, byteLength }: LentBytes): Lent {
  return { lent: handle, byteLength }
}

/** An attachment as it arrived; data that is not there any more is an error of its message, which the codec reports. */
function taken(item: unknown): unknown {
  if (typeof item !== 'object' || item === null || !('lent' in item)) return item
  const { lent, byteLength } = item as Lent
  try {
    return takeLent(lent, byteLength)
  } catch (error) {
    if (error instanceof ProcessError) return undefined
    throw error
  }
}

type PortMessage = typeof DRAINED | Uint8Array | { frame: Uint8Array; attachments: readonly unknown[] }

/** A new channel between two threads. */
export function createPortChannel(): [PortEnd, PortEnd] {
  const { port1, port2 } = new MessageChannel()
  const counters = new SharedArrayBuffer(POSTED_AT + 2 * Int32Array.BYTES_PER_ELEMENT)
  return [
    { port: port1, counters, side: 0 },
    { port: port2, counters, side: 1 },
  ]
}

export class PortConnection extends BufferedConnection {
  readonly canAttach = true
  readonly #port: MessagePort
  readonly #counters: BigInt64Array
  readonly #posted: Int32Array
  readonly #side: 0 | 1
  readonly #peer: 0 | 1
  #writtenTotal = 0n
  #receivedBytes = 0
  /** Messages that have arrived, as `#posted` counts them. */
  #arrived = 0
  #error: Error | undefined

  constructor({ port, counters, side }: PortEnd) {
    super()
    this.#port = port
    this.#counters = new BigInt64Array(counters, 0, 4)
    this.#posted = new Int32Array(counters, POSTED_AT)
    this.#side = side
    this.#peer = side === 0 ? 1 : 0
    port.on('message', (message: PortMessage) => this.#read(message))
    port.on('messageerror', error => {
      this.#error ??= error
      port.close()
    })
    port.once('close', () => this.finish(this.#error))
  }

  get receivedBytes(): number {
    return this.#receivedBytes
  }

  protected get writtenBytes(): number {
    return Number(this.#writtenTotal - Atomics.load(this.#counters, this.#peer))
  }

  // A message that was posted is the other thread's.
  protected get losableWrittenBytes(): number {
    return 0
  }

  protected write(frames: readonly Uint8Array[]): void {
    let total = 0
    for (const frame of frames) total += HEADER_BYTES + frame.length
    const batch = new Uint8Array(total)
    packFrames(frames, batch)
    this.#writtenTotal += BigInt(total)
    this.#post(batch, total >= TRANSFER_BYTES_MIN ? [batch.buffer] : undefined)
  }

  protected writeAttached(frame: Uint8Array, attachments: readonly unknown[]): void {
    const moved = attachments.filter(
      (item): item is ArrayBuffer | MessagePort => item instanceof ArrayBuffer || item instanceof MessagePort,
    )
    const items = attachments.map(item => (item instanceof LentBytes ? asLent(item) : item))
    // A copy of the frame alone: cloning a view would clone all the memory behind it.
    this.#post({ frame: Uint8Array.from(frame), attachments: items }, moved)
    this.#writtenTotal += BigInt(frame.length)
  }

  #post(message: PortMessage, moved?: readonly (ArrayBuffer | MessagePort)[]): void {
    this.#port.postMessage(message, moved)
    Atomics.add(this.#posted, this.#side, 1)
  }

  // The flag is raised first and the counter read afterwards: were it the other way round, the other side could
  // take the last bytes in between, see no flag, and nobody would ever call onDrain.
  protected override armDrain(): void {
    Atomics.store(this.#counters, 2 + this.#side, 1n)
    if (this.writtenBytes === 0) process.nextTick(() => this.#drained())
  }

  #drained(): void {
    if (this.noteTaken()) this.armDrain()
  }

  /** Takes what has come without an event, which calls some fifty functions of Node.js. */
  protected override look(): void {
    if (Vigil.count === 1) yieldWhile(this.#posted, this.#peer, this.#arrived, LOOK_MICROSECONDS)
    try {
      while (this.vigil.isOn && Atomics.load(this.#posted, this.#peer) !== this.#arrived) {
        const received = receiveMessageOnPort(this.#port)
        // It has come by an event, which is about to be handled; or the port is closed.
        if (received === undefined) return
        this.#read(received.message as PortMessage)
      }
    } catch (error) {
      this.#error ??= error as Error
      this.#port.close()
    }
  }

  #read(message: PortMessage): void {
    this.#arrived = (this.#arrived + 1) | 0
    if (message === DRAINED) {
      this.#drained()
      return
    }
    if (message instanceof Uint8Array) {
      this.#take(message.length)
      for (let offset = 0; offset < message.length;) {
        const start = offset + HEADER_BYTES
        offset = start + readHeader(message, offset)
        this.deliver(message.subarray(start, offset))
      }
    } else {
      const { frame, attachments } = message
      this.#take(frame.length)
      this.deliver(frame, attachments.map(taken))
    }
  }

  #take(byteCount: number): void {
    this.#receivedBytes += byteCount
    Atomics.add(this.#counters, this.#side, BigInt(byteCount))
    if (Atomics.exchange(this.#counters, 2 + this.#peer, 0n) === 1n) this.#post(DRAINED)
  }

  protected end(): void {
    this.#port.close()
  }

  protected destroy(): void {
    this.#port.close()
  }

  // Ports cannot be paused one by one. The bound is the sender's: bytes count as taken when they are received.
  protected stopReading(): void {}
  protected startReading(): void {}

  ref(): void {
    this.#port.ref()
  }

  unref(): void {
    this.#port.unref()
  }
}
