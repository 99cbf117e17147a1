/**
 * Reads the primitives of a frame. Nothing is believed: every length is checked against the bytes that are left
 * before anything is allocated for it.
 */
import { SerializeError } from '../errors.ts'
import { memoryForLargeData } from '../platform/freed-memory.ts'
import type { RawBuffer } from './byte-writer.ts'

const fromCharCode = String.fromCharCode
// Called on plain `Uint8Array`s too, so that no frame has to be wrapped in a Buffer first.
const { latin1Slice, ucs2Slice } = Buffer.prototype as RawBuffer
/** From here on it pays to have memory that is not zeroed first, and used again. */
const LARGE_BYTES_MIN = 64 * 1024
const scratchFloat = new Float64Array(1)
const scratchBytes = new Uint8Array(scratchFloat.buffer)

/** What arrived is not a message of ours, or was cut or changed on the way. */
export function corrupt(detail: string): SerializeError {
  return new SerializeError(
    `Cannot rebuild a value: the received bytes are damaged (${detail})\n` +
      'To fix: make sure that both sides use the same version of multiproc and that nothing else writes to the channel',
    { code: 'ERR_NOT_DESERIALIZABLE' },
  )
}

export class ByteReader {
  protected readonly bytes: Uint8Array
  protected position = 0
  /** The end of what may be read. */
  protected end: number

  constructor(source: Uint8Array) {
    this.bytes = source
    this.end = source.length
  }

  /** Throws unless `count` more bytes are left. */
  need(count: number): void {
    if (count > this.end - this.position)
      throw corrupt(`${count} bytes expected, ${this.end - this.position} left`)
  }

  bytesLeft(): number {
    return this.end - this.position
  }

  readByte(): number {
    if (this.position >= this.end) throw corrupt('it ends too early')
    return this.bytes[this.position++]!
  }

  readCount(): number {
    const first = this.readByte()
    if (first <= 0xfb) return first
    if (first === 0xfc) {
      this.need(2)
      this.position += 2
      return this.bytes[this.position - 2]! | (this.bytes[this.position - 1]! << 8)
    }
    if (first === 0xfd) {
      return this.readInt32() >>> 0
    }
    if (first !== 0xfe) throw corrupt('a count is not one')
    const value = this.readFloat64()
    if (!Number.isSafeInteger(value) || value < 0) throw corrupt('a count is not one')
    return value
  }

  /** A count of things that take at least `bytesEach` bytes each, so it is bounded by what is left. */
  readCountOf(bytesEach: number): number {
    const count = this.readCount()
    if (count * bytesEach > this.end - this.position) throw corrupt(`a count of ${count} does not fit`)
    return count
  }

  readInt32(): number {
    this.need(4)
    const b = this.bytes
    const p = this.position
    this.position = p + 4
    return b[p]! | (b[p + 1]! << 8) | (b[p + 2]! << 16) | (b[p + 3]! << 24)
  }

  readFloat64(): number {
    this.need(8)
    const p = this.position
    this.position = p + 8
    for (let i = 0; i < 8; i++) scratchBytes[i] = this.bytes[p + i]!
    return scratchFloat[0]!
  }

  align(): void {
    const padding = -this.position & 7
    this.need(padding)
    this.position += padding
  }

  /** Text of `length` Latin-1 characters. Calls with one argument per character beat every other way below 13. */
  readLatin1(length: number): string {
    this.need(length)
    const b = this.bytes
    const p = this.position
    this.position = p + length
    switch (length) {
      case 0:
        return ''
      case 1:
        return fromCharCode(b[p]!)
      case 2:
        return fromCharCode(b[p]!, b[p + 1]!)
      case 3:
        return fromCharCode(b[p]!, b[p + 1]!, b[p + 2]!)
      case 4:
        return fromCharCode(b[p]!, b[p + 1]!, b[p + 2]!, b[p + 3]!)
      case 5:
        return fromCharCode(b[p]!, b[p + 1]!, b[p + 2]!, b[p + 3]!, b[p + 4]!)
      case 6:
        return fromCharCode(b[p]!, b[p + 1]!, b[p + 2]!, b[p + 3]!, b[p + 4]!, b[p + 5]!)
      case 7:
        return fromCharCode(b[p]!, b[p + 1]!, b[p + 2]!, b[p + 3]!, b[p + 4]!, b[p + 5]!, b[p + 6]!)
      case 8:
        return fromCharCode(
          b[p]!,
          b[p + 1]!,
          b[p + 2]!,
          b[p + 3]!,
          b[p + 4]!,
          b[p + 5]!,
          b[p + 6]!,
          b[p + 7]!,
        )
      default:
        return latin1Slice.call(this.bytes, p, p + length)
    }
  }

  readUtf16(length: number): string {
    this.need(length * 2)
    const p = this.position
    this.position = p + length * 2
    return ucs2Slice.call(this.bytes, p, p + length * 2)
  }

  /** A copy of the next bytes in memory of its own. */
  readRawCopy(length: number): Uint8Array<ArrayBuffer> {
    this.need(length)
    const copy = length < LARGE_BYTES_MIN ? new Uint8Array(length) : memoryForLargeData(length)
    copy.set(this.bytes.subarray(this.position, this.position + length))
    this.position += length
    return copy
  }

  /** The next bytes where they lie; only for use before `decode()` returns. */
  readRawView(length: number): Uint8Array {
    this.need(length)
    this.position += length
    return this.bytes.subarray(this.position - length, this.position)
  }
}
