/**
 * A stream of bytes in one direction through shared memory, with one writer and one reader (see "Ring" in README.md).
 * Invariant: the writer alone moves `head`, the reader alone moves `tail`; bytes lie between them, and a byte is
 * complete before `head` passes it, so that a writer which is killed leaves whole bytes or none.
 *
 * Four words, each on a cache line of its own: head, tail, whether the reader sleeps, whether the writer wants to hear
 * of room. Head and tail count bytes modulo 2^32.
 */
import { ProcessError } from '../errors.ts'
import { yieldWhile } from '../platform/yield-while.ts'

export const RING_HEADER_BYTES = 256
const HEAD = 0
const TAIL = 16
const READER_SLEEPS = 32
const WRITER_WAITS = 48

export class ByteRing {
  readonly #words: Int32Array
  readonly #bytes: Uint8Array
  readonly #capacity: number

  /** @param capacity - a power of two; the ring takes {@link RING_HEADER_BYTES} more, all zeros at first */
  constructor(buffer: ArrayBufferLike, offset: number, capacity: number) {
    this.#words = new Int32Array(buffer, offset, RING_HEADER_BYTES / 4)
    this.#bytes = new Uint8Array(buffer, offset + RING_HEADER_BYTES, capacity)
    this.#capacity = capacity
  }

  /** For a new pair: the memory may have been used before. */
  clear(): void {
    this.#words.fill(0)
  }

  /** Bytes that were written and not yet read. Throws `ERR_PROTOCOL` when the other side wrote nonsense. */
  get length(): number {
    const length = (Atomics.load(this.#words, HEAD) - Atomics.load(this.#words, TAIL)) >>> 0
    if (length <= this.#capacity) return length
    throw new ProcessError(
      'ERR_PROTOCOL',
      `Cannot read from the channel: its ring holds ${length} bytes, and has room for ${this.#capacity}\n` +
        'To fix: let nothing else write to shared memory of multiproc, and report it as a bug if nothing does',
    )
  }

  get isFull(): boolean {
    return this.length === this.#capacity
  }

  /** Writes as much of `bytes` from `start` on as there is room for, and gives the number of bytes. */
  write(bytes: Uint8Array, start = 0): number {
    const count = Math.min(bytes.length - start, this.#capacity - this.length)
    if (count === 0) return 0
    const head = this.#words[HEAD]!
    const at = head & (this.#capacity - 1)
    const first = Math.min(count, this.#capacity - at)
    this.#bytes.set(bytes.subarray(start, start + first), at)
    if (first < count) this.#bytes.set(bytes.subarray(start + first, start + count), 0)
    Atomics.store(this.#words, HEAD, (head + count) | 0)
    return count
  }

  /** Writes `length` bytes by `fill`, or nothing and returns false where they have no room in one piece. */
  writeInPlace(length: number, fill: (target: Uint8Array) => void): boolean {
    const head = this.#words[HEAD]!
    const at = head & (this.#capacity - 1)
    if (length > this.#capacity - this.length || length > this.#capacity - at) return false
    fill(this.#bytes.subarray(at, at + length))
    Atomics.store(this.#words, HEAD, (head + length) | 0)
    return true
  }

  /** The next bytes, up to `max` and to the end of the memory, as a view of the ring; `skip()` gives their room back. */
  peek(max: number): Uint8Array {
    const at = this.#words[TAIL]! & (this.#capacity - 1)
    const count = Math.min(this.length, max, this.#capacity - at)
    return this.#bytes.subarray(at, at + count)
  }

  /** By the reader: waits for the next bytes without sleeping, for so many microseconds at most. */
  yieldWhileEmpty(microseconds: number): void {
    const tail = this.#words[TAIL]!
    if (Atomics.load(this.#words, HEAD) === tail) yieldWhile(this.#words, HEAD, tail, microseconds)
  }

  skip(count: number): void {
    Atomics.store(this.#words, TAIL, (this.#words[TAIL]! + count) | 0)
  }

  // ---- Doorbells: whoever sleeps says so first and looks once more afterwards ----

  sleepReader(): void {
    Atomics.store(this.#words, READER_SLEEPS, 1)
  }

  /** By the writer, after writing: whether the reader has to be woken. By the reader: it is awake. */
  wakeReader(): boolean {
    return Atomics.exchange(this.#words, READER_SLEEPS, 0) === 1
  }

  sleepWriter(): void {
    Atomics.store(this.#words, WRITER_WAITS, 1)
  }

  /** By the reader, after reading: whether the writer has to be woken. */
  wakeWriter(): boolean {
    return Atomics.exchange(this.#words, WRITER_WAITS, 0) === 1
  }
}
