/**
 * The result of a call of an executor, as Python's `concurrent.futures.Future`. Invariants: it goes from `pending` to
 * `running`, and ends exactly once, `cancelled` or `finished`; whoever waits is told in the turn in which it ends.
 */
import { AsyncResource } from 'node:async_hooks'
import { inspect } from 'node:util'
import { CancelledError, InvalidStateError, TimeoutError, invalidArgument } from '../errors.ts'
import { type WaitOptions, boundedWait } from '../platform/bounded-wait.ts'
import type { Cancellable } from '../pool/async-result.ts'
import { show } from '../pool/option-checks.ts'
import { noteSeen, noteUnseen } from '../pool/unseen-failure.ts'

/** What a {@link Future} is doing. */
export type FutureState = 'pending' | 'running' | 'cancelled' | 'finished'

/** For the executor: what `cancel()` calls off. */
export let makeFutureCancellable: (future: Future<unknown>, work: Cancellable) => void
/** For `wait()` and `asCompleted()`: `onEnd` is called once, when the future has ended and its executor knows. */
export let watchFuture: (future: Future<unknown>, onEnd: () => void) => void
export let unwatchFuture: (future: Future<unknown>, onEnd: () => void) => void
/** Whether it has ended, and its executor knows. */
export let hasEnded: (future: Future<unknown>) => boolean
/** Whether it has ended with an error. One that was cancelled has not. */
export let hasFailed: (future: Future<unknown>) => boolean

type Outcome<T> =
  | { is: 'returned'; value: T }
  | { is: 'threw'; reason: unknown }
  | { is: 'cancelled'; reason: CancelledError }

/**
 * The result of a call that an executor runs. It can be awaited like a promise: that is `result()`.
 *
 * A future whose task has failed and that nobody asks does not end the program, as a rejected promise would: a warning
 * named `UnseenFailureWarning` tells of it when the future is collected as garbage.
 *
 * @example
 * ```ts
 * import { ProcessPoolExecutor } from 'multiproc'
 *
 * await using executor = new ProcessPoolExecutor(2)
 * const future = executor.submit(Math.max, 3, 7)
 * future.addDoneCallback(done => console.log(done.state)) // finished
 * console.log(await future) // 7
 * ```
 * @see https://docs.python.org/3/library/concurrent.futures.html#future-objects
 */
export class Future<T> implements Promise<T> {
  readonly [Symbol.toStringTag] = 'Future'
  #isRunning = false
  #outcome: Outcome<T> | undefined
  /** Whether a cancellation has reached the executor, which then does nothing for it any more. */
  #isNotified = false
  #work: Cancellable | undefined
  /** Each takes this future. (With that type, a future of numbers would be no future of anything.) */
  #callbacks: ((future: never) => unknown)[] = []
  readonly #watchers = new Set<() => void>()
  // Made when somebody first asks, so that a failure nobody asks for is no unhandled rejection.
  #promise: Promise<T> | undefined
  #settler: { resolve(value: T): void; reject(reason: unknown): void } | undefined

  static {
    makeFutureCancellable = (future, work) => {
      future.#work = work
    }
    watchFuture = (future, onEnd) => {
      future.#watchers.add(onEnd)
    }
    unwatchFuture = (future, onEnd) => {
      future.#watchers.delete(onEnd)
    }
    hasEnded = future =>
      future.#outcome !== undefined && (future.#outcome.is !== 'cancelled' || future.#isNotified)
    hasFailed = future => future.#outcome?.is === 'threw'
  }

  /** `'pending'`, `'running'`, `'cancelled'` or `'finished'` (with a result or an error). */
  get state(): FutureState {
    if (this.#outcome) return this.#outcome.is === 'cancelled' ? 'cancelled' : 'finished'
    return this.#isRunning ? 'running' : 'pending'
  }

  /**
   * Calls it off, if no worker was given it so far: then it never runs. (To stop what runs, use `Pool.apply`, whose
   * result can be cancelled at any time.)
   *
   * @returns whether it is cancelled: false when it runs or has finished
   */
  cancel(): boolean {
    if (this.state === 'cancelled') return true
    if (this.state !== 'pending') return false
    const reason = new CancelledError('The future was cancelled before its task began')
    const work = this.#work
    // An executor of ours takes it back in the same moment, and then nobody needs to be told again.
    this.#isNotified = work !== undefined
    this.#end({ is: 'cancelled', reason })
    work?.callOff(reason)
    return true
  }

  /** Whether it was cancelled before it began. */
  cancelled(): boolean {
    return this.state === 'cancelled'
  }

  /** Whether a worker was given it, and has not finished it. It cannot be cancelled then. */
  running(): boolean {
    return this.state === 'running'
  }

  /** Whether it has finished or was cancelled. */
  done(): boolean {
    return this.#outcome !== undefined
  }

  /**
   * What the task returned.
   *
   * @returns rejects with the task's error, with a {@link CancelledError} when the future is cancelled, and with a
   * {@link TimeoutError} when `timeout` milliseconds passed first; the task goes on then.
   */
  result(wait?: WaitOptions): Promise<T> {
    return boundedWait(this.#settled(), wait, { onTimeout: () => notEnded(wait) })
  }

  /**
   * The error of the task, or `null` when it has none.
   *
   * @returns rejects with a {@link CancelledError} when the future is cancelled, and with a {@link TimeoutError} when
   * `timeout` milliseconds passed first.
   */
  async exception(wait?: WaitOptions): Promise<unknown> {
    await boundedWait(
      this.#settled().then(
        () => undefined,
        () => undefined,
      ),
      wait,
      { onTimeout: () => notEnded(wait) },
    )
    const outcome = this.#outcome!
    if (outcome.is === 'cancelled') throw outcome.reason
    return outcome.is === 'threw' ? outcome.reason : null
  }

  /**
   * Calls `callback(future)` when the future has finished or is cancelled; at once when it has already. Callbacks are
   * called in the order in which they were added, each in the async context in which it was added. What one throws becomes a warning named `FutureCallbackWarning`.
   */
  addDoneCallback(callback: (future: this) => unknown): void {
    if (typeof callback !== 'function') {
      throw invalidArgument(
        TypeError,
        `The callback of a future must be a function, but it is ${show(callback)}\nTo fix: pass a function`,
      )
    }
    if (this.#outcome) this.#call(callback)
    else this.#callbacks.push(AsyncResource.bind(callback))
  }

  /**
   * For executors and tests: the task is about to begin.
   *
   * @returns false when the future was cancelled, so that the task must not begin
   * @throws InvalidStateError when it runs already or has ended.
   */
  setRunningOrNotifyCancel(): boolean {
    if (this.#outcome?.is === 'cancelled' && !this.#isNotified) {
      this.#isNotified = true
      this.#tellWatchers()
      return false
    }
    if (this.state !== 'pending') throw this.#wrongState('begin')
    this.#isRunning = true
    return true
  }

  /**
   * For executors and tests: the task has returned.
   *
   * @throws InvalidStateError when the future has ended.
   */
  setResult(value: T): void {
    if (this.#outcome) throw this.#wrongState('have a result')
    this.#end({ is: 'returned', value })
  }

  /**
   * For executors and tests: the task has thrown.
   *
   * @throws InvalidStateError when the future has ended.
   */
  setException(reason: unknown): void {
    if (this.#outcome) throw this.#wrongState('have an error')
    this.#end({ is: 'threw', reason })
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

  /** As Python's `repr`: `<Future state=finished returned number>`. */
  toString(): string {
    const outcome = this.#outcome
    const what =
      outcome === undefined || outcome.is === 'cancelled'
        ? ''
        : ` ${outcome.is === 'returned' ? 'returned' : 'raised'} ${kindOf(outcome.is === 'returned' ? outcome.value : outcome.reason)}`
    return `<Future state=${this.state}${what}>`
  }

  [inspect.custom](): string {
    return this.toString()
  }

  #end(outcome: Outcome<T>): void {
    this.#outcome = outcome
    this.#work = undefined
    if (outcome.is === 'returned') this.#settler?.resolve(outcome.value)
    else if (this.#settler) this.#settler.reject(outcome.reason)
    else if (outcome.is === 'threw') noteUnseen(this, outcome.reason)
    this.#settler = undefined
    const callbacks = this.#callbacks
    this.#callbacks = []
    if (outcome.is !== 'cancelled' || this.#isNotified) this.#tellWatchers()
    for (const callback of callbacks) this.#call(callback)
  }

  #tellWatchers(): void {
    const watchers = [...this.#watchers]
    this.#watchers.clear()
    for (const onEnd of watchers) onEnd()
  }

  #call(callback: (future: never) => unknown): void {
    const warn = (reason: unknown): void => {
      const text = reason instanceof Error ? (reason.stack ?? reason.message) : String(reason)
      process.emitWarning(`A callback of ${this.toString()} threw: ${text}`, 'FutureCallbackWarning')
    }
    try {
      // A callback may be asynchronous, and nobody else waits for it.
      void Promise.resolve(callback(this as never)).catch(warn)
    } catch (reason) {
      warn(reason)
    }
  }

  #settled(): Promise<T> {
    if (!this.#promise) {
      const outcome = this.#outcome
      this.#promise = new Promise<T>((resolve, reject) => {
        if (outcome === undefined) this.#settler = { resolve, reject }
        else if (outcome.is === 'returned') resolve(outcome.value)
        else reject(outcome.reason)
      })
      noteSeen(this)
    }
    return this.#promise
  }

  #wrongState(what: string): InvalidStateError {
    return new InvalidStateError(
      `A future cannot ${what} when it is ${this.state}: ${this.toString()}\nTo fix: let one place end it, once; an executor ends its own futures`,
    )
  }
}

function notEnded(wait: WaitOptions | undefined): never {
  throw new TimeoutError(
    `The future has not ended within ${wait?.timeout} ms; its task goes on\nTo fix: wait longer, or cancel() the future if it has not begun`,
  )
}

/** The type of a value, as `repr` shows it. */
function kindOf(value: unknown): string {
  if (value === null || typeof value !== 'object') return value === null ? 'null' : typeof value
  const { constructor } = value
  return typeof constructor === 'function' && constructor.name !== '' ? constructor.name : 'object'
}
