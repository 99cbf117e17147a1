/**
 * The pool that all of a program shares, so that two libraries have as many workers together as one would have.
 * Invariant: none of its users can end it, or make it smaller, under the feet of another.
 */
import { invalidArgument, invalidState } from '../errors.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import type { StartMethod } from '../process/child-boot.ts'
import { getStartMethod } from '../process/start-methods.ts'
import { checkCount, show } from './option-checks.ts'
import { Pool } from './pool.ts'

/** Options of {@link defaultPool}. */
export interface DefaultPoolOptions {
  /** `'spawn'` for processes or `'thread'`. There is one pool for each. Default: `getStartMethod()`. */
  method?: StartMethod | undefined
  /**
   * How many workers the pool may have, if that is more than before: it grows to the largest number that anybody asks
   * for. Default: no more than it has, which is `cpuCount()` at first.
   */
  processes?: number | undefined
}

/** Its workers end when they have had nothing to do for so long, as those of loky's reusable executor. */
const idleMsMax = 10_000

const pools = new Map<StartMethod, SharedPool>()

/** A pool that belongs to everybody. */
class SharedPool extends Pool {
  override close(): void {
    throw this.#refusal('closed')
  }

  override async terminate(): Promise<void> {
    throw this.#refusal('terminated')
  }

  override resize(processes: number): Promise<void> {
    if (processes < this.processes) throw this.#refusal('made smaller')
    return super.resize(processes)
  }

  /** The end of a scope of one user is not the end of the pool. */
  override async [Symbol.asyncDispose](): Promise<void> {}

  #refusal(what: string): Error {
    return invalidState(
      `The pool "${this.name}" cannot be ${what}: other parts of the program use it too\nTo fix: await your own results; its workers end when they are idle. For a pool of your own, call new Pool()`,
    )
  }
}

/**
 * The pool of the whole program: made when it is first asked for, and the same for everybody who asks, so that
 * libraries share workers instead of multiplying them.
 *
 * Its workers start when there is work, and end when they have had none for 10 seconds. Nobody can close, terminate or
 * shrink it: `close()` throws and `terminate()` rejects with `ERR_INVALID_STATE`, and the end of an `await using` does
 * nothing. When it breaks (its workers cannot be started), the next call makes another one. In a worker of a pool it has
 * as many workers as the limits of nested pools allow.
 *
 * @throws TypeError or RangeError for options that make no sense, ProcessError with code `ERR_LIMIT` in a worker that
 * may not have a pool, or not so many workers.
 *
 * @example
 * ```ts
 * import { defaultPool } from 'multiproc'
 *
 * console.log(await defaultPool().map(x => x * x, [1, 2, 3])) // [ 1, 4, 9 ]
 * console.log(defaultPool() === defaultPool()) // true
 * ```
 */
export function defaultPool(options?: DefaultPoolOptions): Pool {
  assertKnownOptions('defaultPool', options, ['method', 'processes'])
  const method = options?.method ?? getStartMethod()
  if (method !== 'spawn' && method !== 'thread') {
    throw invalidArgument(
      TypeError,
      `The option "method" must be 'spawn' or 'thread', but it is ${show(method)}\nTo fix: pass one of these, or leave it out`,
    )
  }
  const processes = checkCount('processes', options?.processes)
  let pool = pools.get(method)
  if (pool?.stats().state !== 'running') {
    pool = new SharedPool({
      context: method,
      name: `default pool (${method})`,
      onDemand: true,
      idleTimeout: idleMsMax,
    })
    pools.set(method, pool)
  }
  // What it grows by starts when it is needed.
  if (processes !== undefined && processes > pool.processes) void pool.resize(processes)
  return pool
}
