/** What a task reports before its result, on its way from a worker to the listener of its call. */
import type { Chunk } from './chunk.ts'
import type { Body } from './protocol.ts'
import { rebuild } from './task-outcomes.ts'

/** Gives a report to the call that it belongs to. A call that has ended, or an item whose time was up, is told nothing. */
export function deliverReport(
  chunk: Chunk,
  { index, dropped, body }: { index: number; dropped: number; body: Body },
): void {
  const { job, first, attempt } = chunk.at(index)
  if (job.relay) {
    job.relay.reported(first, { dropped, body })
    return
  }
  const { onReport } = job
  if (!onReport || job.isDone || chunk.givenUp?.has(index)) return
  const info = { index: job.isSingle ? undefined : first, attempt, dropped }
  rebuild(
    body,
    value => onReport(value, info),
    // The result of the item may be fine all the same.
    error => process.emitWarning(error instanceof Error ? error : String(error)),
  )
}
