/**
 * The iterator that `Pool.imap` and `imapUnordered` return. It holds the job and not the other way round, so that
 * an iterator that is dropped without `return()` can be collected, and then stops its job.
 */
import { TimeoutError } from '../errors.ts'
import { type WaitOptions, assertWaitOptions, boundedWait } from '../platform/bounded-wait.ts'
import type { ImapJob, Waiter } from './imap-job.ts'

let dropped: FinalizationRegistry<ImapJob> | undefined

/**
 * The results of `Pool.imap`: an async iterator whose `next` can also wait with a deadline.
 *
 * A task's error rejects the `next` call of its item; the following calls go on with the other items.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.pool.Pool.imap
 */
export class ImapIterator<T> implements AsyncIterableIterator<T, undefined> {
  readonly #job: ImapJob
  #isEnded = false

  /** Made by pools. */
  constructor(job: ImapJob) {
    this.#job = job
    dropped ??= new FinalizationRegistry(held => held.drop())
    dropped.register(this, job, this)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /**
   * The next result.
   *
   * @throws TimeoutError when `timeout` milliseconds passed first; the result is then the next call's.
   */
  next(wait?: WaitOptions): Promise<IteratorResult<T, undefined>> {
    try {
      // Before anything is taken.
      if (wait !== undefined) assertWaitOptions(wait)
    } catch (error) {
      return Promise.reject(error)
    }
    if (this.#isEnded) return Promise.resolve({ done: true, value: undefined })
    let waiter: Waiter | undefined
    const arrived = new Promise<IteratorResult<T, undefined>>((resolve, reject) => {
      waiter = {
        resolve: result => {
          if (result.done) this.#end()
          resolve(result as IteratorResult<T, undefined>)
        },
        reject,
      }
    })
    this.#job.next(waiter!)
    return wait === undefined ? arrived : this.#nextWithin(arrived, waiter!, wait)
  }

  async #nextWithin(
    arrived: Promise<IteratorResult<T, undefined>>,
    waiter: Waiter,
    wait: WaitOptions,
  ): Promise<IteratorResult<T, undefined>> {
    try {
      return await boundedWait(arrived, wait, {
        onTimeout: () => {
          throw new TimeoutError(
            `The next result has not arrived within ${wait.timeout} ms; it is still computed`,
          )
        },
      })
    } finally {
      this.#job.leave(waiter)
    }
  }

  /** Ends the iteration: the input is read no further, and no more of its items are started. */
  async return(): Promise<IteratorResult<T, undefined>> {
    this.#end()
    this.#job.drop()
    return { done: true, value: undefined }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  #end(): void {
    this.#isEnded = true
    dropped?.unregister(this)
  }
}
