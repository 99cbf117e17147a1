/** The context that users get: that of the layers below, with managers. */
import { PoolContext } from '../pool/pool-context.ts'
import type { StartMethod } from '../process/child-boot.ts'
import type { ManagerOptions } from './base-manager.ts'
import { Manager, type SyncManager } from './sync-manager.ts'

/** The API bound to one start method; made by {@link getContext}. */
export class Context extends PoolContext {
  /** Starts a manager by this context's start method. */
  Manager(options?: Omit<ManagerOptions, 'context'>): Promise<SyncManager> {
    return Manager({ ...options, context: this.startMethod })
  }
}

/**
 * The API bound to one start method, so that two libraries in one program need not agree on a default.
 *
 * @param method - default: the program's start method, which is fixed by this call
 * @throws TypeError for an unknown method
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.get_context
 *
 * @example
 * ```ts
 * import { getContext } from 'multiproc'
 *
 * const threads = getContext('thread')
 * const child = new threads.Process({ target: () => console.log('in a thread') })
 * child.start()
 * await child.join()
 * ```
 */
export function getContext(method?: StartMethod): Context {
  return Context.for(method)
}
