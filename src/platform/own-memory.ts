/**
 * How much memory this process or thread has. It is always told: what keeps the system from saying so (no /proc, no
 * descriptor left to open it) is no reason for a worker to end.
 */
import { getHeapStatistics } from 'node:v8'
import { isMainThread } from 'node:worker_threads'

/** Of this process as the system counts it; at least what V8 knows of where the system does not tell. */
export function residentBytes(): number {
  try {
    return process.memoryUsage.rss()
  } catch {
    const { total_physical_size: heap, external_memory: buffers } = getHeapStatistics()
    return heap + buffers
  }
}

/** All threads of a process have its memory together; a thread has its heap and its buffers. */
export function ownMemoryBytes(): number {
  if (isMainThread) return residentBytes()
  try {
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return heapUsed + arrayBuffers
  } catch {
    const { used_heap_size: heap, external_memory: buffers } = getHeapStatistics()
    return heap + buffers
  }
}

/** What tells best, after the death of this process or thread, whether it had grown too large. */
export function bytesBeforeDeath(): number {
  return isMainThread ? residentBytes() : getHeapStatistics().used_heap_size
}
