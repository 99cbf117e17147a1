/**
 * The shared state of a barrier: what it is doing, and how many tasks of each member are inside. The steps of a round
 * are in "Barrier" in README.md.
 */
import type { HeldBlocks } from '../platform/heap-objects.ts'
import { Ledger } from './ledger.ts'
import type { Sleep, SyncHeap } from './waiting.ts'

/**
 * `filling`: tasks arrive. `acting`: all are there, one runs the action. `passing` and `resetting`: those inside
 * leave, and new ones wait outside until they have. `breaking`: those inside have passed and leave, and then it is
 * `broken`: nobody passes until a reset.
 */
export type BarrierPhase = 'filling' | 'acting' | 'passing' | 'resetting' | 'breaking' | 'broken'
const PHASES: readonly BarrierPhase[] = ['filling', 'acting', 'passing', 'resetting', 'breaking', 'broken']
const PHASE_BITS = 3

/** In the ledger's state: the phase, with a count of changes above it, so that no phase looks like an earlier one. */
const PHASE = 0
const PARTIES = 1

function isPassed(phase: BarrierPhase): boolean {
  return phase === 'passing' || phase === 'breaking'
}

export class BarrierState {
  readonly #heap: SyncHeap
  readonly #words: Int32Array
  readonly #ledger: Ledger
  readonly #at: number
  #hasChanged = false

  constructor(heap: SyncHeap, blocks: HeldBlocks, parties?: number) {
    this.#heap = heap
    this.#words = heap.words
    this.#ledger = new Ledger(heap, blocks)
    this.#at = this.#ledger.state
    if (parties !== undefined) this.#words[this.#at + PARTIES] = parties
  }

  get parties(): number {
    return this.#words[this.#at + PARTIES]!
  }

  get phase(): BarrierPhase {
    return this.#change(() => this.#phase)
  }

  /** How many wait for the others to arrive. */
  get waiting(): number {
    return this.#change(() => (this.#phase === 'filling' ? this.#ledger.sum : 0))
  }

  /** Goes inside: the number of those who were there before, or `broken`. Waits while an earlier round leaves. */
  enter(sleep: Sleep, { hasAction }: { hasAction: boolean }): number | 'broken' | undefined {
    return this.#change(() => {
      const phase = this.#phase
      if (phase === 'broken' || phase === 'breaking') return 'broken'
      if (phase !== 'filling') return this.#sleep(sleep)
      const index = this.#ledger.sum
      const { own } = this.#ledger
      Atomics.store(this.#words, own, this.#words[own]! + 1)
      if (index + 1 === this.parties) this.#enterPhase(hasAction ? 'acting' : 'passing')
      return index
    })
  }

  /** Inside: leaves when the round has ended, and says how. */
  leave(sleep: Sleep): 'passed' | 'broken' | undefined {
    return this.#change(() => {
      const phase = this.#phase
      if (phase === 'filling' || phase === 'acting') return this.#sleep(sleep)
      this.#goOut()
      return isPassed(phase) ? 'passed' : 'broken'
    })
  }

  /** By the one who ran the action: lets all pass, or breaks the barrier. False when it was broken meanwhile. */
  endAction({ isDone }: { isDone: boolean }): boolean {
    return this.#change(() => {
      const isActing = this.#phase === 'acting'
      if (isActing) this.#enterPhase(isDone ? 'passing' : 'broken')
      this.#goOut()
      return isActing
    })
  }

  /** A task inside gives up: the barrier breaks, unless the round has ended already. Says how it ended for this one. */
  giveUp(): 'passed' | 'broken' {
    return this.#change(() => {
      const phase = this.#phase
      if (phase === 'filling' || phase === 'acting') this.#enterPhase('broken')
      this.#goOut()
      return isPassed(phase) ? 'passed' : 'broken'
    })
  }

  /** Who has passed has passed: only the next round is broken then. */
  abort(): void {
    this.#change(() => this.#enterPhase(isPassed(this.#phase) ? 'breaking' : 'broken'))
  }

  reset(): void {
    this.#change(() => {
      if (isPassed(this.#phase)) this.#enterPhase('passing')
      else this.#enterPhase(this.#ledger.sum === 0 ? 'filling' : 'resetting')
    })
  }

  #goOut(): void {
    const { own } = this.#ledger
    Atomics.store(this.#words, own, this.#words[own]! - 1)
    this.#settle()
  }

  /** What follows from the members that have ended, and from the last one having left. */
  #settle(): void {
    for (const entry of this.#ledger.entries()) {
      if (this.#ledger.isAlive(entry)) continue
      if (this.#phase === 'filling' || this.#phase === 'acting') this.#enterPhase('broken')
      this.#ledger.clear(entry)
    }
    const phase = this.#phase
    if ((phase === 'passing' || phase === 'resetting') && this.#ledger.sum === 0) this.#enterPhase('filling')
    else if (phase === 'breaking' && this.#ledger.sum === 0) this.#enterPhase('broken')
    else if (phase === 'filling' && this.#ledger.sum >= this.parties)
      // Whoever filled it was killed before it could say so.
      this.#enterPhase('broken')
  }

  get #phase(): BarrierPhase {
    return PHASES[this.#words[this.#at + PHASE]! & ((1 << PHASE_BITS) - 1)]!
  }

  #enterPhase(phase: BarrierPhase): void {
    if (phase === this.#phase) return
    const round = (this.#words[this.#at + PHASE]! >> PHASE_BITS) + 1
    Atomics.store(this.#words, this.#at + PHASE, (round << PHASE_BITS) | PHASES.indexOf(phase))
    this.#hasChanged = true
  }

  #sleep(sleep: Sleep): undefined {
    sleep.index = this.#at + PHASE
    sleep.expected = this.#words[this.#at + PHASE]!
  }

  #change<T>(change: () => T): T {
    this.#hasChanged = false
    this.#ledger.enter()
    try {
      this.#settle()
      return change()
    } finally {
      this.#ledger.leave()
      if (this.#hasChanged) this.#heap.wake(this.#at + PHASE)
    }
  }
}
