/** What a worker tells of a task that took long. */
import type { ChunkHead, LongTaskMessage } from './protocol.ts'
import { shortForm } from './short-form.ts'

/** Index within its map of an item of a chunk; `undefined` for calls of `apply`. */
export function indexInMap({ first, indexes }: ChunkHead, index: number): number | undefined {
  return first === undefined ? indexes?.[index] : first + index
}

/** The items `from` to `index` of the chunk took so long together; `item` is the last of them. */
export function longTask(
  head: ChunkHead,
  { from, index, durationMs, item }: { from: number; index: number; durationMs: number; item: unknown },
): LongTaskMessage {
  const count = index - from + 1
  // Of several that were timed together nobody knows which one it was.
  const args = count === 1 ? shortForm(item, head.mode) : '…'
  return {
    type: 'longTask',
    bodies: 0,
    chunkId: head.chunkId,
    index: indexInMap(head, from),
    count,
    durationMs,
    args,
  }
}
