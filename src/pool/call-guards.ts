/**
 * What can call a whole job off from outside: an abort signal, and the time that the call was given. Invariant: when the
 * job is done, neither a listener nor a timer of it is left.
 */
import { TimeoutError } from '../errors.ts'
import { LongTimer } from '../platform/long-timer.ts'
import { onAbort } from '../platform/on-abort.ts'
import type { Job } from './job.ts'

export interface CallGuards {
  signal?: AbortSignal | undefined
  /** From the call on. */
  totalTimeoutMs?: number | undefined
  /** So much of it is over. */
  elapsedMs?: number
}

/** Guards a job that is about to be submitted. */
export function guardCall(
  job: Job,
  { signal, totalTimeoutMs, elapsedMs = 0 }: CallGuards,
  cancel: (job: Job, reason: unknown) => void,
): void {
  const isTimed = totalTimeoutMs !== undefined && totalTimeoutMs !== Infinity
  if (!signal && !isTimed) return
  const aborted = (): void => cancel(job, signal!.reason)
  if (signal) onAbort(signal, aborted)
  let timer: LongTimer | undefined
  if (isTimed) {
    const late = (): void =>
      cancel(
        job,
        new TimeoutError(
          `The call took longer than its "totalTimeout" of ${totalTimeoutMs} ms\nTo fix: pass a longer one, or less to do`,
        ),
      )
    // The pool keeps the program alive while somebody waits for the job.
    timer = new LongTimer(late, Math.max(1, totalTimeoutMs - elapsedMs))
  }
  const { release } = job
  job.release = () => {
    release?.()
    timer?.stop()
    signal?.removeEventListener('abort', aborted)
  }
}
