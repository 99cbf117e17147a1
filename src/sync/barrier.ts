/** Barrier: a place where tasks wait for each other until a given number of them has come. */
import { inspect } from 'node:util'
import { BrokenBarrierError, invalidArgument } from '../errors.ts'
import { type BlockingOptions, type WaitOptions, assertTimeout } from '../platform/bounded-wait.ts'
import {
  type Operations,
  addShareable,
  callLater,
  callNow,
  handleToSend,
  remoteForm,
  remoteToString,
} from '../broker/shareable.ts'
import { objectFor, openBlock } from '../platform/heap-objects.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import type { BlockHandle } from '../platform/shared-heap.ts'
import { BarrierState } from './barrier-state.ts'
import { BLOCK_KINDS } from './block-kinds.ts'
import { LocalWaiters } from './local-waiters.ts'
import { type SyncHeap, waitBlocking } from './waiting.ts'

/** Options of a {@link Barrier}. */
export interface BarrierOptions {
  /** Called by one of the parties, in its process, when all have come and before any goes on. */
  action?: (() => unknown) | undefined
  /** Milliseconds: the default of `wait()`. Default: no limit. */
  timeout?: number | undefined
}

const OPTIONS = ['action', 'timeout']
const WAIT_OPTIONS = ['timeout', 'signal']
/** As many as there can be processes and threads, with thousands of tasks each. */
const PARTIES_MAX = 2 ** 24

/**
 * A barrier for a number of parties, as Python's `multiprocessing.Barrier`: all wait until the last has come, and then
 * all go on. It can be used again and again.
 *
 * The barrier breaks when one of those who wait gives up (its timeout, its signal), when its process or thread ends,
 * when the action fails, and by `abort()`. All who wait then, and all who come, get a `BrokenBarrierError`, until
 * `reset()`. A party that ends before it has come is not noticed: give a timeout.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Barrier
 *
 * @example
 * ```ts
 * import { Barrier, Process } from 'multiproc'
 *
 * const barrier = new Barrier(3)
 * const target = async () => void (await barrier.wait())
 * const children = [1, 2].map(() => new Process({ target }))
 * for (const child of children) child.start()
 * console.log((await barrier.wait()) < 3) // true
 * for (const child of children) await child.join()
 * ```
 */
export class Barrier {
  readonly #heap: SyncHeap
  readonly #state: BarrierState
  /** @internal */
  readonly options: BarrierOptions
  #outside: LocalWaiters<number | 'broken'> | undefined
  #inside: LocalWaiters<'passed' | 'broken'> | undefined

  /**
   * @param parties - how many have to come
   * @throws RangeError unless that is a whole number from 1 on; TypeError for a wrong action.
   */
  constructor(parties: number, options: BarrierOptions = {}) {
    if (!(Number.isInteger(parties) && parties >= 1 && parties <= PARTIES_MAX)) {
      throw invalidArgument(
        typeof parties === 'number' ? RangeError : TypeError,
        `Cannot make a Barrier: "parties" must be a whole number from 1 to ${PARTIES_MAX}, got ${String(parties)}\nTo fix: pass such a number`,
      )
    }
    assertKnownOptions('Barrier', options, OPTIONS)
    assertTimeout(options.timeout)
    if (options.action !== undefined && typeof options.action !== 'function') {
      throw invalidArgument(
        TypeError,
        'Cannot make a Barrier: "action" must be a function\nTo fix: pass a function, or leave it out',
      )
    }
    const { heap, blocks, isNew } = openBlock(this, BLOCK_KINDS.barrier)
    this.#heap = heap
    this.#state = new BarrierState(heap, blocks, isNew ? parties : undefined)
    this.options = { ...options }
  }

  /** How many have to come. */
  get parties(): number {
    return this.#state.parties
  }

  /** How many have come and wait for the others. */
  get nWaiting(): number {
    return this.#state.waiting
  }

  /** Whether nobody can pass until `reset()`. */
  get isBroken(): boolean {
    return ['breaking', 'broken'].includes(this.#state.phase)
  }

  /**
   * Waits until all parties have come.
   *
   * @returns a number from 0 to `parties - 1`, another one for each of them
   * @throws BrokenBarrierError when the barrier is broken, or breaks, or is reset; what the action throws, if this
   * task runs it; the reason of the signal, which breaks the barrier.
   */
  async wait(options: WaitOptions = {}): Promise<number> {
    assertKnownOptions('Barrier.wait()', options, WAIT_OPTIONS)
    assertTimeout(options.timeout)
    options.signal?.throwIfAborted()
    const { signal, timeout = this.options.timeout } = options
    const until = performance.now() + (timeout ?? Infinity)
    const hasAction = this.options.action !== undefined
    const index = await this.enter({ timeout, signal }, hasAction)
    if (index + 1 === this.parties && hasAction) {
      let isDone = false
      try {
        await this.options.action!()
        isDone = true
      } finally {
        isDone = this.endAction(isDone)
      }
      return this.passed(index, isDone)
    }
    const timeoutLeft = Math.max(0, until - performance.now())
    return this.passed(index, await this.leave({ timeout: timeoutLeft, signal }))
  }

  /** The same as `wait()`, blocking this thread. An action that returns a promise is not waited for. */
  waitSync(options: BlockingOptions = {}): number {
    assertKnownOptions('Barrier.waitSync()', options, WAIT_OPTIONS)
    assertTimeout(options.timeout)
    const { timeout = this.options.timeout ?? Infinity } = options
    const until = performance.now() + timeout
    const hasAction = this.options.action !== undefined
    const index = this.enterSync(timeout, hasAction)
    if (index + 1 === this.parties && hasAction) {
      let isDone = false
      try {
        this.options.action!()
        isDone = true
      } finally {
        isDone = this.endAction(isDone)
      }
      return this.passed(index, isDone)
    }
    return this.passed(index, this.leaveSync(Math.max(0, until - performance.now())))
  }

  /** Comes in; the number tells who was last, and does the action. @internal */
  async enter({ timeout, signal }: WaitOptions, hasAction: boolean): Promise<number> {
    this.#outside ??= new LocalWaiters(this.#heap)
    const outcome = await this.#outside.wait(
      sleep => this.#state.enter(sleep, { hasAction }),
      { timeout, signal },
      () => this.#break(),
    )
    const index = this.#entered(outcome)
    this.#poke()
    return index
  }

  /** @internal */
  enterSync(timeout: number, hasAction: boolean): number {
    const outcome = waitBlocking(this.#heap, sleep => this.#state.enter(sleep, { hasAction }), { timeout })
    if (outcome === undefined) this.#break()
    const index = this.#entered(outcome)
    this.#poke()
    return index
  }

  /** Waits for those who are missing, and says whether all came. @internal */
  async leave({ timeout, signal }: WaitOptions): Promise<boolean> {
    this.#inside ??= new LocalWaiters(this.#heap)
    const end = await this.#inside.wait(
      sleep => this.#state.leave(sleep),
      { timeout, signal },
      () => this.#giveUp(),
    )
    this.#poke()
    return end === 'passed'
  }

  /** @internal */
  leaveSync(timeout: number): boolean {
    const end = waitBlocking(this.#heap, sleep => this.#state.leave(sleep), { timeout })
    this.#poke()
    return (end ?? this.#giveUp()) === 'passed'
  }

  /** Says what became of the action, and whether the others may go on. @internal */
  endAction(isDone: boolean): boolean {
    const isPassed = this.#state.endAction({ isDone }) && isDone
    this.#poke()
    return isPassed
  }

  /** @internal */
  protected passed(index: number, isPassed: boolean): number {
    if (isPassed) return index
    throw brokenBarrier()
  }

  #entered(outcome: number | 'broken' | undefined): number {
    if (typeof outcome === 'number') return outcome
    throw brokenBarrier()
  }

  #giveUp(): 'passed' | 'broken' {
    const end = this.#state.giveUp()
    this.#poke()
    return end
  }

  /** One who gives up outside breaks the barrier, too: the others would wait for it. */
  #break(): undefined {
    this.#state.abort()
    this.#poke()
  }

  #poke(): void {
    this.#outside?.poke()
    this.#inside?.poke()
  }

  /** Empties the barrier, and mends it. Those who wait get a `BrokenBarrierError`. */
  reset(): void {
    this.#state.reset()
    this.#poke()
  }

  /** Breaks the barrier. Those who wait get a `BrokenBarrierError`, and so do all who come, until `reset()`. */
  abort(): void {
    this.#state.abort()
    this.#poke()
  }

  toString(): string {
    const { phase, waiting, parties } = this.#state
    return `<Barrier ${phase.startsWith('br') ? 'broken' : `${waiting} of ${parties}`}>`
  }

  /** @internal */
  [inspect.custom](): string {
    return this.toString()
  }
}

function brokenBarrier(): BrokenBarrierError {
  return new BrokenBarrierError(
    'The barrier is broken: it was aborted or reset, one of the parties gave up or ended while it waited, or the action failed\n' +
      'To fix: let all parties come in time, and call reset() before the barrier is used again',
  )
}

const OPERATIONS_AT_HOME: Operations<Barrier> = {
  enter: (barrier, [timeout, hasAction], signal) =>
    barrier.enter({ timeout: timeout as number | undefined, signal }, hasAction as boolean),
  leave: (barrier, [timeout], signal) => barrier.leave({ timeout: timeout as number | undefined, signal }),
  endAction: (barrier, [isDone]) => barrier.endAction(isDone as boolean),
  nWaiting: barrier => barrier.nWaiting,
  isBroken: barrier => barrier.isBroken,
  reset: barrier => barrier.reset(),
  abort: barrier => barrier.abort(),
}

/** Of a barrier whose memory is in another process. The action runs here. */
const REMOTE_BARRIER: object & ThisType<Barrier> = {
  enter({ timeout, signal }: WaitOptions, hasAction: boolean): Promise<number> {
    return callLater(this, 'enter', [timeout, hasAction], signal) as Promise<number>
  },
  enterSync(timeout: number, hasAction: boolean): number {
    return callNow(this, 'enter', [timeout, hasAction]) as number
  },
  async leave({ timeout, signal }: WaitOptions): Promise<boolean> {
    if (signal?.aborted !== true) return (await callLater(this, 'leave', [timeout], signal)) as boolean
    // Aborted on the way in: at home this party has come, and the others would wait for it if it did not give up there.
    if (await callLater(this, 'leave', [0])) return true
    throw signal.reason
  },
  leaveSync(timeout: number): boolean {
    return callNow(this, 'leave', [timeout]) as boolean
  },
  endAction(isDone: boolean): boolean {
    return callNow(this, 'endAction', [isDone]) as boolean
  },
  get nWaiting(): number {
    return callNow(this, 'nWaiting') as number
  },
  get isBroken(): boolean {
    return callNow(this, 'isBroken') as boolean
  },
  reset(): void {
    callNow(this, 'reset')
  },
  abort(): void {
    callNow(this, 'abort')
  },
  toString(): string {
    return remoteToString(this)
  },
}

const REMOTE = remoteForm(Barrier, REMOTE_BARRIER)

interface Parts extends BarrierOptions {
  handle: BlockHandle
  parties: number
}

addShareable<Barrier>({
  type: Barrier,
  name: 'multiproc.Barrier',
  module: import.meta.url,
  encode: (barrier, receiver): Parts => ({
    handle: handleToSend(barrier, receiver),
    parties: barrier.parties,
    ...barrier.options,
  }),
  handleIn: data => (data as Parts).handle,
  decode: data => {
    const { handle, parties, ...options } = data as Parts
    return objectFor(handle, BLOCK_KINDS.barrier, () => new Barrier(parties, options))
  },
  makeRemote: data => {
    const { handle: _, parties, ...options } = data as Parts
    return Object.create(REMOTE, { parties: { value: parties }, options: { value: options } }) as Barrier
  },
  // The action is called by one of the parties, in its process.
  dataForHome: data => ({ handle: (data as Parts).handle, parties: (data as Parts).parties }),
  operations: OPERATIONS_AT_HOME,
})
