/** Waiting with an end: for a promise, no longer than a timeout, and not beyond an abort signal. */
import { invalidArgument } from '../errors.ts'
import { kindOf, optionInstead, optionsInstead } from './known-options.ts'
import { TIMER_MS_MAX } from './long-timer.ts'
import { onAbort } from './on-abort.ts'

/** How long to wait. Without either field: until it happens. */
export interface WaitOptions {
  /** Milliseconds; 0 looks and does not wait, and so does less, as of a deadline that has passed. Default: no limit. */
  timeout?: number | undefined
  /** Ends the wait with the signal's reason. What was waited for goes on. */
  signal?: AbortSignal | undefined
}

/** Options of a call that blocks its thread. */
export interface BlockingOptions {
  /** Milliseconds; 0 looks and does not wait, and so does less, as of a deadline that has passed. Default: no limit. */
  timeout?: number | undefined
}

const WAIT_OPTIONS = ['timeout', 'signal']
export const BLOCKING_OPTIONS = ['timeout']

/**
 * Throws unless `options` are those of a call that waits. Python's `join(5)` and `get(block=False)`, written as
 * `join(5)` and `get({ block: false })`, would otherwise wait for ever.
 *
 * @param known - the names of all options of the call, when it has others as well
 */
export function assertWaitOptions(options: WaitOptions, known: readonly string[] = WAIT_OPTIONS): void {
  if (typeof options !== 'object' || options === null) throw noOptions(options, known[0])
  // Not Object.keys(), which makes an array: messages by the million come by here.
  for (const key in options) {
    // What somebody has added to Object.prototype is in every object, and nobody's option.
    if (known.includes(key) || !Object.hasOwn(options, key)) continue
    throw invalidArgument(
      TypeError,
      `Cannot wait: there is no option "${key}"\nTo fix: ${optionInstead(key, known)}; { timeout: 0 } does not wait`,
    )
  }
  assertTimeout(options.timeout)
}

/** @param first - the name of the option that is most likely meant, by somebody who thinks of Python */
export function noOptions(given: unknown, first = 'timeout'): TypeError {
  return invalidArgument(
    TypeError,
    `Cannot wait: the options must be an object, but they are ${kindOf(given)}\nTo fix: ${optionsInstead(given, first)}`,
  )
}

/** Throws unless `options` are those of a call that blocks the thread, which no signal can end. */
export function assertBlockingOptions(options: BlockingOptions): void {
  assertWaitOptions(options, BLOCKING_OPTIONS)
}

/** Those of a call that only looks unless it is told to wait. */
export function pollOptions(
  options: WaitOptions,
  known?: readonly string[],
): { timeout: number; signal: AbortSignal | undefined } {
  assertWaitOptions(options, known)
  return { timeout: Math.max(0, options.timeout ?? 0), signal: options.signal }
}

/** Whether a call looks and does not wait. */
export function isLookOnly(timeout: number | undefined): boolean {
  return timeout !== undefined && timeout <= 0
}

/** Throws unless `timeout` is a number of milliseconds. Less than 0, as of a deadline that has passed, is as good as 0. */
export function assertTimeout(timeout: number | undefined): void {
  if (timeout === undefined || (typeof timeout === 'number' && !Number.isNaN(timeout))) return
  throw invalidArgument(
    typeof timeout === 'number' ? RangeError : TypeError,
    `Cannot wait: "timeout" must be a number of milliseconds, got ${String(timeout)}\n` +
      'To fix: pass such a number, or leave "timeout" out to wait without a limit',
  )
}

/**
 * Settles as `promise` does, or with `onTimeout()` (its value or what it throws), or rejects with the reason of the
 * signal, whichever comes first.
 */
export function boundedWait<T, U>(
  promise: PromiseLike<T>,
  options: WaitOptions = {},
  { onTimeout }: { onTimeout: () => U },
): Promise<T | U> {
  return new Promise<T | U>((resolve, reject) => {
    try {
      assertWaitOptions(options)
    } catch (error) {
      // Nobody hears of it but by this error.
      promise.then(undefined, () => {})
      reject(error)
      return
    }
    const { timeout, signal } = options
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
      if (timeout !== undefined && timeout !== Infinity) waitFor(Math.max(0, timeout))
    }
  })
}
