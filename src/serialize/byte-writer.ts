/**
 * A growable run of bytes with the few primitives that the value writer needs. Finished messages are carved out of
 * shared slabs, so a finished message never changes and small ones cost no allocation of their own.
 */

/** The single-encoding methods of Buffer: they skip the option parsing of `write` and `toString`. */
export interface RawBuffer extends Buffer {
  latin1Write(text: string, offset: number, length?: number): number
  ucs2Write(text: string, offset: number, length?: number): number
  latin1Slice(start: number, end: number): string
  ucs2Slice(start: number, end: number): string
}

/** Fewer bytes are copied one by one, which is cheaper than to call set(). */
const COPIED_BY_BYTE = 64
const SLAB_BYTES = 64 * 1024
/** A slab with less room than this is left to its messages and a new one is started. */
const MIN_ROOM_BYTES = 1024
/** Beyond this a message grows by what it needs, not by doubling: the pages of a big frame are dear. */
const DOUBLING_LIMIT_BYTES = 4 * 1024 * 1024
/** A one-byte string is answered at once: V8 drops the branch that cannot match in one-byte text. */
const BEYOND_LATIN1 = /[^\0-\u00ff]/

export function isLatin1(text: string): boolean {
  return !BEYOND_LATIN1.test(text)
}

export class ByteWriter {
  protected bytes: RawBuffer
  protected view: DataView
  protected position = 0
  protected start = 0
  private capacity = 0

  constructor() {
    this.bytes = Buffer.allocUnsafeSlow(SLAB_BYTES) as RawBuffer
    this.view = new DataView(this.bytes.buffer)
    this.capacity = SLAB_BYTES
  }

  /** Starts a message at an 8-byte boundary, so that its columns are aligned in the sender's memory. */
  protected begin(): void {
    this.position = (this.position + 7) & ~7
    if (this.capacity - this.position < MIN_ROOM_BYTES) this.replaceSlab(SLAB_BYTES, 0)
    this.start = this.position
  }

  /** Gives the message away; the next one starts behind it. */
  protected finish(): Uint8Array<ArrayBuffer> {
    const message = new Uint8Array(this.bytes.buffer as ArrayBuffer, this.start, this.position - this.start)
    // A big message keeps its memory for itself: a later small one must not pin it.
    if (this.capacity > SLAB_BYTES) this.replaceSlab(SLAB_BYTES, 0)
    this.start = this.position
    return message
  }

  /** Forgets what was written since `begin()`. */
  protected abandon(): void {
    this.position = this.start
    if (this.capacity > SLAB_BYTES) {
      const old = this.bytes
      this.replaceSlab(SLAB_BYTES, 0)
      this.giveBack(old)
    }
    this.start = this.position
  }

  /** Memory for so many bytes, from the start of a buffer. */
  protected memoryFor(byteLength: number): RawBuffer {
    return Buffer.allocUnsafeSlow(byteLength) as RawBuffer
  }

  /** What is written will not become a message there. */
  protected giveBack(_memory: RawBuffer): void {}

  private replaceSlab(size: number, keep: number): void {
    const bytes = this.memoryFor(size)
    if (keep > 0) bytes.set(this.bytes.subarray(this.start, this.start + keep))
    this.bytes = bytes
    this.view = new DataView(bytes.buffer)
    this.capacity = size
    this.start = 0
    this.position = keep
  }

  /** Makes room for `count` more bytes. */
  reserve(count: number): void {
    if (this.position + count > this.capacity) this.grow(count)
  }

  private grow(count: number): void {
    const written = this.position - this.start
    const needed = written + count + 16
    // As much again as was written, not as what comes now: behind one large piece there is seldom another.
    const spare = needed <= DOUBLING_LIMIT_BYTES ? Math.max(SLAB_BYTES, written) : Math.floor(written / 2)
    const old = this.bytes
    this.replaceSlab(needed + spare, written)
    this.giveBack(old)
  }

  writeByte(value: number): void {
    if (this.position + 1 > this.capacity) this.grow(1)
    this.bytes[this.position++] = value
  }

  /** Two bytes, of which the first is a tag. */
  writeTagged(tag: number, value: number): void {
    if (this.position + 2 > this.capacity) this.grow(2)
    this.bytes[this.position++] = tag
    this.bytes[this.position++] = value
  }

  /** A count or length: one byte up to 0xfb, else a marker and 2, 4 or 8 bytes. */
  writeCount(value: number): void {
    if (this.position + 9 > this.capacity) this.grow(9)
    if (value <= 0xfb) this.bytes[this.position++] = value
    else if (value <= 0xffff) {
      this.bytes[this.position] = 0xfc
      this.view.setUint16(this.position + 1, value, true)
      this.position += 3
    } else if (value <= 0xffffffff) {
      this.bytes[this.position] = 0xfd
      this.view.setUint32(this.position + 1, value, true)
      this.position += 5
    } else {
      this.bytes[this.position] = 0xfe
      this.view.setFloat64(this.position + 1, value, true)
      this.position += 9
    }
  }

  writeFloat64(value: number): void {
    this.reserve(8)
    this.view.setFloat64(this.position, value, true)
    this.position += 8
  }

  /** Pads with zeros until the offset in the message is a multiple of 8. */
  align(): void {
    this.reserve(8)
    while (((this.position - this.start) & 7) !== 0) this.bytes[this.position++] = 0
  }

  /** Copies raw bytes, once. */
  writeRaw(source: Uint8Array): void {
    const count = source.length
    this.reserve(count)
    if (count < COPIED_BY_BYTE) {
      const { bytes, position } = this
      for (let i = 0; i < count; i++) bytes[position + i] = source[i]!
    } else this.bytes.set(source, this.position)
    this.position += count
  }

  /** Bytes of text that is known to be Latin-1. */
  writeLatin1(text: string): void {
    this.reserve(text.length)
    this.bytes.latin1Write(text, this.position, text.length)
    this.position += text.length
  }

  writeUtf16(text: string): void {
    const length = text.length * 2
    this.reserve(length)
    this.bytes.ucs2Write(text, this.position, length)
    this.position += length
  }
}
