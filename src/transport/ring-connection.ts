/**
 * A connection to a child process through two rings in shared memory. The socket beside them carries doorbells alone:
 * one byte that says "look", sent only to a side that sleeps; and its end is the end of the connection.
 */
import type { Socket } from 'node:net'
import { ProcessError } from '../errors.ts'
import {
  type HeldSegment,
  type SegmentHandle,
  allocateSegment,
  attachSegment,
} from '../platform/heap-segments.ts'
import { discardLentTo } from '../platform/arena.ts'
import type { BlockHandle } from '../platform/shared-heap.ts'
import { descriptorOf, ringDoorbell } from '../platform/doorbell.ts'
import { AttachedFrameReader, attachedPieces } from './attached-frame.ts'
import { BufferedConnection } from './buffered-connection.ts'
import { endedInsideMessage } from './connection-errors.ts'
import { ByteRing, RING_HEADER_BYTES } from './byte-ring.ts'
import { HEADER_BYTES, gatherFrames, packFrames } from './frame-format.ts'
import { FrameReader } from './frame-reader.ts'
import { isPeerGone } from './peer-gone.ts'
import { LOOK_MICROSECONDS, Vigil } from './vigil.ts'

/** Of each direction. Two of them fit into the second level of a processor's cache. */
const CAPACITY_BYTES = 256 * 1024
/** Small frames are taken out of the ring together, up to this. */
const COPIED_BYTES_MAX = 64 * 1024
/** The byte on the socket. Anything else there is foreign. */
const DOORBELL = 0x07
/** Before its end a process waits so long for a reader that takes nothing. */
const SILENT_PEER_MS_MAX = 10_000

/** What the other side is given to find the rings. */
export interface RingEnd {
  segment: SegmentHandle
}

export class RingConnection extends BufferedConnection {
  readonly canAttach = false
  readonly #socket: Socket
  readonly #fd: number
  readonly #segment: HeldSegment
  readonly #out: ByteRing
  readonly #in: ByteRing
  readonly #reader = new FrameReader()
  readonly #attached: AttachedFrameReader
  readonly #emit = (frame: Uint8Array, isAttached: boolean): void => {
    if (!this.#attached.take(frame, isAttached)) this.deliver(frame)
  }
  /** What had no room in the ring yet, in order. */
  #waiting: Uint8Array[] = []
  #waitingOffset = 0
  #waitingBytes = 0
  #isReading = true
  #isEnding = false
  #hasEnded = false
  #receivedBytes = 0
  #error: Error | undefined

  private constructor(socket: Socket, segment: HeldSegment, side: 0 | 1) {
    super()
    this.#socket = socket
    this.#fd = descriptorOf(socket)
    this.#segment = segment
    this.#attached = new AttachedFrameReader(this.#handle, (bytes, items) => this.deliver(bytes, items))
    const rings = [0, 1].map(
      index => new ByteRing(segment.buffer, index * (RING_HEADER_BYTES + CAPACITY_BYTES), CAPACITY_BYTES),
    )
    this.#out = rings[side]!
    this.#in = rings[1 - side]!
    if (side === 0) for (const ring of rings) ring.clear()
    socket.on('data', (bells: Uint8Array) => this.#rung(bells))
    socket.on('error', error => {
      this.#error ??= error
    })
    socket.once('close', () => this.#ended())
    if (socket.destroyed) process.nextTick(() => this.#ended())
    else process.nextTick(() => this.#read())
  }

  /** The side that makes the rings. The other must have `end` before anything is sent over the socket. */
  static create(socket: Socket): { connection: RingConnection; end: RingEnd } {
    const segment = allocateSegment(2 * (RING_HEADER_BYTES + CAPACITY_BYTES))
    return { connection: new RingConnection(socket, segment, 0), end: { segment: segment.handle } }
  }

  static attach(socket: Socket, { segment }: RingEnd): RingConnection {
    return new RingConnection(socket, attachSegment(segment), 1)
  }

  /** The block of the rings: both sides hold it, so what is lent to the other side is kept for as long as one is left. */
  get #handle(): BlockHandle {
    return this.#segment.handle as BlockHandle
  }

  get receivedBytes(): number {
    return this.#receivedBytes
  }

  protected get writtenBytes(): number {
    return this.#waitingBytes + (this.#segment.isHeld ? this.#out.length : 0)
  }

  // What is in the ring is in memory that the reader has too.
  protected get losableWrittenBytes(): number {
    return this.#waitingBytes
  }

  // ---- Writing ----

  protected write(frames: readonly Uint8Array[]): void {
    if (this.#hasEnded || this.#isEnding) return
    let total = 0
    for (const frame of frames) total += HEADER_BYTES + frame.length
    // The usual case: the frames of a tick are put together where they will be read.
    const isInPlace =
      this.#waitingBytes === 0 &&
      total <= COPIED_BYTES_MAX &&
      this.#out.writeInPlace(total, target => packFrames(frames, target))
    if (!isInPlace) {
      this.#waiting.push(...gatherFrames(frames))
      this.#waitingBytes += total
    }
    this.#pump(isInPlace)
  }

  /** Moves what waits into the ring, and tells the reader. Without news it is left asleep: bells must not answer bells. */
  #pump(hasWritten = false): void {
    let hasNews = hasWritten
    for (;;) {
      for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
        const count = this.#out.write(first, this.#waitingOffset)
        hasNews ||= count > 0
        this.#waitingBytes -= count
        this.#waitingOffset += count
        if (this.#waitingOffset < first.length) break
        this.#waiting.shift()
        this.#waitingOffset = 0
      }
      if (hasNews && this.#out.wakeReader()) this.#ring()
      if (this.#waiting.length === 0) {
        this.noteKept()
        return
      }
      // First say that room is wanted, then look once more: the reader may have made some since the last byte that
      // found none, and would not say so.
      this.#out.sleepWriter()
      if (this.#out.isFull) return
    }
  }

  /** Past the streams of Node.js, which would take longer than everything else about a small message. */
  #ring(): void {
    // A full socket has a bell in it that the other side has not heard yet; one that is gone needs none.
    if (!this.#socket.destroyed) ringDoorbell(this.#fd, DOORBELL)
  }

  protected override armDrain(): void {
    this.#out.sleepWriter()
    if (this.writtenBytes === 0) process.nextTick(() => this.#taken())
  }

  #taken(): void {
    if (this.#socket.destroyed) return
    this.#pump()
    if (this.#isEnding && this.#waiting.length === 0) this.#endSocket()
    if (this.noteTaken()) this.armDrain()
  }

  protected writeAttached(frame: Uint8Array, attachments: readonly unknown[]): void {
    if (this.#socket.destroyed || this.#isEnding) return
    const pieces = attachedPieces(frame, attachments, this.#handle)
    for (const piece of pieces) this.#waitingBytes += piece.length
    this.#waiting.push(...pieces)
    this.#pump()
  }

  /**
   * Writes everything that was sent, and waits for a slow reader. It is for the moment before the end of the process.
   *
   * @returns whether it was taken; not when the other side is gone, or takes nothing for too long
   */
  flushBeforeExit(): boolean {
    this.flush()
    let silentUntil = performance.now() + SILENT_PEER_MS_MAX
    for (;;) {
      if (this.#socket.destroyed) return false
      const before = this.#waitingBytes
      this.#pump()
      if (this.#waitingBytes === 0) return true
      if (this.#waitingBytes < before) silentUntil = performance.now() + SILENT_PEER_MS_MAX
      // The event loop does not turn any more, so the end of the other side is not seen; its socket tells.
      else if (performance.now() > silentUntil || !ringDoorbell(this.#fd, DOORBELL)) return false
      Atomics.wait(pause, 0, 0, 1)
    }
  }

  // ---- Reading ----

  #rung(bells: Uint8Array): void {
    if (!bells.every(byte => byte === DOORBELL)) {
      this.#fail(
        new ProcessError(
          'ERR_PROTOCOL',
          `Cannot read from the channel: the bytes ${Buffer.from(bells.subarray(0, 8)).toString('hex')} are no doorbell\n` +
            'To fix: let nothing else write to the channel (file descriptor 3 of a child), and use the ' +
            'same version of multiproc on both sides',
        ),
      )
      return
    }
    this.#read()
    this.#taken()
  }

  override expectSoon(): void {
    super.expectSoon()
    // Nobody rings for a side that looks by itself.
    if (this.vigil.isOn && this.#segment.isHeld) this.#in.wakeReader()
  }

  protected override look(): void {
    // Between two turns of the event loop, which take as long as a small task, the ring is looked at all the time. Where
    // messages are expected from others as well, they must not wait for this one.
    if (Vigil.count === 1 && this.#segment.isHeld) this.#in.yieldWhileEmpty(LOOK_MICROSECONDS)
    this.#read()
  }

  protected override lookBeforeSleep(): void {
    this.#read()
  }

  /** Takes everything out of the ring, then says that this side sleeps. */
  #read(): void {
    if (!this.#segment.isHeld) return
    this.#in.wakeReader()
    try {
      do {
        while (this.#isReading && this.#in.length > 0) this.#readSome()
        // The next message is looked for; or it has been said already that it is not wanted.
        if (!this.#isReading || this.vigil.isOn) return
        this.#in.sleepReader()
      } while (this.#in.length > 0)
    } catch (error) {
      this.#fail(error as Error)
    }
  }

  #readSome(): void {
    // A long body is copied to its own memory by the frame reader; everything else is copied out first, together.
    const isLong = this.#reader.bodyBytesLeft >= COPIED_BYTES_MAX
    const view = this.#in.peek(isLong ? this.#reader.bodyBytesLeft : COPIED_BYTES_MAX)
    const count = view.length
    this.#receivedBytes += count
    const chunk = isLong ? view : view.slice()
    if (!isLong) this.#made(count)
    this.#reader.read(chunk, this.#emit)
    if (isLong && this.#segment.isHeld) this.#made(count)
  }

  /** Gives room back. */
  #made(count: number): void {
    this.#in.skip(count)
    if (this.#in.wakeWriter()) this.#ring()
  }

  protected stopReading(): void {
    this.#isReading = false
  }

  protected startReading(): void {
    this.#isReading = true
    this.#read()
  }

  // ---- The end ----

  #fail(error: Error): void {
    this.#error ??= error
    this.#socket.destroy()
  }

  #ended(): void {
    this.#hasEnded = true
    // What the other side wrote before its end is in the ring, also when it was killed.
    this.#isReading = true
    if (this.#error === undefined || isPeerGone(this.#error)) this.#read()
    const wasInsideFrame = this.#reader.isInsideFrame || this.#attached.isInsideMessage
    this.#waiting = []
    this.#waitingBytes = 0
    this.#segment.release()
    discardLentTo(this.#handle)
    if (this.#error !== undefined && !isPeerGone(this.#error)) this.finish(this.#error)
    else if (wasInsideFrame) {
      this.finish(endedInsideMessage())
    } else this.finish()
  }

  protected end(): void {
    this.#isEnding = true
    this.#pump()
    if (this.#waiting.length === 0) this.#endSocket()
  }

  #endSocket(): void {
    this.#socket.end(() => this.#socket.destroy())
  }

  protected destroy(): void {
    if (this.#socket.destroyed) this.#ended()
    else this.#socket.destroy()
  }

  ref(): void {
    this.#socket.ref()
  }

  unref(): void {
    this.#socket.unref()
  }
}

const pause = new Int32Array(new SharedArrayBuffer(4))
