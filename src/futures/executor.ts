/** The base class of all executors, as Python's `concurrent.futures.Executor`: what a library asks for that takes any. */
import type { Input } from '../pool/input-reader.ts'
import type { ExecutorMap } from './executor-map.ts'
import type { Future } from './future.ts'

/** One input for each parameter of a function. */
export type InputsOf<A extends readonly unknown[]> = { [K in keyof A]: Input<A[K]> }

/** Options of `Executor.map`. */
export interface ExecutorMapOptions {
  /** Milliseconds from the call on, after which the iteration fails and what has not begun is called off. Default: no limit. */
  timeout?: number | undefined
  /** Items in one message to a worker. Default: chosen from the time that items take. */
  chunkSize?: number | undefined
  /**
   * How many items may be read from the input ahead of the results that were consumed, so that the input may be endless.
   * Default: everything is read and computed, whether or not anybody consumes.
   */
  bufferSize?: number | undefined
}

/** Options of `Executor.shutdown`. */
export interface ShutdownOptions {
  /** Whether the promise waits until everything submitted is done and the workers have ended. Default: true. */
  wait?: boolean | undefined
  /** Whether futures that no worker has or is free for are cancelled, and maps read no further. Default: false. */
  cancelFutures?: boolean | undefined
}

/**
 * Runs functions elsewhere: the base class of {@link ProcessPoolExecutor} and {@link ThreadPoolExecutor}, for
 * libraries that take any executor, and for executors of your own.
 *
 * @example
 * ```ts
 * import { type Executor, ThreadPoolExecutor } from 'multiproc'
 *
 * async function sumOfSquares(executor: Executor, numbers: number[]): Promise<number> {
 *   let sum = 0
 *   for await (const square of executor.map(n => n * n, numbers)) sum += square
 *   return sum
 * }
 *
 * await using threads = new ThreadPoolExecutor(2)
 * console.log(await sumOfSquares(threads, [1, 2, 3])) // 14
 * ```
 * @see https://docs.python.org/3/library/concurrent.futures.html#executor-objects
 */
export abstract class Executor implements AsyncDisposable {
  /**
   * Runs `fn(...args)`. The arguments are copied now, so that later changes of them do not matter. What cannot be sent is
   * the error of the future.
   *
   * @throws TypeError for what is no function, ClosedError after `shutdown()` and at the end of the program, the error
   * of a broken executor.
   */
  abstract submit<A extends unknown[], R>(fn: (...args: A) => R, ...args: A): Future<Awaited<R>>

  /**
   * Calls `fn` with the items of one input, or with those of several at a time until one of them ends. Everything is
   * computed whether or not the results are read, unless there is a `bufferSize`.
   *
   * @param inputs - iterables or async iterables, and behind them the options
   * @throws as `submit`, TypeError or RangeError for options that make no sense, SerializeError for a function that
   * cannot be sent.
   */
  abstract map<T, R>(
    fn: (item: T) => R,
    items: Input<T>,
    options?: ExecutorMapOptions,
  ): ExecutorMap<Awaited<R>>
  abstract map<A extends unknown[], R>(
    fn: (...args: A) => R,
    ...inputs: [...InputsOf<A>, ExecutorMapOptions?]
  ): ExecutorMap<Awaited<R>>

  /**
   * Accepts no more work. What was submitted is done, also when nobody waits: the program ends behind it. May be called
   * several times.
   */
  abstract shutdown(options?: ShutdownOptions): Promise<void>

  /** `shutdown()`: waits for everything that was submitted. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown()
  }
}
