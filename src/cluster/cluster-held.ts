/** What `guard()` of shared state gives: a lock or permit that is held until it is disposed of, or lost. */
import type { Lease } from './lease.ts'

/**
 * A lock or permit that several machines share and this program has, for an `await using` declaration.
 *
 * @example
 * ```ts
 * import { connectState } from 'multiproc/cluster'
 *
 * await using state = await connectState({ cluster: 'nats://queue.example:4222', name: 'render' })
 * await using held = await state.Lock('report').guard()
 * await fetch(`https://store.example/report?token=${held.token}`, { method: 'PUT', signal: held.signal })
 * ```
 */
export class ClusterHeld implements AsyncDisposable {
  /** Whether the last holder ended without giving it back; only with the option `recover`. */
  readonly ownerDied: boolean
  readonly #lease: Lease
  #release: (() => Promise<void>) | undefined

  /** @internal */
  constructor(lease: Lease, { ownerDied, release }: { ownerDied: boolean; release: () => Promise<void> }) {
    this.#lease = lease
    this.ownerDied = ownerDied
    this.#release = release
  }

  /**
   * The fencing token: larger than that of every holder before, also of one that has not noticed that it lost the lock.
   * Let what the lock protects remember the largest that it has seen, and refuse smaller ones.
   */
  get token(): number {
    return this.#lease.token
  }

  /** Aborts, with a `LeaseLostError`, when it is lost. */
  get signal(): AbortSignal {
    return this.#lease.signal
  }

  /** Whether it is lost, by the clock: true before `signal` aborts where the event loop was blocked meanwhile. */
  get isLost(): boolean {
    return this.#lease.isLost
  }

  /**
   * Gives it back. The second call does nothing.
   *
   * @throws LeaseLostError when it was lost before; ClusterError when the server is away for too long.
   */
  async release(): Promise<void> {
    const release = this.#release
    this.#release = undefined
    await release?.()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release()
  }
}
