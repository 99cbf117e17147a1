/**
 * A lock in one word of the heap: the owner's token, and two flags. Taking and giving back an uncontended lock is one
 * compare-and-swap each. A lock whose owner has ended is free, and whoever takes it is told so (see "Lock" in
 * README.md).
 */
import type { Sleep, SyncHeap } from './waiting.ts'

/** Tokens are below it. */
const OWNER = (1 << 29) - 1
/** Somebody sleeps on the word, or may do: whoever gives the lock back wakes one. */
const WAITERS = 1 << 29
/** The last owner ended without giving the lock back, and nobody has dealt with that yet. */
const ABANDONED = 1 << 30

/** How a lock came to its new owner: as usual, or from one that had ended. */
export type Acquired = 'free' | 'abandoned'

/** What giving back found. `notHeld` changed nothing. */
export type Released = 'silent' | 'woke' | 'notHeld'

export class LockWord {
  readonly #heap: SyncHeap
  readonly #words: Int32Array
  readonly #index: number
  readonly #token: number

  constructor(heap: SyncHeap, index: number) {
    this.#heap = heap
    this.#words = heap.words
    this.#index = index
    this.#token = heap.token
  }

  /** Takes the lock if it is simply free. */
  tryFast(): boolean {
    return Atomics.compareExchange(this.#words, this.#index, 0, this.#token) === 0
  }

  /** Takes the lock if it is free in any way; otherwise the sleeper's flag is set, and `sleep` is filled in. */
  attempt(sleep: Sleep): Acquired | undefined {
    for (;;) {
      const value = Atomics.load(this.#words, this.#index)
      const owner = value & OWNER
      // Who has slept may not be the only one, and keeps the flag for the others.
      const flag = sleep.hasSlept ? WAITERS : value & WAITERS
      if (owner === 0 || (owner !== this.#token && !this.#heap.isAlive(owner))) {
        if (!this.#swap(value, this.#token | flag)) continue
        return owner === 0 && (value & ABANDONED) === 0 ? 'free' : 'abandoned'
      }
      sleep.index = this.#index
      sleep.isOwnDoing = owner === this.#token
      sleep.expected = value
      if (sleep.isOwnDoing || (value & WAITERS) !== 0) return undefined
      sleep.expected = value | WAITERS
      if (this.#swap(value, sleep.expected)) return undefined
    }
  }

  /** Gives the lock back, whoever holds it, and wakes one sleeper. */
  release(): Released {
    // Without sleepers, and by its owner: the usual case.
    if (Atomics.compareExchange(this.#words, this.#index, this.#token, 0) === this.#token) return 'silent'
    for (;;) {
      const value = Atomics.load(this.#words, this.#index)
      const owner = value & OWNER
      if (owner === 0) return 'notHeld'
      const isOrphan = owner !== this.#token && !this.#heap.isAlive(owner)
      if (this.#swap(value, isOrphan ? ABANDONED : 0)) return this.#wakeIf(value)
    }
  }

  /** By the owner: gives the lock back so that the next one is told, too, that an earlier owner had ended. */
  abandon(): Released {
    const value = Atomics.exchange(this.#words, this.#index, ABANDONED)
    return this.#wakeIf(value)
  }

  /** Whether this thread holds it. */
  get isOwn(): boolean {
    return (Atomics.load(this.#words, this.#index) & OWNER) === this.#token
  }

  /** The token of the living owner, or 0. */
  get owner(): number {
    const owner = Atomics.load(this.#words, this.#index) & OWNER
    return owner !== 0 && this.#heap.isAlive(owner) ? owner : 0
  }

  #swap(from: number, to: number): boolean {
    return Atomics.compareExchange(this.#words, this.#index, from, to) === from
  }

  #wakeIf(value: number): Released {
    if ((value & WAITERS) === 0) return 'silent'
    this.#heap.wake(this.#index, 1)
    return 'woke'
  }
}
