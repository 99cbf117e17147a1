/** Counts what is in use in the shared heap, for reports and for finding what was left behind. */
import {
  BLOCK,
  BLOCK_BYTES,
  BLOCKS_START_BYTES,
  HEADER,
  LIFE_ENDED,
  MEMBER,
  MEMBER_BYTES,
  MEMBER_STATE,
  MEMBERS_MAX,
  MEMBERS_START_BYTES,
  PAGE_BYTES,
  SEGMENT,
  SEGMENT_KIND,
} from '#src/platform/heap-layout.js'
import { nativeAddon } from '#src/platform/native-addon.js'
import { sharedHeap } from '#src/platform/shared-heap.js'

export interface HeapCensus {
  /** Members that are alive or have not been reaped yet. */
  members: number
  /** Places of members that were taken by somebody who did not become one, and is not marked as ended. */
  joining: number
  /** Blocks that a member holds, by kind. */
  held: Record<string, number>
  /** Blocks that only a handle which did not arrive keeps. They are taken back when they are needed. */
  inFlight: number
  /** Memory of segments that nobody holds: kept for the next who asks. */
  idleBytes: number
  /** The members that hold blocks of each kind, by their places. */
  holders: Record<string, number[]>
}

export function heapCensus(): HeapCensus {
  const { words } = sharedHeap()
  const lifeWord = (nativeAddon()?.lifeWordOffset() ?? 0) / 4
  const census: HeapCensus = { members: 0, joining: 0, held: {}, inFlight: 0, idleBytes: 0, holders: {} }
  for (let slot = 0; slot < MEMBERS_MAX; slot++) {
    const at = (MEMBERS_START_BYTES + slot * MEMBER_BYTES) / 4
    const life = Atomics.load(words, at + lifeWord)
    if (Atomics.load(words, at + MEMBER.state) === MEMBER_STATE.alive) census.members++
    else if (life !== 0 && (life & LIFE_ENDED) === 0) census.joining++
  }
  const limit = Atomics.load(words, HEADER.blockLimit)
  for (let index = 0; index < limit; index++) {
    const at = (BLOCKS_START_BYTES + index * BLOCK_BYTES) / 4
    const kind = Atomics.load(words, at + BLOCK.kind)
    const slots = holdersOf(words, at)
    if (slots.length > 0) {
      const name = `0x${kind.toString(16)}`
      census.held[name] = (census.held[name] ?? 0) + 1
      census.holders[name] = [...new Set([...(census.holders[name] ?? []), ...slots])]
    } else if (Atomics.load(words, at + BLOCK.inFlight) > 0) census.inFlight++
    else if (kind === SEGMENT_KIND && Atomics.load(words, at + BLOCK.keeper) === 0) {
      census.idleBytes += words[at + BLOCK.payload + SEGMENT.providedPages]! * PAGE_BYTES
    }
  }
  return census
}

function holdersOf(words: Int32Array, at: number): number[] {
  const slots: number[] = []
  for (let word = 0; word < MEMBERS_MAX / 32; word++) {
    const bits = Atomics.load(words, at + BLOCK.holders + word)
    if (bits === 0) continue
    for (let bit = 0; bit < 32; bit++) if ((bits >>> bit) & 1) slots.push(word * 32 + bit)
  }
  return slots
}
