/**
 * The shared state of a semaphore: how many permits there are in all, and how many each member holds. What is
 * available follows from these, so that acquiring and releasing is one store each, and the permits of a member that
 * has ended come back by taking away its entry (see "Semaphore" in README.md).
 */
import type { HeldBlocks } from '../platform/heap-objects.ts'
import { Ledger } from './ledger.ts'
import type { Acquired, Released } from './lock-word.ts'
import type { Sleep, SyncHeap } from './waiting.ts'

const STATE = {
  /** Available permits and held ones together. */
  total: 0,
  initial: 1,
  /** Counts releases: what those who wait sleep on. */
  releases: 2,
  /** Somebody may sleep: the count that was seen, + 1; otherwise 0. */
  sleepers: 3,
  /** Available permits that came from members which had ended, so that whoever gets one can be told. */
  abandoned: 4,
} as const

/** As in Python, on Linux. */
export const PERMITS_MAX = 2 ** 31 - 1

export class SemaphoreState {
  readonly #heap: SyncHeap
  readonly #words: Int32Array
  readonly #ledger: Ledger
  readonly #at: number

  constructor(heap: SyncHeap, blocks: HeldBlocks, initial?: number) {
    this.#heap = heap
    this.#words = heap.words
    this.#ledger = new Ledger(heap, blocks)
    this.#at = this.#ledger.state
    if (initial !== undefined) {
      this.#store(STATE.initial, initial)
      this.#store(STATE.total, initial)
    }
  }

  get initial(): number {
    return this.#load(STATE.initial)
  }

  /** Available permits. */
  get value(): number {
    this.#ledger.enter()
    try {
      this.#takeBackFromEnded()
      return this.#available
    } finally {
      this.#ledger.leave()
    }
  }

  attempt(sleep: Sleep): Acquired | undefined {
    this.#ledger.enter()
    try {
      if (this.#available <= 0) this.#takeBackFromEnded()
      if (this.#available > 0) {
        const { own } = this.#ledger
        Atomics.store(this.#words, own, this.#words[own]! + 1)
        const abandoned = this.#load(STATE.abandoned)
        if (abandoned === 0) return 'free'
        this.#store(STATE.abandoned, abandoned - 1)
        return 'abandoned'
      }
      sleep.index = this.#at + STATE.releases
      sleep.expected = this.#load(STATE.releases)
      this.#store(STATE.sleepers, (sleep.expected + 1) | 0 || 1)
      return undefined
    } finally {
      this.#ledger.leave()
    }
  }

  /**
   * Gives a permit back: one that this member holds, or else one that another holds, or else (`canGrow`) a new one.
   * `notHeld`, and nothing changed, when nobody holds one and there may be no more.
   */
  release({ canGrow, isAbandoned = false }: { canGrow: boolean; isAbandoned?: boolean }): Released {
    let sleepers: number
    this.#ledger.enter()
    try {
      const holder = this.#holder()
      if (holder !== undefined) Atomics.store(this.#words, holder, this.#words[holder]! - 1)
      else if (!canGrow || this.#load(STATE.total) >= PERMITS_MAX) return 'notHeld'
      else this.#store(STATE.total, this.#load(STATE.total) + 1)
      if (isAbandoned) this.#store(STATE.abandoned, this.#load(STATE.abandoned) + 1)
      this.#store(STATE.releases, (this.#load(STATE.releases) + 1) | 0)
      sleepers = this.#load(STATE.sleepers)
    } finally {
      this.#ledger.leave()
    }
    // When nobody slept, the next release need not try. Whoever begins to sleep meanwhile has written another number,
    // since the count is another.
    if (sleepers === 0) return 'silent'
    if (this.#heap.wake(this.#at + STATE.releases, 1) === 0)
      Atomics.compareExchange(this.#words, this.#at + STATE.sleepers, sleepers, 0)
    return 'woke'
  }

  /** The entry that a permit is taken from. */
  #holder(): number | undefined {
    const ledger = this.#ledger
    if (this.#words[ledger.own]! > 0) return ledger.own
    this.#takeBackFromEnded()
    for (const entry of ledger.entries()) return entry
    return undefined
  }

  get #available(): number {
    return this.#load(STATE.total) - this.#ledger.sum
  }

  /**
   * The permits of ended members become available, up to the initial number of them: a semaphore that one side
   * counts up and the other down has no permits to give back when the other side ends.
   */
  #takeBackFromEnded(): void {
    const ledger = this.#ledger
    for (const entry of ledger.entries()) {
      if (ledger.isAlive(entry)) continue
      const held = this.#words[entry]!
      const returned = Math.max(0, Math.min(held, this.initial - this.#available))
      // Each store leaves a state from which this comes to the same end: `total` lower makes room for more of `held`.
      if (returned < held) this.#store(STATE.total, this.#load(STATE.total) - (held - returned))
      this.#store(STATE.abandoned, Math.min(this.#load(STATE.abandoned) + returned, this.#available + held))
      ledger.clear(entry)
    }
  }

  #load(offset: number): number {
    return Atomics.load(this.#words, this.#at + offset)
  }

  #store(offset: number, value: number): void {
    Atomics.store(this.#words, this.#at + offset, value)
  }
}
