/** What a worker tells of the tasks that took longest. Invariant: each is told before its outcome. */
import { LongestTasks } from '../insights/longest-tasks.ts'
import type { Connection } from '../transport/connection.ts'
import { type ChunkHead, type LongTaskMessage, sendMessage } from './protocol.ts'
import { shortForm } from './short-form.ts'

/** Index within its map of an item of a chunk; `undefined` for calls of `apply`. */
export function indexInMap({ first, indexes }: ChunkHead, index: number): number | undefined {
  return first === undefined ? indexes?.[index] : first + index
}

/** The items `from` to `index` of a chunk took so long together; `item` is the last of them. */
interface LongTask {
  from: number
  index: number
  durationMs: number
  item: unknown
}

/** The longest tasks of one worker so far. */
export class LongTasks {
  readonly #connection: Connection
  #longest = new LongestTasks<{ durationMs: number }>()

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** What took longer is to be told. */
  get thresholdMs(): number {
    return this.#longest.thresholdMs
  }

  /** A chunk begins. */
  begin({ isRelayed }: ChunkHead): void {
    // Its program has heard of none of those before, which may be another's.
    if (isRelayed) this.#longest = new LongestTasks()
  }

  /** While the parent knows the chunk. */
  tell(head: ChunkHead, task: LongTask): void {
    // Without the item, which would be kept alive.
    this.#longest.add({ durationMs: task.durationMs })
    sendMessage(this.#connection, messageOf(head, task))
  }
}

function messageOf(head: ChunkHead, { from, index, durationMs, item }: LongTask): LongTaskMessage {
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
