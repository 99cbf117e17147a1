/** `wait()` for several futures. Invariant: when it has returned, nothing of it is left at any future. */
import { invalidArgument } from '../errors.ts'
import { type WaitOptions, assertTimeout, boundedWait } from '../platform/bounded-wait.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { show } from '../pool/option-checks.ts'
import { Future, hasEnded, hasFailed, unwatchFuture, watchFuture } from './future.ts'

/** `wait()` returns when any future has finished or was cancelled. */
export const FIRST_COMPLETED = 'FIRST_COMPLETED'
/** `wait()` returns when any future has failed, or all have ended. */
export const FIRST_EXCEPTION = 'FIRST_EXCEPTION'
/** `wait()` returns when all futures have finished or were cancelled. */
export const ALL_COMPLETED = 'ALL_COMPLETED'

/** Options of `wait()`. */
export interface FuturesWaitOptions extends WaitOptions {
  /** What to wait for. Default: `'ALL_COMPLETED'`. */
  returnWhen?: typeof FIRST_COMPLETED | typeof FIRST_EXCEPTION | typeof ALL_COMPLETED | undefined
}

/** What `wait()` gives. */
export interface DoneAndNotDone<F> {
  done: Set<F>
  notDone: Set<F>
}

/**
 * Waits for several futures.
 *
 * (The `wait()` of the package itself, for queues, pipes and processes, is another one. A future is a promise, which it
 * takes as well.)
 *
 * @param futures - any iterable; of several executors, if you like
 * @returns which have ended and which have not, also when the `timeout` has passed
 * @throws TypeError for what is no future.
 *
 * @example
 * ```ts
 * import { ProcessPoolExecutor, wait } from 'multiproc/futures'
 *
 * await using executor = new ProcessPoolExecutor(2)
 * const futures = [1, 2, 3].map(n => executor.submit((x: number) => x * 10, n))
 * const { done, notDone } = await wait(futures, { timeout: 60_000 })
 * console.log(done.size, notDone.size) // 3 0
 * ```
 * @see https://docs.python.org/3/library/concurrent.futures.html#concurrent.futures.wait
 */
export async function wait<F extends Future<unknown>>(
  futures: Iterable<F>,
  options: FuturesWaitOptions = {},
): Promise<DoneAndNotDone<F>> {
  assertKnownOptions('wait', options, ['timeout', 'signal', 'returnWhen'])
  const { returnWhen = ALL_COMPLETED, ...bounds } = options
  assertTimeout(bounds.timeout)
  const all = futuresOf(futures)
  if (returnWhen !== FIRST_COMPLETED && returnWhen !== FIRST_EXCEPTION && returnWhen !== ALL_COMPLETED) {
    throw invalidArgument(
      TypeError,
      `The option "returnWhen" must be 'FIRST_COMPLETED', 'FIRST_EXCEPTION' or 'ALL_COMPLETED', but it is ${show(returnWhen)}\nTo fix: pass one of these`,
    )
  }
  const pending = new Set([...all].filter(future => !hasEnded(future)))
  const isOver = (): boolean => {
    if (pending.size === 0) return true
    if (returnWhen === ALL_COMPLETED) return false
    for (const future of all) {
      if (!pending.has(future) && (returnWhen === FIRST_COMPLETED || hasFailed(future))) return true
    }
    return false
  }
  if (!isOver()) {
    const watched = new Map<F, () => void>()
    const over = new Promise<void>(resolve => {
      for (const future of pending) {
        const onEnd = (): void => {
          pending.delete(future)
          if (
            pending.size === 0 ||
            returnWhen === FIRST_COMPLETED ||
            (returnWhen === FIRST_EXCEPTION && hasFailed(future))
          )
            resolve()
        }
        watched.set(future, onEnd)
        watchFuture(future, onEnd)
      }
    })
    try {
      await boundedWait(over, bounds, { onTimeout: () => undefined })
    } finally {
      for (const [future, onEnd] of watched) unwatchFuture(future, onEnd)
    }
  }
  const done = new Set<F>()
  const notDone = new Set<F>()
  for (const future of all) (hasEnded(future) ? done : notDone).add(future)
  return { done, notDone }
}

/** Each once. @throws TypeError. */
export function futuresOf<F extends Future<unknown>>(futures: Iterable<F>): Set<F> {
  if (futures === null || futures === undefined || !(Symbol.iterator in Object(futures))) {
    throw invalidArgument(
      TypeError,
      `The futures must be an iterable, but they are ${show(futures)}\nTo fix: pass an array of futures`,
    )
  }
  const all = new Set<F>()
  for (const future of futures) {
    if (!(future instanceof Future)) {
      throw invalidArgument(
        TypeError,
        `The futures must be objects of the class Future, but one is ${show(future)}\nTo fix: pass what submit() has returned; for other promises there are Promise.all() and Promise.race()`,
      )
    }
    all.add(future)
  }
  return all
}
