/**
 * Large items are written where their readers will read them: in a segment of their own, which saves a copy. Invariant:
 * a segment that was taken for an item is released when that came to nothing, or belongs to who sends the item.
 */
import { ProcessError } from '../errors.ts'
import { type HeldSegment, allocateSegment } from '../platform/heap-segments.ts'
import { moveMessage, unsendMessage } from '../platform/in-flight.ts'
import { sharedHeap } from '../platform/shared-heap.ts'
import type { LargeMemory } from '../serialize/codec.ts'
import { GROWING_INSIDE_MAX } from './channel-layout.ts'
import { allocateItem } from './ring-memory.ts'

/** An item that is too large for the ring, in a segment that its writer holds until it is in the channel. */
export interface OutsideItem {
  segment: HeldSegment
  byteLength: number
}

/** One that is to be put. */
export interface OutgoingOutsideItem extends OutsideItem {
  /** Keeps what the message carries; `letGoOf()` takes that back. */
  message: Uint8Array
}

/** By their memory, which a later segment in the same place can have again. */
const segments = new WeakMap<ArrayBufferLike, { segment: HeldSegment; byteLength: number }>()
/** A segment of which less is used is not worth keeping: an item may wait for long. */
const USED_PART_MIN = 3 / 4

/** For items that go into a channel of this process. */
export const itemMemory: LargeMemory = {
  bytesMin: GROWING_INSIDE_MAX,
  allocate(byteLength) {
    if (!sharedHeap().isNative) return undefined
    try {
      const segment = allocateSegment(byteLength)
      const memory = bufferOver(segment, byteLength)
      if (memory !== undefined) segments.set(segment.buffer, { segment, byteLength })
      return memory
    } catch (error) {
      // Who sends the item needs a segment for it, and says so.
      if (error instanceof ProcessError) return undefined
      throw error
    }
  },
  free(buffer) {
    segments.get(buffer)?.segment.release()
    segments.delete(buffer)
  },
}

/** `undefined` where a Buffer cannot be so long. */
function bufferOver(segment: HeldSegment, byteLength: number): Buffer | undefined {
  try {
    return Buffer.from(segment.buffer as ArrayBuffer, 0, byteLength)
  } catch {
    segment.release()
    return undefined
  }
}

/** An item that a ring takes. */
export function insideItem(bytes: Uint8Array): Uint8Array {
  const written = takeSegment(bytes)
  if (written === undefined) return bytes
  const own = bytes.slice()
  moveMessage(bytes, own)
  written.segment.release()
  return own
}

/** One that is too large for it: where it was written, if it fills most of that. @throws ProcessError `ERR_LIMIT`. */
export function outsideItem(bytes: Uint8Array): OutgoingOutsideItem {
  const written = takeSegment(bytes)
  try {
    const isKept = written !== undefined && bytes.length >= written.byteLength * USED_PART_MIN
    const segment = isKept ? written.segment : allocateItem(bytes)
    if (!isKept) written?.segment.release()
    return { segment, byteLength: bytes.length, message: bytes }
  } catch (error) {
    written?.segment.release()
    unsendMessage(bytes)
    throw error
  }
}

/** The segment in which an item was written, once: it is the caller's from now on. */
function takeSegment({ buffer }: Uint8Array): { segment: HeldSegment; byteLength: number } | undefined {
  // Nearly every message is small, and looking it up is dearer than this.
  if (buffer.byteLength < itemMemory.bytesMin) return undefined
  const written = segments.get(buffer)
  if (written !== undefined) segments.delete(buffer)
  return written
}
