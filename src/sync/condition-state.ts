/**
 * The shared state of a condition: how many tasks of each member wait, and how many of these have been notified. A
 * notification stands in the word of a member until a task takes it, so it survives a lost wake; one that was given
 * to a member which ended passes to another (see "Condition" in README.md).
 */
import type { HeldBlocks } from '../platform/heap-objects.ts'
import { Ledger } from './ledger.ts'
import type { Sleep, SyncHeap } from './waiting.ts'

/** In the word of a member: waiting tasks in the low half, notified ones of them in the high half. */
const HALF = 0x1_0000
const WAITING_MAX = 0x7fff

/** In the ledger's state: the entry after which notify() looks first, so that all members have their turn. */
const LAST = 0

const waitingIn = (word: number): number => word & (HALF - 1)
const notifiedIn = (word: number): number => word >>> 16

export class ConditionState {
  readonly #heap: SyncHeap
  readonly #words: Int32Array
  readonly #ledger: Ledger

  constructor(heap: SyncHeap, blocks: HeldBlocks) {
    this.#heap = heap
    this.#words = heap.words
    this.#ledger = new Ledger(heap, blocks)
  }

  /** One more task of this member waits. False when there are too many. */
  join(): boolean {
    return this.#change(() => {
      const { own } = this.#ledger
      const word = this.#words[own]!
      if (waitingIn(word) >= WAITING_MAX) return false
      Atomics.store(this.#words, own, word + 1)
      return true
    })
  }

  /** Takes a notification, and stops waiting with it. */
  attempt(sleep: Sleep): true | undefined {
    return this.#change(woken => {
      this.#passOnFromEnded(woken)
      const { own } = this.#ledger
      const word = this.#words[own]!
      if (notifiedIn(word) > 0) {
        Atomics.store(this.#words, own, word - HALF - 1)
        return true
      }
      sleep.index = own
      sleep.expected = word
      return undefined
    })
  }

  /**
   * Stops waiting without a notification; true when there was one for this task already, which is taken then.
   *
   * @param isPassedOn - whether another task gets it instead, if any waits
   */
  leave({ isPassedOn }: { isPassedOn: boolean }): boolean {
    return this.#change(woken => {
      const { own } = this.#ledger
      const word = this.#words[own]!
      if (notifiedIn(word) < waitingIn(word)) {
        Atomics.store(this.#words, own, word - 1)
        return false
      }
      Atomics.store(this.#words, own, word - HALF - 1)
      if (isPassedOn) this.#notify(1, woken)
      return true
    })
  }

  /** Notifies up to `count` of the tasks that wait, and gives how many. */
  notify(count: number): number {
    return this.#change(woken => {
      this.#passOnFromEnded(woken)
      return this.#notify(count, woken)
    })
  }

  /** How many tasks wait and have not been notified. */
  get waiting(): number {
    return this.#change(woken => {
      this.#passOnFromEnded(woken)
      let waiting = 0
      for (const entry of this.#ledger.entries())
        waiting += waitingIn(this.#words[entry]!) - notifiedIn(this.#words[entry]!)
      return waiting
    })
  }

  #notify(count: number, woken: Set<number>): number {
    const { state } = this.#ledger
    const last = this.#words[state + LAST]!
    const entries = [...this.#ledger.entries()].toSorted((a, b) => a - b)
    const first = entries.findIndex(entry => entry > last)
    const inTurn = first < 0 ? entries : [...entries.slice(first), ...entries.slice(0, first)]
    let left = count
    for (const entry of inTurn) {
      if (left === 0) break
      const word = this.#words[entry]!
      const given = Math.min(left, waitingIn(word) - notifiedIn(word))
      if (given === 0) continue
      Atomics.store(this.#words, entry, word + given * HALF)
      Atomics.store(this.#words, state + LAST, entry)
      woken.add(entry)
      left -= given
    }
    return count - left
  }

  /** Whoever is killed in the middle of this leaves a notification twice rather than not at all. */
  #passOnFromEnded(woken: Set<number>): void {
    for (const entry of this.#ledger.entries()) {
      if (this.#ledger.isAlive(entry)) continue
      const notified = notifiedIn(this.#words[entry]!)
      // It waits no longer: what follows must not give it its own notifications again.
      Atomics.store(this.#words, entry, notified * (HALF + 1))
      this.#notify(notified, woken)
      this.#ledger.clear(entry)
    }
  }

  /** Calls `change` under the ledger's lock, and then wakes the members whose words it put into `woken`. */
  #change<T>(change: (woken: Set<number>) => T): T {
    const woken = new Set<number>()
    this.#ledger.enter()
    try {
      return change(woken)
    } finally {
      this.#ledger.leave()
      for (const entry of woken) this.#heap.wake(entry)
    }
  }
}
