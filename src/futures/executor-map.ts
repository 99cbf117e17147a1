/**
 * The results of `Executor.map`, in the order of the input. It holds the job and not the other way round: when it is
 * dropped, all items are computed nevertheless, except those that a `bufferSize` has kept from being read.
 */
import { CancelledError, TimeoutError } from '../errors.ts'
import { boundedWait } from '../platform/bounded-wait.ts'
import type { Waiter } from '../pool/imap-job.ts'
import type { ExecutorMapJob } from './executor-map-job.ts'

let dropped: FinalizationRegistry<ExecutorMapJob> | undefined

/**
 * What `Executor.map` returns: an async iterator over the results.
 *
 * The error of a task rejects the `next()` of its item; the following calls go on with the items behind it (as in
 * Python 3.16; a `for await` loop ends with the error). Behind the `timeout` of the map, what has not begun is called
 * off, and `next()` rejects with a {@link TimeoutError}.
 *
 * @example
 * ```ts
 * import { ProcessPoolExecutor } from 'multiproc'
 *
 * await using executor = new ProcessPoolExecutor(2)
 * for await (const power of executor.map(Math.pow, [2, 3, 4], [5, 2, 1])) console.log(power) // 32, 9, 4
 * ```
 * @see https://docs.python.org/3/library/concurrent.futures.html#concurrent.futures.Executor.map
 */
export class ExecutorMap<T> implements AsyncIterableIterator<T, undefined> {
  readonly #job: ExecutorMapJob
  readonly #timeoutMs: number | undefined
  readonly #endsAtMs: number
  #isEnded = false

  /** Made by executors. */
  constructor(job: ExecutorMapJob, timeoutMs: number | undefined) {
    this.#job = job
    this.#timeoutMs = timeoutMs
    this.#endsAtMs = performance.now() + (timeoutMs ?? Infinity)
    dropped ??= new FinalizationRegistry(forget)
    dropped.register(this, job, this)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** The next result. */
  async next(): Promise<IteratorResult<T, undefined>> {
    if (this.#isEnded) return { done: true, value: undefined }
    let waiter: Waiter | undefined
    const arrived = new Promise<IteratorResult<T, undefined>>((resolve, reject) => {
      waiter = { resolve: result => resolve(result as IteratorResult<T, undefined>), reject }
    })
    this.#job.next(waiter!)
    try {
      const timeout =
        this.#timeoutMs === undefined ? undefined : Math.max(0, this.#endsAtMs - performance.now())
      const result = await boundedWait(arrived, { timeout }, { onTimeout: () => this.#expired() })
      if (result.done) this.#end()
      return result
    } catch (reason) {
      if (this.#job.end?.reason === reason) this.#end()
      throw reason
    } finally {
      this.#job.leave(waiter!)
    }
  }

  /** Ends the iteration: what no worker was given is not computed. */
  async return(): Promise<IteratorResult<T, undefined>> {
    this.#end()
    this.#job.drop()
    return { done: true, value: undefined }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  #expired(): never {
    this.#end()
    this.#job.drop()
    throw new TimeoutError(
      `The map has not ended within its timeout of ${this.#timeoutMs} ms; what had not begun is called off\nTo fix: pass a longer "timeout", or less to do`,
    )
  }

  #end(): void {
    this.#isEnded = true
    dropped?.unregister(this)
  }
}

function forget(job: ExecutorMapJob): void {
  if (!job.isUnbounded) job.stop(new CancelledError('Nobody reads the results of the map any more'))
  job.abandon()
}
