/** `SpawnPool`: the pool of a context whose children are processes, whatever the default start method is. */
import { Pool } from './pool.ts'
import type { PoolOptions } from './pool-options.ts'

/** A {@link Pool} whose workers are processes: `getContext('spawn').Pool`. */
export class SpawnPool extends Pool {
  /**
   * @param options - the number of processes, or the options of a pool except `context`
   * @throws as the constructor of {@link Pool}
   */
  constructor(options?: number | Omit<PoolOptions, 'context'>) {
    super({ ...(typeof options === 'number' ? { processes: options } : options), context: 'spawn' })
  }
}
