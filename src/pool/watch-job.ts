/**
 * Watches a job for those who want to know how far it is. Invariant: the timer and the display of a job end with the
 * job, whatever ends it; a job that nobody watches has neither.
 */
import { showProgress } from '../insights/progress-display.ts'
import { type ProgressCounts, ProgressMeter } from '../insights/progress-meter.ts'
import type { Job } from './job.ts'
import type { Watch } from './progress-options.ts'
import type { WorkerRunner } from './worker-runner.ts'

const tellEveryMs = 100

/** Begins to watch a job that is about to be submitted. */
export function watchJob(
  job: Job,
  { shown, total, onProgress }: Watch,
  pool: { readonly runners: ReadonlySet<WorkerRunner>; readonly processes: number },
): void {
  job.expectedTotal = total
  const meter = new ProgressMeter(() => countsOf(job, total, pool))
  const label = shown?.label ?? job.task.name
  const entry = shown && showProgress(meter, { label, isCleared: shown.isCleared })
  const timer = onProgress && setInterval(() => onProgress(meter.measure()), tellEveryMs).unref()
  job.onDone = () => {
    clearInterval(timer)
    entry?.end()
    onProgress?.(meter.finish())
  }
}

/** How far a job of a pool is. */
export function countsOf(
  job: Job,
  total: number | undefined,
  { runners, processes }: Parameters<typeof watchJob>[2],
): ProgressCounts {
  let busyWorkers = 0
  for (const { elsewhere, chunks, firstChunk } of runners) {
    if (!elsewhere) busyWorkers += Number(firstChunk?.parts.some(part => part.job === job) === true)
    else for (const chunk of chunks) busyWorkers += Number(chunk.parts.some(part => part.job === job))
  }
  // Of what is with other machines some waits there.
  busyWorkers = Math.min(busyWorkers, processes)
  const counts = job.counts
  return {
    done: counts.done,
    failed: counts.failed,
    retried: job.retried,
    total: counts.total ?? (job.isDone ? undefined : total),
    busyWorkers,
    workers: processes,
  }
}
