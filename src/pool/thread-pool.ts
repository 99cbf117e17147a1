/** `ThreadPool`: the same pool over threads of this process. */
import { Pool } from './pool.ts'
import type { PoolOptions } from './pool-options.ts'

/**
 * A {@link Pool} whose workers are threads: they start faster and can share memory (`SharedArrayBuffer`), but a
 * crash of native code ends the whole program.
 *
 * @example
 * ```ts
 * import { ThreadPool } from 'multiproc'
 *
 * const pool = new ThreadPool(2)
 * const counter = new Int32Array(new SharedArrayBuffer(4))
 * await pool.map(n => Atomics.add(counter, 0, n), [1, 2, 3])
 * console.log(counter[0]) // 6
 * await pool.terminate()
 * ```
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.pool.ThreadPool
 */
export class ThreadPool extends Pool {
  /**
   * @param options - the number of threads, or the options of a pool except `context`
   * @throws as the constructor of {@link Pool}
   */
  constructor(options?: number | Omit<PoolOptions, 'context'>) {
    super({ ...(typeof options === 'number' ? { processes: options } : options), context: 'thread' })
  }
}
