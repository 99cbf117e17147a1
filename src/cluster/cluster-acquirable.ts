/**
 * What locks and semaphores of several machines have in common: acquiring, with and without a guard, and what happens
 * when a holder has ended. Their own files say how one attempt works.
 */
import { OwnerDiedError, TimeoutError, invalidState } from '../errors.ts'
import { type WaitOptions, assertTimeout } from '../platform/bounded-wait.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { checkMilliseconds } from '../pool/option-checks.ts'
import { ClusterHeld } from './cluster-held.ts'
import { ClusterObject } from './cluster-object.ts'
import type { Lease, TakenLease } from './lease.ts'
import type { StateStore } from './state-store.ts'
import { Turns } from './turns.ts'

/** Options of `acquire()` and `guard()` of shared state. */
export interface ClusterAcquireOptions extends WaitOptions {
  /** Take over in silence from a holder that ended, instead of failing with `OwnerDiedError`. Default: false. */
  recover?: boolean | undefined
}

/** Options of {@link ClusterState.Lock} and {@link ClusterState.Semaphore}. */
export interface LeaseOptions {
  /**
   * Milliseconds after which others get what a program held that has fallen silent; 1000 or more. It is renewed three
   * times as often. Default: 15000.
   */
  lease?: number | undefined
}

const ACQUIRE_OPTIONS = ['timeout', 'signal', 'recover']
const leaseMsMin = 1000
const leaseMsUsual = 15_000

/** @throws RangeError for less than a second, which the server cannot count. */
export function checkLease(what: string, options: LeaseOptions): number {
  assertKnownOptions(what, options, ['lease'])
  const leaseMs = checkMilliseconds(`${what}.lease`, options.lease, leaseMsMin) ?? leaseMsUsual
  // A timer cannot wait for longer; who wants to hold something for ever has it renewed for ever.
  return Math.min(leaseMs, 24 * 3600_000)
}

/** Base of {@link ClusterLock} and {@link ClusterSemaphore}. */
export abstract class ClusterAcquirable extends ClusterObject {
  /** @internal */
  protected readonly leaseMs: number
  readonly #turns: Turns
  /** What `acquire()` has taken, in its order. */
  readonly #acquired: Lease[] = []

  /** @internal */
  constructor(store: StateStore, name: string, leaseMs: number) {
    super(store, name)
    this.leaseMs = leaseMs
    this.#turns = new Turns(store.waits)
  }

  /** What is poked when it is given back. @internal */
  protected abstract readonly wake: string
  /** One look, without waiting. @internal */
  protected abstract attempt(cut: AbortSignal): Promise<TakenLease | undefined>

  /**
   * Waits until it can be had, and takes it.
   *
   * @returns true, or false when the timeout came first. With `{ timeout: 0 }` it asks the server once.
   * @throws OwnerDiedError when the last holder ended without giving it back. Then you have it, and give it back after
   * putting things in order. ClosedError after `close()`; ClusterError when the server is away for too long; the reason
   * of the signal.
   */
  async acquire(options: ClusterAcquireOptions = {}): Promise<boolean> {
    const taken = await this.#take('acquire', options)
    if (!taken) return false
    this.#acquired.push(taken.lease)
    if (taken.isAbandoned && options.recover !== true) throw this.#ownerDied(true)
    return true
  }

  /**
   * Gives back what `acquire()` of this object has taken first.
   *
   * @throws ProcessError `ERR_INVALID_STATE` when it has taken nothing; LeaseLostError when it was lost before.
   */
  async release(): Promise<void> {
    const lease = this.#acquired.shift()
    if (!lease) {
      throw invalidState(
        `Cannot release the ${this.constructor.name} "${this.name}": nobody has acquired it by this object\nTo fix: release it once for each acquire(), by the same object`,
      )
    }
    await this.#giveBack(lease, { isAbandoned: false })
  }

  /**
   * Acquires as `acquire()` does, to be given back at the end of a block: `await using held = await lock.guard()`.
   *
   * @throws TimeoutError when the timeout came first; OwnerDiedError when the last holder ended without giving it back.
   * Nothing is held then, and the next one is told as well; `guard({ recover: true })` takes it over. Else as
   * `acquire()`.
   */
  async guard(options: ClusterAcquireOptions = {}): Promise<ClusterHeld> {
    const taken = await this.#take('guard', options)
    if (!taken) {
      throw new TimeoutError(
        `The ${this.constructor.name} "${this.name}" could not be had within ${options.timeout} ms\nTo fix: give it a longer "timeout", or find out who holds it for so long`,
      )
    }
    const { lease, isAbandoned } = taken
    if (isAbandoned && options.recover !== true) {
      await this.#giveBack(lease, { isAbandoned: true })
      throw this.#ownerDied(false)
    }
    return new ClusterHeld(lease, {
      ownerDied: isAbandoned,
      release: () => this.#giveBack(lease, { isAbandoned: false }),
    })
  }

  /** What `acquire()` has taken first and has not given back. @internal */
  protected get firstLease(): Lease | undefined {
    return this.#acquired[0]
  }

  async #take(method: string, options: ClusterAcquireOptions): Promise<TakenLease | undefined> {
    assertKnownOptions(`${this.constructor.name}.${method}()`, options, ACQUIRE_OPTIONS)
    const { timeout = Infinity, signal } = options
    assertTimeout(timeout)
    this.store.waits.assertOpen()
    signal?.throwIfAborted()
    const untilMs = performance.now() + timeout
    if (!(await this.#turns.enter({ timeout, signal }))) return undefined
    try {
      const left = { timeout: Math.max(0, untilMs - performance.now()), signal }
      const taken = await this.store.waits.until(
        this.wake,
        cut => this.attempt(cut),
        left,
        ({ lease, isAbandoned }) => this.#giveBack(lease, { isAbandoned }).catch(() => {}),
      )
      if (taken) this.store.leases.add(taken.lease)
      return taken
    } finally {
      this.#turns.leave()
    }
  }

  async #giveBack(lease: Lease, { isAbandoned }: { isAbandoned: boolean }): Promise<void> {
    this.store.leases.delete(lease)
    try {
      await lease.release({ isAbandoned })
    } finally {
      this.store.poke(this.wake)
    }
  }

  #ownerDied(isHeld: boolean): OwnerDiedError {
    return new OwnerDiedError(
      `The program that held the ${this.constructor.name} "${this.name}" ended, or was silent for its lease, without giving it back; what it protects may be half changed\n` +
        (isHeld
          ? 'To fix: put that in order, then release() it: it is yours now. { recover: true } takes over without this error'
          : 'To fix: take it over with guard({ recover: true }), and put things in order when "ownerDied" is true'),
    )
  }
}
