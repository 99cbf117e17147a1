/** ClusterBarrier: a place where programs on several machines wait for each other. See "Barriers" in README.md. */
import { BrokenBarrierError, invalidArgument } from '../errors.ts'
import { type WaitOptions, assertTimeout } from '../platform/bounded-wait.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { checkCount } from '../pool/option-checks.ts'
import { decode, encode } from '../serialize/codec.ts'
import { type LeaseOptions, checkLease } from './cluster-acquirable.ts'
import { ClusterObject } from './cluster-object.ts'
import { Lease, isHeldLease } from './lease.ts'
import { type StateContent, type StateStore, newNonce } from './state-store.ts'

/** Options of {@link ClusterState.Barrier}. */
export interface ClusterBarrierOptions extends LeaseOptions {
  /** Milliseconds: the default of `wait()`. Default: no limit. */
  timeout?: number | undefined
}

interface BarrierState {
  parties: number
  /** How often all have come, or those who had come were sent away. */
  generation: number
  /** Those who wait, in the order in which they came. */
  came: string[]
  isBroken: boolean
  /** The last generations that did not end well, for those who have not looked since. */
  failed: number[]
}

type End = 'passed' | 'broken'

const WAIT_OPTIONS = ['timeout', 'signal']
/** Each waits with a lease of its own. */
const partiesMax = 1000
/** Who waits looks each second: nobody misses as many. */
const failedKept = 32

/**
 * A barrier of several machines, with the methods of `Barrier` but without an action. It breaks when one of those who
 * wait gives up (its timeout, its signal), is killed or falls silent for its lease, and by `abort()`. All who wait then,
 * and all who come, get a `BrokenBarrierError`, until `reset()`.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Barrier
 *
 * @example
 * ```ts
 * import { connectState } from 'multiproc/cluster'
 *
 * await using state = await connectState({ cluster: 'nats://queue.example:4222', name: 'render' })
 * console.log(await state.Barrier('loaded', 3).wait({ timeout: 60_000 })) // 0, 1 or 2
 * ```
 */
export class ClusterBarrier extends ClusterObject {
  /** How many have to come. */
  readonly parties: number
  readonly #leaseMs: number
  readonly #timeout: number
  readonly #subject: string
  readonly #wake: string

  /** @internal Made by {@link ClusterState.Barrier}. */
  constructor(
    store: StateStore,
    name: string,
    { parties, timeout, ...options }: ClusterBarrierOptions & { parties: number },
  ) {
    super(store, name)
    assertTimeout(timeout)
    this.parties = checkCount('Barrier.parties', parties, { max: partiesMax }) ?? 1
    this.#leaseMs = checkLease('Barrier', options)
    this.#timeout = timeout ?? Infinity
    this.#subject = store.names.key('barrier', name)
    this.#wake = `barrier.${name}`
  }

  /** How many have come and wait for the others. */
  async nWaiting(): Promise<number> {
    return (await this.#state()).came.length
  }

  /** Whether nobody can pass until `reset()`. */
  async isBroken(): Promise<boolean> {
    return (await this.#state()).isBroken
  }

  /**
   * Waits until all parties have come.
   *
   * @returns a number from 0 to `parties - 1`, another one for each of them
   * @throws BrokenBarrierError when the barrier is broken, or breaks, or is reset; RangeError while others wait who
   * named another number of parties; the reason of the signal, which breaks the barrier; ClosedError; ClusterError.
   */
  async wait(options: WaitOptions = {}): Promise<number> {
    assertKnownOptions('Barrier.wait()', options, WAIT_OPTIONS)
    const { timeout = this.#timeout, signal } = options
    assertTimeout(timeout)
    signal?.throwIfAborted()
    const untilMs = performance.now() + timeout
    const party = newNonce()
    // Others see by it that this one lives. It is there before anybody can look for it.
    const { lease } = (await Lease.take(this.store, this.#presence(party), { leaseMs: this.#leaseMs }))!
    this.store.leases.add(lease)
    try {
      const { index, generation } = await this.#enter(party)
      if (index + 1 === this.parties) return index
      const left = { timeout: Math.max(0, untilMs - performance.now()), signal }
      if ((await this.#leave(party, generation, left)) === 'passed') return index
      throw brokenBarrier()
    } finally {
      this.store.leases.delete(lease)
      // That it is gone already is the end of it as well.
      await lease.release().catch(() => {})
    }
  }

  /** Empties the barrier, and mends it. Those who wait get a `BrokenBarrierError`. */
  async reset(): Promise<void> {
    await this.#change(state => {
      if (state.came.length === 0 && !state.isBroken) return undefined
      return { ...failedNow(state), generation: state.generation + 1, came: [], isBroken: false }
    })
    this.store.poke(this.#wake)
  }

  /** Breaks the barrier. Those who wait get a `BrokenBarrierError`, and so do all who come, until `reset()`. */
  async abort(): Promise<void> {
    await this.#change(state => (state.isBroken ? undefined : brokenNow(state)))
    this.store.poke(this.#wake)
  }

  async #enter(party: string): Promise<{ index: number; generation: number }> {
    const entered = await this.store.change(this.#subject, content => {
      const state = this.#stateIn(content)
      const { generation, isBroken } = state
      if (isBroken) return { frames: undefined, result: undefined }
      const came = [...state.came, party]
      const isLast = came.length === this.parties
      const after = isLast ? { ...state, came: [], generation: generation + 1 } : { ...state, came }
      return { frames: [encode(after)], result: { index: came.length - 1, generation } }
    })
    if (!entered) throw brokenBarrier()
    this.store.poke(this.#wake)
    return entered
  }

  async #leave(party: string, generation: number, options: WaitOptions): Promise<End> {
    try {
      const end = await this.store.waits.until(this.#wake, cut => this.#look(party, generation, cut), options)
      return end ?? (await this.#giveUp(generation))
    } catch (error) {
      // It was passed in the very moment of the signal, or it breaks for all.
      if (options.signal?.aborted && (await this.#giveUp(generation)) === 'passed') return 'passed'
      throw error
    }
  }

  /**
   * Each looks after the one who came before it, and the first after the last: so all are looked after, by somebody who
   * lives as long as anybody does.
   */
  async #look(party: string, generation: number, cut: AbortSignal): Promise<End | undefined> {
    const state = await this.#state(cut)
    const end = endOf(state, generation)
    if (end) return end
    const other = state.came.at(state.came.indexOf(party) - 1)
    if (other === undefined || other === party) return undefined
    if (isHeldLease(await this.store.get(this.#presence(other), cut))) return undefined
    // It has passed meanwhile, or died.
    return await this.#giveUp(generation, cut)
  }

  /** Breaks the barrier for all of this generation, unless they have passed. */
  async #giveUp(generation: number, cut?: AbortSignal): Promise<End> {
    const end = await this.store.change<End>(
      this.#subject,
      content => {
        const state = this.#stateIn(content)
        const found = endOf(state, generation)
        return found
          ? { frames: undefined, result: found }
          : { frames: [encode(brokenNow(state))], result: 'broken' }
      },
      cut,
    )
    this.store.poke(this.#wake)
    return end
  }

  #presence(party: string): string {
    return this.store.names.key('party', this.name, party)
  }

  async #state(cut?: AbortSignal): Promise<BarrierState> {
    return this.#stateIn((await this.store.get(this.#subject, cut))?.content)
  }

  async #change(step: (state: BarrierState) => BarrierState | undefined): Promise<void> {
    await this.store.change(this.#subject, content => {
      const state = step(this.#stateIn(content))
      return { frames: state && [encode(state)], result: undefined }
    })
  }

  #stateIn(content: StateContent | undefined): BarrierState {
    const { parties } = this
    if (!content) return { parties, generation: 0, came: [], isBroken: false, failed: [] }
    const state = decode(content.frames[0]!) as BarrierState
    if (state.parties === parties || state.came.length === 0) return { ...state, parties }
    throw invalidArgument(
      RangeError,
      `Cannot use the barrier "${this.name}" with ${parties} parties: others wait at it for ${state.parties}\nTo fix: name the same number in every program`,
    )
  }
}

/** What became of a generation, once it is decided. */
function endOf(state: BarrierState, generation: number): End | undefined {
  if (state.failed.includes(generation)) return 'broken'
  return state.generation > generation ? 'passed' : undefined
}

function failedNow(state: BarrierState): BarrierState {
  return { ...state, failed: [...state.failed, state.generation].slice(-failedKept) }
}

function brokenNow(state: BarrierState): BarrierState {
  return { ...failedNow(state), came: [], isBroken: true }
}

function brokenBarrier(): BrokenBarrierError {
  return new BrokenBarrierError(
    'The barrier is broken: it was aborted or reset, or one of the parties gave up, was killed or fell silent while it waited\n' +
      'To fix: let all parties come in time, and call reset() before the barrier is used again',
  )
}
