/**
 * `asCompleted()`: futures in the order in which they end. Invariant: a future that was given out is kept by nothing
 * here, so that its result can be collected while the others run.
 */
import { TimeoutError } from '../errors.ts'
import { assertTimeout, boundedWait } from '../platform/bounded-wait.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { type Future, hasEnded, unwatchFuture, watchFuture } from './future.ts'
import { futuresOf } from './wait.ts'

/** Options of `asCompleted()`. */
export interface AsCompletedOptions {
  /** Milliseconds from the call on, after which the iteration fails with a {@link TimeoutError}. Default: no limit. */
  timeout?: number | undefined
}

/**
 * What {@link asCompleted} returns: an async iterator over futures.
 *
 * (It is a class of its own because TypeScript takes what an `AsyncIterable` of promises gives for their results, which
 * is true of generators only.)
 */
export class CompletedFutures<F extends Future<unknown>> implements AsyncIterableIterator<F, undefined> {
  readonly #count: number
  readonly #timeoutMs: number | undefined
  readonly #endsAtMs: number
  readonly #pending = new Map<F, () => void>()
  readonly #ended: F[] = []
  readonly #waiters: ((result: IteratorResult<F, undefined>) => void)[] = []

  /** Made by `asCompleted()`. */
  constructor(futures: Iterable<F>, timeoutMs: number | undefined) {
    this.#timeoutMs = timeoutMs
    this.#endsAtMs = performance.now() + (timeoutMs ?? Infinity)
    const all = futuresOf(futures)
    this.#count = all.size
    for (const future of all) {
      if (hasEnded(future)) {
        this.#ended.push(future)
        continue
      }
      const onEnd = (): void => {
        this.#pending.delete(future)
        this.#ended.push(future)
        this.#serve()
      }
      this.#pending.set(future, onEnd)
      watchFuture(future, onEnd)
    }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** The next future that ends. */
  next(): Promise<IteratorResult<F, undefined>> {
    const arrived = new Promise<IteratorResult<F, undefined>>(resolve => {
      this.#waiters.push(resolve)
      this.#serve()
    })
    if (this.#timeoutMs === undefined) return arrived
    const timeout = Math.max(0, this.#endsAtMs - performance.now())
    return boundedWait(arrived, { timeout }, { onTimeout: () => this.#expired() })
  }

  /** Waits for nothing any more. */
  async return(): Promise<IteratorResult<F, undefined>> {
    this.#ended.length = 0
    this.#stop()
    return { done: true, value: undefined }
  }

  #serve(): void {
    while (this.#waiters.length > 0) {
      const value = this.#ended.shift()
      if (value) this.#waiters.shift()!({ done: false, value })
      else if (this.#pending.size === 0) this.#waiters.shift()!({ done: true, value: undefined })
      else return
    }
  }

  #expired(): never {
    const unfinished = this.#pending.size
    this.#stop()
    throw new TimeoutError(
      `${unfinished} (of ${this.#count}) futures unfinished\nTo fix: pass a longer "timeout"; the tasks go on`,
    )
  }

  /** Waits for nothing any more. */
  #stop(): void {
    for (const [future, onEnd] of this.#pending) unwatchFuture(future, onEnd)
    this.#pending.clear()
    this.#serve()
  }
}

/**
 * Gives futures in the order in which they end, those first that have ended already. Each comes once.
 *
 * @param futures - any iterable; of several executors, if you like
 * @returns an async iterator; it fails with a {@link TimeoutError} when `timeout` milliseconds have passed and not all
 * have ended
 * @throws TypeError for what is no future.
 *
 * @example
 * ```ts
 * import { ProcessPoolExecutor, asCompleted } from 'multiproc'
 *
 * await using executor = new ProcessPoolExecutor(2)
 * const futures = ['a', 'bc'].map(text => executor.submit((t: string) => t.length, text))
 * for await (const future of asCompleted(futures)) console.log(await future) // 1 and 2, whichever is done first
 * ```
 * @see https://docs.python.org/3/library/concurrent.futures.html#concurrent.futures.as_completed
 */
export function asCompleted<F extends Future<unknown>>(
  futures: Iterable<F>,
  options: AsCompletedOptions = {},
): CompletedFutures<F> {
  assertKnownOptions('asCompleted', options, ['timeout'])
  const { timeout } = options
  assertTimeout(timeout)
  return new CompletedFutures(futures, timeout)
}
