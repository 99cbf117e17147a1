/** `ProcessPoolExecutor`: an executor of processes. */
import { BrokenProcessPool } from '../errors.ts'
import { type ProcessPoolExecutorOptions, checkExecutorOptions } from './executor-options.ts'
import { PoolExecutor } from './pool-executor.ts'

let count = 0

/**
 * Runs calls in worker processes, as Python's `concurrent.futures.ProcessPoolExecutor`. It is a {@link Pool} with
 * another face: `submit()` gives a {@link Future}, workers start when they are needed, and one that dies breaks the
 * executor with a {@link BrokenProcessPool}, unless `onWorkerDeath` says otherwise.
 *
 * Work that was submitted keeps the program alive until it is done. One that is collected as garbage finishes it too.
 *
 * @example
 * ```ts
 * import { ProcessPoolExecutor, asCompleted } from 'multiproc'
 *
 * await using executor = new ProcessPoolExecutor({ maxWorkers: 2 })
 * const futures = [3, 4].map(n => executor.submit((x: number) => x * x, n))
 * for await (const future of asCompleted(futures)) console.log(await future) // 9 and 16, whichever is done first
 * ```
 * @see https://docs.python.org/3/library/concurrent.futures.html#processpoolexecutor
 */
export class ProcessPoolExecutor extends PoolExecutor {
  /**
   * @param options - the number of workers, or all options
   * @throws TypeError or RangeError for options that make no sense, SerializeError for an initializer that cannot be
   * sent, ProcessError with code `ERR_LIMIT` in a worker that may not have so many.
   */
  constructor(options?: number | ProcessPoolExecutorOptions) {
    const className = 'ProcessPoolExecutor'
    const { prefix, ...rest } = checkExecutorOptions(options, { className, own: 'mpContext', index: count })
    super({
      opener: ProcessPoolExecutor,
      ...rest,
      name: prefix,
      workerPrefix: prefix,
      brokenClass: BrokenProcessPool,
    })
    count++
  }
}
