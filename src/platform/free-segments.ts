/** The memory that free segments keep for the next who asks: how much of it there is in all, whoever let them go. */
import { BLOCK, HEADER, PAGE_BYTES, SEGMENT, SEGMENT_KIND, WARM_BYTES_MAX, blockAt } from './heap-layout.ts'
import type { SharedHeap } from './shared-heap.ts'

/**
 * Gives back what is too much. Whoever ended has left the memory that it kept to be used again, beside what others keep:
 * together they keep no more than one alone may.
 */
export function trimFreeSegments(heap: SharedHeap): void {
  const { words } = heap
  const limit = Atomics.load(words, HEADER.blockLimit)
  let bytes = 0
  for (let index = 0; index < limit; index++) {
    const at = blockAt(index)
    if (Atomics.load(words, at + BLOCK.kind) !== SEGMENT_KIND || !heap.isFree({ index })) continue
    bytes += words[at + BLOCK.payload + SEGMENT.providedPages]! * PAGE_BYTES
    if (bytes > WARM_BYTES_MAX) heap.discardIfFree({ index })
  }
}
