/**
 * The pages behind the control part of a shared heap: set aside, provided by the system, mapped, copied into and out of,
 * and given back. The words of a segment's block say which are its own (`SEGMENT` in heap-layout.ts).
 */
import type { HeapBackend } from './heap-backend.ts'
import { HEADER, HEAP_BYTES_MAX, PAGE_BYTES, PAGES_START_BYTES, SEGMENT } from './heap-layout.ts'
import type { HeldBlock } from './shared-heap.ts'
import { systemError } from './system-error.ts'

export class HeapPages {
  readonly #backend: HeapBackend
  readonly #words: Int32Array

  constructor(backend: HeapBackend, words: Int32Array) {
    this.#backend = backend
    this.#words = words
  }

  /** Sets pages aside for ever. They cost no memory before they are used; `undefined` when there are no more. */
  setAside(count: number): number | undefined {
    for (;;) {
      const first = Atomics.load(this.#words, HEADER.pageLimit)
      if (first + count > (HEAP_BYTES_MAX - PAGES_START_BYTES) / PAGE_BYTES) return undefined
      if (Atomics.compareExchange(this.#words, HEADER.pageLimit, first, first + count) === first) return first
    }
  }

  /** Maps so many bytes from a page on. */
  mapFrom(firstPage: number, byteLength: number): ArrayBufferLike {
    return this.#backend.map(PAGES_START_BYTES + firstPage * PAGE_BYTES, byteLength)
  }

  /** Puts empty pages in the place of a mapping. Returns whether this system can. */
  unmap(buffer: ArrayBufferLike): boolean {
    return this.#backend.unmap(buffer)
  }

  /** Has the system provide the first pages of a segment: 0, or the error number. */
  provide(block: HeldBlock, count: number, { isLazy = false } = {}): number {
    const words = this.#words
    const provided = words[block.base + SEGMENT.providedPages]!
    if (count <= provided) return 0
    const first = words[block.base + SEGMENT.firstPage]! + provided
    const offset = PAGES_START_BYTES + first * PAGE_BYTES
    const error = isLazy ? 0 : this.#backend.reserve(offset, (count - provided) * PAGE_BYTES)
    if (error === 0) words[block.base + SEGMENT.providedPages] = count
    return error
  }

  /** Copies data to the start of a segment; throws what the system says. */
  put(block: HeldBlock, data: Uint8Array): void {
    this.#words[block.base + SEGMENT.isUsed] = 1
    const error = this.#backend.put(this.#startOf(block), data)
    if (error !== 0) throw systemError('write', error)
  }

  /** Fills `target` from the start of a segment. */
  take(block: HeldBlock, target: Uint8Array): void {
    const error = this.#backend.take(this.#startOf(block), target)
    if (error !== 0) throw systemError('read', error)
  }

  /** Whether a segment starts with these bytes. */
  matches(block: HeldBlock, data: Uint8Array): boolean {
    return this.#backend.matches(this.#startOf(block), data)
  }

  /** For fresh memory that is used by `put()` and `take()` alone: its first use then costs a tenth. */
  populate(block: HeldBlock): void {
    const pages = this.#words[block.base + SEGMENT.providedPages]!
    this.#backend.populate(this.#startOf(block), pages * PAGE_BYTES)
  }

  #startOf({ base }: HeldBlock): number {
    return PAGES_START_BYTES + this.#words[base + SEGMENT.firstPage]! * PAGE_BYTES
  }

  /** Gives the memory of a segment back to the system; it reads zeros afterwards. A system may not take it. */
  discard(block: HeldBlock): void {
    const words = this.#words
    const first = words[block.base + SEGMENT.firstPage]!
    const count = words[block.base + SEGMENT.providedPages]!
    // What is not taken keeps its contents: `isUsed` goes on saying so to whoever needs zeros.
    if (count > 0 && this.#backend.discard(PAGES_START_BYTES + first * PAGE_BYTES, count * PAGE_BYTES) !== 0)
      return
    words[block.base + SEGMENT.providedPages] = 0
    words[block.base + SEGMENT.isUsed] = 0
  }
}
