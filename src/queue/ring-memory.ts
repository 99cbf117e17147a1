/**
 * The memory of rings. With the addon a ring is a segment that the channel's block keeps, and growing means moving to a
 * larger one; without, it is a SharedArrayBuffer that grows where it is.
 */
import { type HeldSegment, allocateSegment, attachSegment, viewSegment } from '../platform/heap-segments.ts'
import type { BlockHandle, SharedHeap } from '../platform/shared-heap.ts'
import { RING_BYTES_MAX } from './channel-layout.ts'

/** A ring as this process or thread sees it. */
export interface Ring {
  readonly index: number
  readonly generation: number
  readonly capacity: number
  readonly bytes: Uint8Array
  readonly words: Int32Array
}

/** Without the addon, the most that waits in one channel. Addresses only: memory is taken as the ring grows. */
const PORTABLE_BYTES_MAX = 2 ** 28

/** Memory that can grow in place, for a channel without the addon. */
export function portableMemory(byteLength: number): SharedArrayBuffer {
  return new SharedArrayBuffer(byteLength, { maxByteLength: PORTABLE_BYTES_MAX })
}

export function capacityMax(isNative: boolean): number {
  return isNative ? RING_BYTES_MAX : PORTABLE_BYTES_MAX
}

export function ringOver(
  buffer: ArrayBufferLike,
  { index, generation, capacity }: { index: number; generation: number; capacity: number },
): Ring {
  return {
    index,
    generation,
    capacity,
    bytes: new Uint8Array(buffer, 0, capacity),
    words: new Int32Array(buffer, 0, capacity / 4),
  }
}

/** A fresh ring in a segment; the caller has it kept and lets go of it. */
export function allocateRing(capacity: number): { ring: Ring; segment: HeldSegment } {
  const segment = allocateSegment(capacity)
  const { index, generation } = segment.handle as BlockHandle
  return { ring: ringOver(segment.buffer, { index, generation, capacity }), segment }
}

/** A segment with one item that is too large for the ring. */
export function allocateItem(bytes: Uint8Array): HeldSegment {
  const segment = allocateSegment(bytes.length)
  new Uint8Array(segment.buffer, 0, bytes.length).set(bytes)
  return segment
}

export function viewRing(
  heap: SharedHeap,
  place: { index: number; generation: number; capacity: number },
): Ring {
  return ringOver(viewSegment({ heap: heap.id, index: place.index, generation: place.generation }), place)
}

export function attachItem(heap: SharedHeap, index: number, generation: number): HeldSegment {
  return attachSegment({ heap: heap.id, index, generation })
}

/** Copies what lies between two positions to where it belongs in a ring of another capacity. */
export function copyBetween(from: Ring, to: Ring, tail: number, byteLength: number): void {
  for (let done = 0; done < byteLength;) {
    const source = (tail + done) & (from.capacity - 1)
    const target = (tail + done) & (to.capacity - 1)
    const step = Math.min(byteLength - done, from.capacity - source, to.capacity - target)
    if (from.bytes.buffer !== to.bytes.buffer || source !== target) {
      to.bytes.set(from.bytes.subarray(source, source + step), target)
    }
    done += step
  }
}
