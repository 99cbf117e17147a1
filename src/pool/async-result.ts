/**
 * The result of submitted work, as Python's `AsyncResult`: it can be awaited like a promise, asked, and waited
 * for with a deadline. Invariant: it settles exactly once. A failure that nobody looks at does not end the
 * program, as it would with a promise (Python's users collect results and look at them later); a warning tells of
 * it when the result is collected as garbage.
 */
import { TimeoutError, invalidState } from '../errors.ts'
import { type WaitOptions, boundedWait } from '../platform/bounded-wait.ts'
import { noteSeen, noteUnseen } from './unseen-failure.ts'

/** For the pool: the result is there. */
export let resolveResult: (result: AsyncResult<unknown>, value: unknown) => void
/** What `cancel()` calls off. */
export interface Cancellable {
  /** Says whether there was anything to call off. */
  callOff(reason: unknown): boolean
}
/** For the pool: what `cancel()` calls off. */
export let makeCancellable: (result: AsyncResult<unknown>, work: Cancellable) => void
/** For the pool: the task has failed. */
export let rejectResult: (result: AsyncResult<unknown>, reason: unknown) => void

type State<T> = { is: 'pending' } | { is: 'fulfilled'; value: T } | { is: 'rejected'; reason: unknown }

const pending = { is: 'pending' } as const

/**
 * What `Pool.apply`, `Pool.map` and their kin return: a promise of the result, with Python's methods.
 *
 * @example
 * ```ts
 * import { Pool } from 'multiproc'
 *
 * const pool = new Pool(2)
 * const result = pool.apply((a: number, b: number) => a + b, [1, 2])
 * console.log(result.ready()) // false
 * console.log(await result) // 3
 * console.log(result.successful()) // true
 * await pool.terminate()
 * ```
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.pool.AsyncResult
 */
export class AsyncResult<T> implements Promise<T> {
  readonly [Symbol.toStringTag] = 'AsyncResult'
  #state: State<T> = pending
  // Made when somebody first asks, so that a failure nobody asks for is no unhandled rejection.
  #promise: Promise<T> | undefined
  #settler: { resolve(value: T): void; reject(reason: unknown): void } | undefined

  #work: Cancellable | undefined

  static {
    makeCancellable = (result, work) => {
      result.#work = work
    }
    resolveResult = (result, value) => result.#settle({ is: 'fulfilled', value })
    rejectResult = (result, reason) => result.#settle({ is: 'rejected', reason })
  }

  #settle(state: State<T>): void {
    if (this.#state.is !== 'pending') return
    this.#state = state
    this.#work = undefined
    if (state.is === 'fulfilled') this.#settler?.resolve(state.value)
    else if (state.is === 'rejected' && this.#settler) this.#settler.reject(state.reason)
    else if (state.is === 'rejected') noteUnseen(this, state.reason)
  }

  #settled(): Promise<T> {
    if (!this.#promise) {
      const state = this.#state
      this.#promise = new Promise<T>((resolve, reject) => {
        if (state.is === 'fulfilled') resolve(state.value)
        else if (state.is === 'rejected') reject(state.reason)
        else this.#settler = { resolve, reject }
      })
      if (state.is === 'rejected') noteSeen(this)
    }
    return this.#promise
  }

  /**
   * The result, or the task's error.
   *
   * @throws TimeoutError when `timeout` milliseconds passed first; the task goes on (to stop it, `cancel()` it, or give
   * the call a `timeout`).
   */
  get(wait?: WaitOptions): Promise<T> {
    return boundedWait(this.#settled(), wait, {
      onTimeout: () => {
        throw new TimeoutError(
          `The task has not ended within ${wait?.timeout} ms; it goes on\nTo fix: wait longer, or cancel() the result to stop it`,
        )
      },
    })
  }

  /** Waits until the result is there, or the task has failed, or `timeout` milliseconds have passed. */
  async wait(wait?: WaitOptions): Promise<void> {
    const settled = this.#settled().then(
      () => undefined,
      () => undefined,
    )
    await boundedWait(settled, wait, { onTimeout: () => undefined })
  }

  /**
   * Calls the task off, or all items of a map that are not done. What has not begun never does. What runs learns of it
   * by `currentTask().signal`, and when it has not ended within the grace period, its worker is killed and replaced;
   * nothing else that the worker had is lost. The result rejects with `reason` at once.
   *
   * @param reason - default: a `DOMException` with the name `AbortError`
   * @returns whether it was still pending
   */
  cancel(reason: unknown = new DOMException('The task was cancelled', 'AbortError')): boolean {
    return this.#work?.callOff(reason) ?? false
  }

  /** Whether the result is there, or the task has failed. */
  ready(): boolean {
    return this.#state.is !== 'pending'
  }

  /**
   * Whether the task succeeded.
   *
   * @throws ProcessError with code `ERR_INVALID_STATE` when the result is not ready.
   */
  successful(): boolean {
    if (this.#state.is === 'pending') {
      throw invalidState(
        'Cannot tell whether the task was successful: it has not ended\nTo fix: await the result first, or ask ready()',
      )
    }
    return this.#state.is === 'fulfilled'
  }

  // oxlint-disable-next-line unicorn/no-thenable -- being awaited is what it is for
  then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#settled().then(onFulfilled, onRejected)
  }

  catch<B = never>(onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<T | B> {
    return this.#settled().catch(onRejected)
  }

  finally(onFinally?: (() => void) | null): Promise<T> {
    return this.#settled().finally(onFinally)
  }
}
