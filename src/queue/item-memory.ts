/**
 * Large items are written where their readers will read them: in a segment of their own, which saves a copy. Invariant:
 * a segment that was taken for an item is released when that came to nothing, or belongs to who sends the item.
 */
import { ProcessError } from '../errors.ts'
import { type HeldSegment, allocateSegment } from '../platform/heap-segments.ts'
import { sharedHeap } from '../platform/shared-heap.ts'
import type { LargeMemory } from '../serialize/codec.ts'
import { GROWING_INSIDE_MAX } from './channel-layout.ts'

/** By their memory, which a later segment in the same place can have again. */
const segments = new WeakMap<ArrayBufferLike, HeldSegment>()

/** For items that go into a channel of this process. */
export const itemMemory: LargeMemory = {
  bytesMin: GROWING_INSIDE_MAX,
  allocate(byteLength) {
    if (!sharedHeap().isNative) return undefined
    try {
      const segment = allocateSegment(byteLength)
      segments.set(segment.buffer, segment)
      return Buffer.from(segment.buffer as ArrayBuffer, 0, byteLength)
    } catch (error) {
      // Who sends the item needs a segment for it, and says so.
      if (error instanceof ProcessError) return undefined
      throw error
    }
  },
  free(buffer) {
    segmentOf(buffer)?.release()
  },
}

/** The segment in which an item was written, once: it is the caller's from now on. */
export function segmentOf(buffer: ArrayBufferLike): HeldSegment | undefined {
  const segment = segments.get(buffer)
  if (segment !== undefined) segments.delete(buffer)
  return segment
}
