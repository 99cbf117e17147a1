/**
 * What becomes of the items of a chunk whose worker died. Pure, so that every order of events can be tried.
 * Invariant: each item that was still owed is in exactly one of the answers.
 */
import type { JournalEntry } from '../platform/journal.ts'
import type { Chunk } from './chunk.ts'
import type { Part } from './job.ts'

/** Marked instead of an index while the worker loads the chunk's function. */
export const loadingFunction = 0xffffffff

/** An item that was sent so often to workers that died without a sign of having started it is sent alone. */
const soloAfterDeaths = 2
/** And after so many such deaths it fails. */
const failAfterDeaths = 4

export interface Recovery {
  /** Finished, with the results that the worker wrote down, encoded or as simple values. */
  finished: ({ index: number } & ({ result: Uint8Array } | { value: unknown }))[]
  /** Was running. */
  failed: number[]
  /** To be run by another worker. */
  back: Part[]
}

type Fate = 'done' | 'failed' | 'back' | 'solo'

/**
 * The fate of a chunk that the worker had. `isFirst`: it was the oldest, so that it may have been running even if the
 * journal does not say so; one that waited behind it was certainly not. `isLoadGivenUp`: if the worker was loading the
 * function, no other is to try it.
 */
export function recoverChunk(
  chunk: Chunk,
  journal: JournalEntry | undefined,
  { isFirst, isLoadGivenUp }: { isFirst: boolean; isLoadGivenUp: boolean },
): Recovery {
  const recovery: Recovery = { finished: [], failed: [], back: [] }
  const from = chunk.received
  if (journal?.chunkId !== chunk.id) {
    // It was done with this chunk, or had not begun it.
    const finished = journal?.earlier.get(chunk.id) ?? new Map<number, Uint8Array>()
    for (const [index, result] of finished) if (index >= from) recovery.finished.push({ index, result })
    for (let start = from, end = from; start < chunk.count; start = end + 1) {
      for (end = start; end < chunk.count && !finished.has(end);) end++
      const parts = chunk.slice(start, end, { isSolo: false })
      recovery.back.push(...(isFirst ? unmarked(parts, start, recovery) : parts))
    }
    return recovery
  }
  if (journal.startedIndex === loadingFunction) {
    // No item has begun, so every worker may try. The chunk is whole: nothing of it can have been received.
    if (!isLoadGivenUp) {
      recovery.back.push(...chunk.slice(from, chunk.count, { isSolo: false }))
      return recovery
    }
    for (let index = from; index < chunk.count; index++) recovery.failed.push(index)
    return recovery
  }
  const start = Math.max(journal.startedIndex, from)
  const end = Math.min(journal.startedIndex + journal.startedCount, chunk.count)
  const isCertain = end - start === 1
  const fateOf = (index: number): Fate => {
    if (journal.finished.has(index) || journal.kept.has(index)) return 'done'
    // Its effects may be there, and what it gave back is lost.
    if (index === journal.endedIndex) return 'failed'
    if (index < start || index >= end) return 'back'
    return isCertain ? 'failed' : 'solo'
  }
  let runStart = from
  for (let index = from; index < chunk.count; index++) {
    const fate = fateOf(index)
    if (fate === 'done') recovery.finished.push(finishedItem(index, journal))
    else if (fate === 'failed') recovery.failed.push(index)
    const isRunEnd = index + 1 === chunk.count || fateOf(index + 1) !== fate
    if (!isRunEnd) continue
    if (fate === 'back' || fate === 'solo') {
      recovery.back.push(...chunk.slice(runStart, index + 1, { isSolo: fate === 'solo' }))
    }
    runStart = index + 1
  }
  return recovery
}

function finishedItem(index: number, { finished, kept }: JournalEntry): Recovery['finished'][number] {
  const result = finished.get(index)
  return result === undefined ? { index, value: kept.get(index) } : { index, result }
}

/** Items that were not started, as far as anybody knows. They go back, but not for ever. */
function unmarked(parts: Part[], start: number, recovery: Recovery): Part[] {
  let index = start
  return parts.filter(part => {
    part.deaths++
    part.isSolo ||= part.deaths >= soloAfterDeaths
    const isGivenUp = part.deaths >= failAfterDeaths && part.count === 1
    if (isGivenUp) recovery.failed.push(index)
    index += part.count
    return !isGivenUp
  })
}
