/**
 * Messages as bytes, as Python's `Connection` writes them: the length, then the body. A length is believed only as far
 * as bytes really arrive, and never beyond the limit.
 */
import { ProcessError } from '../errors.ts'

const SHORT_HEADER_BYTES = 4
/** -1 as a length, and the length in 8 bytes. */
const LONG_HEADER_BYTES = 12
const SHORT_LENGTH_MAX = 0x7fffffff
/** Messages up to this length are copied behind their header, so that both leave in one packet. As in Python. */
const JOINED_BYTES_MAX = 16_384

function headerOf(length: number): Buffer {
  if (length <= SHORT_LENGTH_MAX) {
    const header = Buffer.alloc(SHORT_HEADER_BYTES)
    header.writeInt32BE(length)
    return header
  }
  const header = Buffer.alloc(LONG_HEADER_BYTES)
  header.writeInt32BE(-1)
  header.writeBigUInt64BE(BigInt(length), SHORT_HEADER_BYTES)
  return header
}

/** What to write for a message. */
export function messagePieces(body: Uint8Array): Uint8Array[] {
  if (body.length > JOINED_BYTES_MAX) return [headerOf(body.length), body]
  const joined = Buffer.allocUnsafe(SHORT_HEADER_BYTES + body.length)
  joined.writeInt32BE(body.length)
  joined.set(body, SHORT_HEADER_BYTES)
  return [joined]
}

const NOTHING = Buffer.alloc(0)
/** First allocation for a message of several chunks; it grows fourfold as bytes really arrive. */
const FIRST_BODY_BYTES = 1024 * 1024

/**
 * Cuts a stream of chunks into messages. Linear in the bytes received in time and in memory, whatever the sizes of the
 * chunks.
 */
export class MessageReader {
  readonly #messageBytesMax: number
  readonly #header = Buffer.alloc(LONG_HEADER_BYTES)
  #headerFilled = 0
  /** Set inside a message; it grows up to `#bodyLength`. */
  #body: Buffer | undefined
  #bodyLength = 0
  #bodyFilled = 0

  constructor(messageBytesMax: number) {
    this.#messageBytesMax = messageBytesMax
  }

  /** Whether the stream so far ends inside a message. */
  get isInsideMessage(): boolean {
    return this.#headerFilled > 0 || this.#body !== undefined
  }

  /** The bytes of the message that it is in the middle of, for a reader elsewhere that goes on. */
  get begunBytes(): Buffer {
    if (this.#body === undefined) return Buffer.from(this.#header.subarray(0, this.#headerFilled))
    return Buffer.concat([headerOf(this.#bodyLength), this.#body.subarray(0, this.#bodyFilled)])
  }

  /**
   * Takes the next chunk, and calls `emit` for every message that it completes. A message may be a part of the chunk.
   *
   * @throws ProcessError `ERR_PROTOCOL` for what is no length, `ERR_LIMIT` for a message that is too long. There is no
   * way on after that.
   */
  read(chunk: Buffer, emit: (message: Buffer) => void): void {
    let offset = 0
    while (offset < chunk.length) {
      if (this.#body === undefined) offset = this.#readHeader(chunk, offset, emit)
      else offset = this.#readBody(chunk, offset, emit)
    }
  }

  #readBody(chunk: Buffer, offset: number, emit: (message: Buffer) => void): number {
    const end = offset + this.#bodyLength - this.#bodyFilled
    if (this.#bodyFilled === 0 && end <= chunk.length) {
      this.#body = undefined
      emit(chunk.subarray(offset, end))
      return end
    }
    const taken = Math.min(chunk.length, end) - offset
    const filled = this.#bodyFilled + taken
    let body = this.#body!
    if (filled > body.length) {
      const byteLength = Math.min(this.#bodyLength, Math.max(FIRST_BODY_BYTES, body.length * 4, filled))
      const larger = Buffer.allocUnsafeSlow(byteLength)
      body.copy(larger, 0, 0, this.#bodyFilled)
      body = this.#body = larger
    }
    chunk.copy(body, this.#bodyFilled, offset, offset + taken)
    this.#bodyFilled = filled
    if (filled === this.#bodyLength) {
      this.#body = undefined
      emit(body)
    }
    return offset + taken
  }

  #readHeader(chunk: Buffer, offset: number, emit: (message: Buffer) => void): number {
    const isLong = this.#headerFilled >= SHORT_HEADER_BYTES
    const wanted = (isLong ? LONG_HEADER_BYTES : SHORT_HEADER_BYTES) - this.#headerFilled
    const taken = chunk.copy(
      this.#header,
      this.#headerFilled,
      offset,
      Math.min(chunk.length, offset + wanted),
    )
    this.#headerFilled += taken
    if (taken === wanted) {
      const short = this.#header.readInt32BE()
      if (isLong) this.#begin(Number(this.#header.readBigUInt64BE(SHORT_HEADER_BYTES)), emit)
      else if (short !== -1) this.#begin(short, emit)
    }
    return offset + taken
  }

  #begin(length: number, emit: (message: Buffer) => void): void {
    this.#headerFilled = 0
    if (length < 0) {
      throw new ProcessError(
        'ERR_PROTOCOL',
        `Cannot read from the connection: ${length} is no length of a message\n` +
          'To fix: see that multiproc, or sendBytes() of Python, is on the other side, and that one side does not use TLS alone',
      )
    }
    if (length > this.#messageBytesMax) {
      throw new ProcessError(
        'ERR_LIMIT',
        `Cannot read from the connection: a message of ${length} bytes was announced, and the limit is ${this.#messageBytesMax}\n` +
          'To fix: send the data in smaller pieces, or allow more with "maxMessageSize"',
      )
    }
    if (length === 0) {
      emit(Buffer.alloc(0))
      return
    }
    this.#body = NOTHING
    this.#bodyLength = length
    this.#bodyFilled = 0
  }
}
