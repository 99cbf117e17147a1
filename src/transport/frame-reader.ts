/**
 * Cuts a stream of byte chunks into frames. Linear in the bytes received, whatever the chunk sizes; memory for a
 * long frame is taken as its bytes arrive, so that a false length costs nothing. Emitted bytes are never reused.
 */
import { MAX_FRAME_BYTES } from './connection.ts'
import { HEADER_BYTES, isAttachedHeader, readHeader } from './frame-format.ts'

/** First allocation for a long frame; it grows fourfold as bytes really arrive. */
const FIRST_BODY_BYTES = 16 * 1024 * 1024

/** Receives the frames; `isAttached`: it begins with a table of large data. */
type Emit = (frame: Uint8Array, isAttached: boolean) => void

export class FrameReader {
  readonly #maxFrameBytes: number
  readonly #header = new Uint8Array(HEADER_BYTES)
  #headerFilled = 0
  #body: Uint8Array | undefined
  #bodyLength = 0
  #bodyFilled = 0
  #isAttached = false

  constructor({ maxFrameBytes = MAX_FRAME_BYTES }: { maxFrameBytes?: number } = {}) {
    this.#maxFrameBytes = maxFrameBytes
  }

  /** Whether the stream so far ends inside a frame. */
  get isInsideFrame(): boolean {
    return this.#headerFilled > 0 || this.#body !== undefined
  }

  /** How many bytes are missing of the body that it is in the middle of. */
  get bodyBytesLeft(): number {
    return this.#body === undefined ? 0 : this.#bodyLength - this.#bodyFilled
  }

  /** Takes the next chunk and calls `emit` for every frame that it completes. Throws `ERR_PROTOCOL` on garbage. */
  read(chunk: Uint8Array, emit: Emit): void {
    let offset = 0
    while (offset < chunk.length) {
      if (this.#body !== undefined) {
        offset = this.#readBody(chunk, offset, emit)
      } else if (this.#headerFilled > 0 || chunk.length - offset < HEADER_BYTES) {
        offset = this.#readSplitHeader(chunk, offset, emit)
      } else {
        const length = readHeader(chunk, offset, this.#maxFrameBytes)
        this.#isAttached = isAttachedHeader(chunk, offset)
        offset += HEADER_BYTES
        const end = offset + length
        if (end <= chunk.length) {
          emit(chunk.subarray(offset, end), this.#isAttached)
          offset = end
        } else {
          this.#beginBody(length)
        }
      }
    }
  }

  #readSplitHeader(chunk: Uint8Array, offset: number, emit: Emit): number {
    const taken = Math.min(chunk.length - offset, HEADER_BYTES - this.#headerFilled)
    this.#header.set(chunk.subarray(offset, offset + taken), this.#headerFilled)
    this.#headerFilled += taken
    if (this.#headerFilled === HEADER_BYTES) {
      this.#headerFilled = 0
      const length = readHeader(this.#header, 0, this.#maxFrameBytes)
      this.#isAttached = isAttachedHeader(this.#header, 0)
      if (length === 0) emit(new Uint8Array(), this.#isAttached)
      else this.#beginBody(length)
    }
    return offset + taken
  }

  #beginBody(length: number): void {
    this.#body = Buffer.allocUnsafeSlow(Math.min(length, FIRST_BODY_BYTES))
    this.#bodyLength = length
    this.#bodyFilled = 0
  }

  #readBody(chunk: Uint8Array, offset: number, emit: Emit): number {
    let body = this.#body!
    const taken = Math.min(chunk.length - offset, this.#bodyLength - this.#bodyFilled)
    if (this.#bodyFilled + taken > body.length) {
      const larger = Buffer.allocUnsafeSlow(
        Math.min(this.#bodyLength, Math.max(body.length * 4, this.#bodyFilled + taken)),
      )
      larger.set(body.subarray(0, this.#bodyFilled))
      body = this.#body = larger
    }
    body.set(chunk.subarray(offset, offset + taken), this.#bodyFilled)
    this.#bodyFilled += taken
    if (this.#bodyFilled === this.#bodyLength) {
      this.#body = undefined
      emit(body, this.#isAttached)
    }
    return offset + taken
  }
}
