/**
 * What a pool writes into a trace: calls and chunks as they are seen here, and tasks as their workers saw them.
 * Invariant: without a trace nothing of this costs more than a look whether there is one.
 */
import type { WaitRecord } from '../insights/followed-wait.ts'
import { type Track, currentTrace, ownTrack } from '../insights/trace-file.ts'
import { monotonicMs } from '../platform/journal.ts'
import type { Chunk } from './chunk.ts'
import type { Job } from './job.ts'
import { spanLength } from './task-spans.ts'

/** A worker, as far as a trace shows it. */
interface TracedWorker {
  readonly name: string
  readonly pid: number | undefined
  readonly threadId: number | undefined
  readonly startedAtMs: number
}

/** A call begins; its end is that of the job. */
export function traceCall(job: Job, { pool }: { pool: string }): void {
  const trace = currentTrace()
  if (!trace) return
  job.traceId = trace.nextId()
  const { total } = job.counts
  const args = { pool, call: job.traceId, ...(total === undefined ? {} : { items: total }) }
  const end = trace.begin({ name: job.task.name, category: 'call', args }, job.traceId)
  const { onDone } = job
  job.onDone = () => {
    onDone?.()
    const { done, failed } = job.counts
    end({ done, failed })
  }
}

/** A chunk is about to be sent; its end is when the pool has all of it back, or its worker has died. */
export function traceChunk(chunk: Chunk, worker: TracedWorker): void {
  const trace = currentTrace()
  if (!trace) return
  chunk.traceId = trace.nextId()
  const calls = [...new Set(chunk.parts.map(part => part.job.traceId))]
  const args = { chunk: chunk.traceId, calls, worker: worker.name, items: chunk.count }
  chunk.endTrace = trace.begin(
    { name: `${chunk.task.name} x ${chunk.count}`, category: 'chunk', args },
    chunk.traceId,
  )
}

/** Tasks of a chunk have ended in a worker, which has timed them, and what they waited for. */
export function traceTasks(
  chunk: Chunk,
  worker: TracedWorker,
  { spans, waits, lostWaits }: { spans: Float64Array; waits: readonly WaitRecord[]; lostWaits: number },
): void {
  const trace = currentTrace()
  if (!trace || chunk.endTrace === undefined) return
  const track = nameTrackOf(worker)
  for (let at = 0; at + spanLength <= spans.length; at += spanLength) {
    const [index, startMs, endMs, hasFailed] = spans.subarray(at, at + spanLength)
    const [part] = chunk.slice(index!, index! + 1, { isSolo: false })
    if (!part) continue
    const { job, first, attempt } = part
    const args = {
      chunk: chunk.traceId,
      call: job.traceId,
      ...(job.isSingle ? {} : { item: first }),
      ...(attempt > 1 ? { attempt } : {}),
      ...(hasFailed ? { failed: true } : {}),
    }
    trace.span(track, { name: chunk.task.name, category: 'task', startMs: startMs!, endMs: endMs!, args })
  }
  for (const { name, category, object, isBlocking, startMs, endMs } of waits) {
    const wait = { name, category, startMs, endMs, args: { object } }
    // What blocks the thread lies within its task; others may overlap each other, and the tasks behind it.
    if (isBlocking) trace.span(track, wait)
    else trace.period(track, wait)
  }
  trace.noteDropped(lostWaits)
}

/** A worker has become ready, after `initMs` of getting ready. */
export function traceReady(worker: TracedWorker, initMs: number): void {
  const trace = currentTrace()
  if (!trace) return
  const track = nameTrackOf(worker)
  const readyMs = monotonicMs()
  const startMs = readyMs - (performance.now() - worker.startedAtMs)
  const category = 'worker'
  trace.span(track, { name: 'start', category, startMs, endMs: readyMs - initMs })
  trace.span(track, { name: 'init', category, startMs: readyMs - initMs, endMs: readyMs })
}

/** A worker has ended, with what it had. */
export function traceEnd(
  worker: TracedWorker,
  { chunks, how }: { chunks: readonly Chunk[]; how: string },
): void {
  for (const chunk of chunks) chunk.endTrace?.({ lost: chunk.count - chunk.received })
  currentTrace()?.moment(nameTrackOf(worker), how)
}

function nameTrackOf({ name, pid, threadId }: TracedWorker): Track {
  const track: Track = { pid: pid ?? ownTrack().pid, tid: threadId ?? 0 }
  currentTrace()?.nameTrack(track, name)
  return track
}
