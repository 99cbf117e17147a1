/** A context with pools: what the process layer has, and what this layer adds. */
import { BaseContext } from '../process/base-context.ts'
import { SpawnPool } from './spawn-pool.ts'
import { ThreadPool } from './thread-pool.ts'

/** The API bound to one start method, with pools. */
export class PoolContext extends BaseContext {
  /** `Pool` bound to this context's start method. */
  get Pool(): typeof SpawnPool | typeof ThreadPool {
    return this.startMethod === 'thread' ? ThreadPool : SpawnPool
  }
}
