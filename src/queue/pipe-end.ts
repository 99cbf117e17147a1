/**
 * An end of a pipe as the members of the heap see it: a block, which whoever has the end open holds. So the block also
 * tells the other end when nobody can have this one any more, whatever became of those who had it. See "Pipe" in
 * README.md.
 */
import { usedForMs } from '../platform/block-holders.ts'
import { type BlockHandle, type HeldBlock, type SharedHeap, sharedHeap } from '../platform/shared-heap.ts'

/** Which of the two. */
export type End = 0 | 1

export const PIPE_END_KIND = 34
/**
 * So long an end that nobody has open counts as open while its handle is on its way. The handle may have got lost, with
 * a receiver that was killed before it had read the message or with a queue that nobody has any more. Nobody can tell
 * such a message from one that waits, and who waits for the other end must not do so for ever.
 */
const ON_ITS_WAY_SECONDS = 30

export class PipeEnd {
  readonly heap: SharedHeap
  /** Of the other end. It is not held here: that would have it count as open. */
  readonly other: BlockHandle
  readonly #block: HeldBlock

  private constructor(heap: SharedHeap, block: HeldBlock, other: BlockHandle) {
    this.heap = heap
    this.#block = block
    this.other = other
  }

  /** Both ends of a new pipe, open here. */
  static createBoth(): [PipeEnd, PipeEnd] {
    const heap = sharedHeap()
    const first = heap.allocate(PIPE_END_KIND)
    try {
      const second = heap.allocate(PIPE_END_KIND)
      return [new PipeEnd(heap, first, second.handle), new PipeEnd(heap, second, first.handle)]
    } catch (error) {
      first.release()
      throw error
    }
  }

  /**
   * Opens it here, too.
   *
   * @throws ClosedError when nobody kept it until the handle arrived here.
   */
  static attach(handle: BlockHandle, other: BlockHandle): PipeEnd {
    const heap = sharedHeap()
    return new PipeEnd(heap, heap.attach(handle, PIPE_END_KIND), other)
  }

  get handle(): BlockHandle {
    return this.#block.handle
  }

  /**
   * For how long the other end is open, as things are: `Infinity` while anybody has it open, the rest of its time while
   * it is on its way, 0 when it is closed.
   */
  get otherOpenMs(): number {
    return usedForMs(this.heap.words, this.other, ON_ITS_WAY_SECONDS)
  }

  /** Closes it here. */
  close(): void {
    this.#block.release()
  }
}
