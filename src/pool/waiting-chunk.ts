/** A chunk in its worker, and what of it was called off before it began. */
import type { Body, ChunkHead } from './protocol.ts'

/** A chunk that waits or runs. */
export interface WaitingChunk {
  head: ChunkHead
  bodies: Body[]
  /** How many of its items are to be run here: others were given back. */
  count: number
  /** Items that were called off before they began. */
  skipped: Set<number> | 'all' | undefined
}

/** How many items from `index` on were called off. */
export function skippedFrom(index: number, { count, skipped }: WaitingChunk): number {
  if (!skipped) return 0
  if (skipped === 'all') return count - index
  let end = index
  while (end < count && skipped.has(end)) end++
  return end - index
}
