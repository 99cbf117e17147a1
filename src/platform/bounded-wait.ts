/** Waiting with an end: for a promise, no longer than a timeout, and not beyond an abort signal. */
import { invalidArgument } from '../errors.ts'
import { TIMER_MS_MAX } from './long-timer.ts'
import { onAbort } from './on-abort.ts'

/** How long to wait. Without either field: until it happens. */
export interface WaitOptions {
  /** Milliseconds; 0 looks and does not wait. Default: no limit. */
  timeout?: number | undefined
  /** Ends the wait with the signal's reason. What was waited for goes on. */
  signal?: AbortSignal | undefined
}

/** Throws unless `timeout` is a number of milliseconds. */
export function assertTimeout(timeout: number | undefined): void {
  if (timeout === undefined || (typeof timeout === 'number' && timeout >= 0)) return
  throw invalidArgument(
    typeof timeout === 'number' ? RangeError : TypeError,
    `Cannot wait: "timeout" must be a number of milliseconds from 0 on, got ${String(timeout)}\n` +
      'To fix: pass such a number, or leave "timeout" out to wait without a limit',
  )
}

/**
 * Settles as `promise` does, or with `onTimeout()` (its value or what it throws), or rejects with the reason of the
 * signal, whichever comes first.
 */
export function boundedWait<T, U>(
  promise: PromiseLike<T>,
  { timeout, signal }: WaitOptions = {},
  { onTimeout }: { onTimeout: () => U },
): Promise<T | U> {
  return new Promise<T | U>((resolve, reject) => {
    assertTimeout(timeout)
    let timer: NodeJS.Timeout | undefined
    const stop = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', aborted)
    }
    const aborted = (): void => {
      stop()
      reject(signal!.reason)
    }
    const expired = (): void => {
      stop()
      try {
        resolve(onTimeout())
      } catch (error) {
        reject(error)
      }
    }
    const waitFor = (remainingMs: number): void => {
      const step = Math.min(remainingMs, TIMER_MS_MAX)
      timer = setTimeout(() => (remainingMs > step ? waitFor(remainingMs - step) : expired()), step)
    }
    const settled = async (): Promise<void> => {
      try {
        resolve(await promise)
      } catch (error) {
        reject(error)
      } finally {
        stop()
      }
    }
    void settled()
    if (signal?.aborted) aborted()
    else {
      if (signal) onAbort(signal, aborted)
      if (timeout !== undefined && timeout !== Infinity) waitFor(timeout)
    }
  })
}
