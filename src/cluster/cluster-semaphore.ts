/** ClusterSemaphore: a number of permits that programs on several machines take and give back. */
import { checkCount } from '../pool/option-checks.ts'
import { ClusterAcquirable, type LeaseOptions, checkLease } from './cluster-acquirable.ts'
import { Lease, type TakenLease, isHeldLease } from './lease.ts'
import type { StateStore } from './state-store.ts'

/** Each is a key of its own. */
const permitsMax = 1000
/** Permits that the server names, but whose holders may have ended: so many are asked for in one look. */
const askedAtOnce = 8

/**
 * A semaphore of several machines, with the methods of `BoundedSemaphore`: there are never more permits than `permits`.
 * Each is held for a lease of its own, as a {@link ClusterLock} is. Programs that name different numbers of permits
 * share those that they have in common.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.BoundedSemaphore
 *
 * @example
 * ```ts
 * import { connectState } from 'multiproc/cluster'
 *
 * await using state = await connectState({ cluster: 'nats://queue.example:4222', name: 'render' })
 * {
 *   await using permit = await state.Semaphore('licences', 3).guard() // three at a time, on all machines
 *   console.log(permit.token)
 * }
 * ```
 */
export class ClusterSemaphore extends ClusterAcquirable {
  /** How many there are. */
  readonly permits: number
  /** @internal */
  protected readonly wake: string
  #next = 0

  /** @internal Made by {@link ClusterState.Semaphore}. */
  constructor(store: StateStore, name: string, { permits, ...options }: LeaseOptions & { permits: number }) {
    super(store, name, checkLease('Semaphore', options))
    this.permits = checkCount('Semaphore.permits', permits, { max: permitsMax }) ?? 1
    this.wake = `semaphore.${name}`
  }

  #subject(permit: number): string {
    return this.store.names.key('semaphore', this.name, permit)
  }

  /** @internal */
  protected async attempt(cut: AbortSignal): Promise<TakenLease | undefined> {
    const named = await this.#named()
    const all = Array.from({ length: this.permits }, (_, permit) => permit)
    const free = all.filter(permit => !named.has(permit))
    // Not all who come at once try the same one.
    const first = Math.floor(Math.random() * free.length)
    for (const permit of [...free.slice(first), ...free.slice(0, first)]) {
      const taken = await this.#take(permit, cut)
      if (taken) return taken
    }
    for (let count = Math.min(askedAtOnce, this.permits); count > 0; count--) {
      this.#next = (this.#next + 1) % this.permits
      const taken = await this.#take(this.#next, cut)
      if (taken) return taken
    }
    return undefined
  }

  #take(permit: number, cut: AbortSignal): Promise<TakenLease | undefined> {
    return Lease.take(this.store, this.#subject(permit), { leaseMs: this.leaseMs, cut })
  }

  /** Permits of which the server knows something: they are held, or were when their holder ended. */
  async #named(): Promise<Set<number>> {
    const subjects = await this.store.subjects(this.store.names.partsOf('semaphore', this.name))
    return new Set(subjects.map(subject => Number(subject.slice(subject.lastIndexOf('.') + 1))))
  }

  /** How many permits are free now. */
  async getValue(): Promise<number> {
    const named = [...(await this.#named())].filter(permit => permit < this.permits)
    const entries = await Promise.all(named.map(permit => this.store.get(this.#subject(permit))))
    return this.permits - entries.filter(isHeldLease).length
  }
}
