/** `ThreadPoolExecutor`, and `InterpreterPoolExecutor`, which is the same thing here. */
import { BrokenInterpreterPool, BrokenThreadPool } from '../errors.ts'
import type { BrokenClass } from './breaking.ts'
import { type ThreadPoolExecutorOptions, checkExecutorOptions } from './executor-options.ts'
import { PoolExecutor } from './pool-executor.ts'

/** How many there were of each class. */
const counts = new Map<string, number>()

/**
 * Runs calls in worker threads, as Python's `concurrent.futures.ThreadPoolExecutor`, but on all cores: each thread has
 * a JavaScript heap of its own, so arguments and results are copied, except what is shared memory.
 *
 * @example
 * ```ts
 * import { ThreadPoolExecutor } from 'multiproc'
 *
 * await using executor = new ThreadPoolExecutor({ maxWorkers: 2, threadNamePrefix: 'resize' })
 * console.log(await executor.submit((a: number, b: number) => a + b, 1, 2)) // 3
 * ```
 * @see https://docs.python.org/3/library/concurrent.futures.html#threadpoolexecutor
 */
export class ThreadPoolExecutor extends PoolExecutor {
  /**
   * @param options - the number of threads, or all options
   * @throws as the constructor of {@link ProcessPoolExecutor}
   */
  constructor(options?: number | ThreadPoolExecutorOptions) {
    const isInterpreter = isInterpreterClass(new.target)
    const className = isInterpreter ? 'InterpreterPoolExecutor' : 'ThreadPoolExecutor'
    const brokenClass: BrokenClass = isInterpreter ? BrokenInterpreterPool : BrokenThreadPool
    const index = counts.get(className) ?? 0
    const checked = checkExecutorOptions(options, { className, own: 'threadNamePrefix', index })
    super({
      opener: ThreadPoolExecutor,
      pool: { ...checked.pool, context: 'thread' },
      name: `${className}-${index}`,
      workerPrefix: checked.prefix,
      brokenClass,
      breaksOnDeath: checked.breaksOnDeath,
    })
    counts.set(className, index + 1)
  }
}

/**
 * A {@link ThreadPoolExecutor} by the name that Python gives to threads with an interpreter each: that is what every
 * thread of Node.js is. Functions may be closures, which Python refuses here.
 *
 * @see https://docs.python.org/3/library/concurrent.futures.html#interpreterpoolexecutor
 */
export class InterpreterPoolExecutor extends ThreadPoolExecutor {}

function isInterpreterClass(target: object): boolean {
  return target === InterpreterPoolExecutor || InterpreterPoolExecutor.isPrototypeOf(target)
}
