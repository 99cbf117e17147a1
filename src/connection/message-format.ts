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

/** What to write for a message. */
export function messagePieces(body: Uint8Array): Uint8Array[] {
  if (body.length > SHORT_LENGTH_MAX) {
    const header = Buffer.alloc(LONG_HEADER_BYTES)
    header.writeInt32BE(-1)
    header.writeBigUInt64BE(BigInt(body.length), SHORT_HEADER_BYTES)
    return [header, body]
  }
  const isJoined = body.length <= JOINED_BYTES_MAX
  const first = Buffer.allocUnsafe(SHORT_HEADER_BYTES + (isJoined ? body.length : 0))
  first.writeInt32BE(body.length)
  if (!isJoined) return [first, body]
  first.set(body, SHORT_HEADER_BYTES)
  return [first]
}

/** Cuts a stream of chunks into messages. Linear in the bytes received, whatever the sizes of the chunks. */
export class MessageReader {
  readonly #messageBytesMax: number
  readonly #header = Buffer.alloc(LONG_HEADER_BYTES)
  #headerFilled = 0
  #pieces: Buffer[] | undefined
  #missingBytes = 0

  constructor(messageBytesMax: number) {
    this.#messageBytesMax = messageBytesMax
  }

  /** Whether the stream so far ends inside a message. */
  get isInsideMessage(): boolean {
    return this.#headerFilled > 0 || this.#pieces !== undefined
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
      if (this.#pieces === undefined) {
        offset = this.#readHeader(chunk, offset, emit)
        continue
      }
      const end = Math.min(chunk.length, offset + this.#missingBytes)
      const piece = chunk.subarray(offset, end)
      this.#missingBytes -= piece.length
      offset = end
      this.#pieces.push(piece)
      if (this.#missingBytes > 0) continue
      const [first, ...more] = this.#pieces
      this.#pieces = undefined
      emit(more.length === 0 ? first! : Buffer.concat([first!, ...more]))
    }
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
    this.#pieces = []
    this.#missingBytes = length
  }
}
