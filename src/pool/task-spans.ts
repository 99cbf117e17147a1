/** When the tasks of a traced chunk began and ended, on its way from the worker to the trace of its parent. */
import { monotonicMs } from '../platform/journal.ts'
import type { Connection } from '../transport/connection.ts'
import { sendMessage } from './protocol.ts'

/** A span is so many numbers: index within the chunk, begin, end, and 1 for a task that failed. */
export const spanLength = 4

export class TaskSpans {
  readonly #chunkId: number
  #startedAtMs = 0
  #spans: number[] = []

  constructor(chunkId: number) {
    this.#chunkId = chunkId
  }

  /** A task begins. */
  begin(): void {
    this.#startedAtMs = monotonicMs()
  }

  /** It has ended. One that never began, because its argument could not be decoded, is left out. */
  end(index: number, { hasFailed }: { hasFailed: boolean }): void {
    if (this.#startedAtMs > 0) this.#spans.push(index, this.#startedAtMs, monotonicMs(), Number(hasFailed))
    this.#startedAtMs = 0
  }

  /** Goes before the results of the tasks, while the parent has their chunk. */
  send(connection: Connection): void {
    if (this.#spans.length === 0) return
    const spans = Float64Array.from(this.#spans)
    this.#spans = []
    sendMessage(connection, { type: 'spans', bodies: 0, chunkId: this.#chunkId, spans })
  }
}
