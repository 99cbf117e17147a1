/**
 * A connection over a stream socket: to a child process over a file descriptor of its own.
 * A write that fails because the peer is dying never costs what the peer had said before: reading goes on to the
 * end of the stream.
 */
import type { Socket } from 'node:net'
import { OWNS_BEGUN_WRITES, finishBegunWrites, writeFully } from '../platform/synchronous-output.ts'
import { AttachedFrameReader, attachedPieces } from './attached-frame.ts'
import { BufferedConnection } from './buffered-connection.ts'
import { endedInsideMessage } from './connection-errors.ts'
import { gatherFrames } from './frame-format.ts'
import { FrameReader } from './frame-reader.ts'
import { isPeerGone } from './peer-gone.ts'

/** How long a process that ends waits for a peer that reads nothing. */
const SILENT_PEER_MS_MAX = 10_000

export class SocketConnection extends BufferedConnection {
  readonly canAttach = false
  readonly #socket: Socket
  readonly #reader: FrameReader
  readonly #writes: WatchedWrites
  #error: Error | undefined
  #receivedBytes = 0
  readonly #noteTaken = (): void => {
    this.noteKept()
    this.noteTaken()
  }
  readonly #attached = new AttachedFrameReader(undefined, (bytes, items) => this.deliver(bytes, items))
  readonly #emit = (frame: Uint8Array, isAttached: boolean): void => {
    if (!this.#attached.take(frame, isAttached)) this.deliver(frame)
  }

  /** Takes over an open socket; nothing else may read, write or close it from now on. */
  constructor(socket: Socket, { maxFrameBytes }: { maxFrameBytes?: number } = {}) {
    super()
    this.#socket = socket
    this.#reader = new FrameReader(maxFrameBytes === undefined ? {} : { maxFrameBytes })
    this.#writes = new WatchedWrites(socket)
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', error => {
      this.#error ??= error
    })
    socket.once('close', () => this.#ended())
    if (socket.destroyed) process.nextTick(() => this.#ended())
  }

  /** Bytes received so far: lets an owner tell a slow end from a silent one. */
  get receivedBytes(): number {
    return this.#receivedBytes
  }

  protected get writtenBytes(): number {
    return this.#socket.writableLength
  }

  // What the system has taken outlives this process.
  protected get losableWrittenBytes(): number {
    return this.#socket.writableLength
  }

  protected write(frames: readonly Uint8Array[]): void {
    this.#write(gatherFrames(frames))
  }

  protected writeAttached(frame: Uint8Array, attachments: readonly unknown[]): void {
    this.#write(attachedPieces(frame, attachments, undefined))
  }

  #write(pieces: readonly Uint8Array[]): void {
    const socket = this.#socket
    if (socket.destroyed || socket.writableEnded) return
    if (pieces.length === 1) {
      this.#writes.write(pieces[0]!, this.#noteTaken)
      return
    }
    socket.cork()
    for (const piece of pieces) this.#writes.write(piece, this.#noteTaken)
    socket.uncork()
  }

  /**
   * Writes everything that was sent, and waits for the system to take it. It is for the moment before the end of the
   * process: nothing can be sent afterwards.
   *
   * @returns whether it was taken; not when the other side is gone, or takes nothing for too long
   */
  flushBeforeExit(fd: number): boolean {
    this.flush()
    if (this.#socket.destroyed) return false
    if (this.#writes.isEmpty) return true
    try {
      const isTaken = writeFully(fd, this.#writes.rest, { patienceMs: SILENT_PEER_MS_MAX })
      if (isTaken) finishBegunWrites(fd)
      return isTaken
    } catch (error) {
      if (isPeerGone(error as Error)) return false
      throw error
    }
  }

  #read(chunk: Buffer): void {
    this.#receivedBytes += chunk.length
    try {
      // Cutting pieces off a Buffer calls functions of Node.js; off an array of bytes, none.
      this.#reader.read(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length), this.#emit)
    } catch (error) {
      // Behind garbage there is no way back to a frame border.
      this.#error ??= error as Error
      this.#socket.destroy()
    }
  }

  #ended(): void {
    if (this.#error !== undefined && !isPeerGone(this.#error)) this.finish(this.#error)
    else if (this.#reader.isInsideFrame || this.#attached.isInsideMessage) {
      this.finish(endedInsideMessage())
    } else this.finish()
  }

  protected end(): void {
    this.#socket.end(() => this.#socket.destroy())
  }

  protected destroy(): void {
    if (this.#socket.destroyed) this.#ended()
    else this.#socket.destroy()
  }

  protected stopReading(): void {
    this.#socket.pause()
  }

  protected startReading(): void {
    this.#socket.resume()
  }

  ref(): void {
    this.#socket.ref()
  }

  unref(): void {
    this.#socket.unref()
  }
}

/** The hooks that a stream calls to write, and what they are given. */
type WriteDone = (error?: Error | null) => void
type WriteChunk = { chunk: Uint8Array; encoding: BufferEncoding }

/**
 * What a socket writes, watched from below the stream, for two reasons.
 *
 * A child sends its last results and dies; this process writes to it before it has read them. The write fails with
 * EPIPE, and a net.Socket then destroys itself, unread data included. So such a failure is not passed on to the
 * stream: the bytes are dropped, and the end of the stream comes from reading, as always.
 *
 * A child calls process.exit() while its socket is full. Node drops what it had not written; it is known here, and
 * can be written before the end.
 */
class WatchedWrites {
  readonly #socket: Socket
  /** Everything that was given to the stream and has not been written, in order. */
  #unwritten: Uint8Array[] = []
  /** How many of them the system is writing now. */
  #inFlight = 0

  constructor(socket: Socket) {
    this.#socket = socket
    const write = socket._write.bind(socket)
    socket._write = (chunk: Uint8Array, encoding, done) => {
      this.#inFlight = 1
      write(chunk, encoding, this.#whenDone(done))
    }
    const writev = socket._writev?.bind(socket)
    if (writev === undefined) return
    socket._writev = (chunks: WriteChunk[], done) => {
      this.#inFlight = chunks.length
      writev(chunks, this.#whenDone(done))
    }
  }

  #whenDone(done: WriteDone): WriteDone {
    return error => {
      this.#unwritten.splice(0, this.#inFlight)
      this.#inFlight = 0
      if (error && isPeerGone(error)) done()
      else done(error)
    }
  }

  write(piece: Uint8Array, done: () => void): void {
    this.#unwritten.push(piece)
    this.#socket.write(piece, done)
  }

  get isEmpty(): boolean {
    return this.#unwritten.length === 0
  }

  /**
   * The bytes that the system has not got yet. Of the write in progress it has a part already, and its handle knows
   * how much is left; or all of it, and would get it twice.
   */
  get rest(): Uint8Array {
    if (OWNS_BEGUN_WRITES) return Buffer.concat(this.#unwritten.slice(this.#inFlight))
    const inFlight = Buffer.concat(this.#unwritten.slice(0, this.#inFlight))
    const { _handle: handle } = this.#socket as unknown as { _handle?: { writeQueueSize?: number } | null }
    const left = handle?.writeQueueSize ?? 0
    return Buffer.concat([
      inFlight.subarray(inFlight.length - left),
      ...this.#unwritten.slice(this.#inFlight),
    ])
  }
}
