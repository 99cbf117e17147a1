/**
 * Memory that goes with a block and lies outside of the heap, as a SharedArrayBuffer: the ring of a queue, the elements
 * of an array. Threads are given it beside the message. A broker is told of it by the thread that sends a handle, and
 * finds it here when a client opens the object.
 */
import { type BlockHandle, existingHeap } from '../platform/shared-heap.ts'

const memories = new Map<string, { handle: BlockHandle; memory: SharedArrayBuffer }>()
/** So many are kept before the first look whether their blocks are still in use. */
let sweptAt = 64

function keyOf({ heap, index, generation }: BlockHandle): string {
  return `${heap}:${index}:${generation}`
}

/** Keeps the memory for as long as somebody uses the block, or its handle is on its way. */
export function keepMemory(handle: BlockHandle, memory: SharedArrayBuffer): void {
  // Its thread may have let go of the block before this one has come to read of it.
  if (existingHeap()?.isInUse(handle) !== true) return
  memories.set(keyOf(handle), { handle, memory })
  if (memories.size <= sweptAt) return
  forgetUnusedMemory()
  sweptAt = Math.max(64, 2 * memories.size)
}

/** Lets go of the memory of one block, if nobody has that any more. */
export function forgetIfUnused(handle: BlockHandle): void {
  if (existingHeap()?.isInUse(handle) !== true) memories.delete(keyOf(handle))
}

/** Lets go of the memory whose block nobody has any more. */
export function forgetUnusedMemory(): void {
  const heap = existingHeap()
  for (const [key, { handle }] of memories) if (heap?.isInUse(handle) !== true) memories.delete(key)
}

/** The memory that goes with a block of this process, if it is known in this thread. */
export function memoryOf(handle: BlockHandle): SharedArrayBuffer | undefined {
  return memories.get(keyOf(handle))?.memory
}
