/** ClusterLock: held by one task at a time, on whichever machine it runs. */
import { ClusterAcquirable, type LeaseOptions, checkLease } from './cluster-acquirable.ts'
import { Lease, type TakenLease, isHeldLease } from './lease.ts'
import type { StateStore } from './state-store.ts'

/**
 * A lock of several machines, with the methods of `Lock`. It is held for a lease, which is renewed while the program
 * lives; when it is killed, or silent for as long, the next one gets it, and is told by an `OwnerDiedError`.
 *
 * No lock of several machines can keep a program from acting that was stopped and does not know it: hand the fencing
 * token to what the lock protects, and let that refuse smaller ones.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Lock
 *
 * @example
 * ```ts
 * import { connectState } from 'multiproc/cluster'
 *
 * await using state = await connectState({ cluster: 'nats://queue.example:4222', name: 'render' })
 * const lock = state.Lock('report', { lease: 10_000 })
 * if (await lock.acquire({ timeout: 5000 })) {
 *   console.log(lock.token)
 *   await lock.release()
 * }
 * ```
 */
export class ClusterLock extends ClusterAcquirable {
  /** @internal */
  protected readonly wake: string
  readonly #subject: string

  /** @internal Made by {@link ClusterState.Lock}. */
  constructor(store: StateStore, name: string, options: LeaseOptions) {
    super(store, name, checkLease('Lock', options))
    this.#subject = store.names.key('lock', name)
    this.wake = `lock.${name}`
  }

  /** @internal */
  protected attempt(cut: AbortSignal): Promise<TakenLease | undefined> {
    return Lease.take(this.store, this.#subject, { leaseMs: this.leaseMs, cut })
  }

  /** The fencing token of what `acquire()` has taken; `undefined` when this object does not hold the lock. */
  get token(): number | undefined {
    return this.firstLease?.token
  }

  /** Aborts when what `acquire()` has taken is lost; `undefined` when this object does not hold the lock. */
  get signal(): AbortSignal | undefined {
    return this.firstLease?.signal
  }

  /** Whether anybody holds it. */
  async locked(): Promise<boolean> {
    return isHeldLease(await this.store.get(this.#subject))
  }
}
