/**
 * The shared state of an event, in one word: whether it is set, whether somebody may sleep, and how often it was set.
 * The count lets those go who waited when it was set, even if it has been cleared before they looked.
 */
import type { Sleep, SyncHeap } from './waiting.ts'

const SET = 1
const SLEEPERS = 2
const COUNT = 4

export class EventState {
  readonly #heap: SyncHeap
  readonly #words: Int32Array
  readonly #index: number

  constructor(heap: SyncHeap, index: number) {
    this.#heap = heap
    this.#words = heap.words
    this.#index = index
  }

  get isSet(): boolean {
    return (Atomics.load(this.#words, this.#index) & SET) !== 0
  }

  /** A number that is different after the next `set()`. */
  get count(): number {
    return Atomics.load(this.#words, this.#index) & -COUNT
  }

  set(): void {
    for (;;) {
      const value = Atomics.load(this.#words, this.#index)
      if ((value & SET) !== 0) return
      const next = ((value & -COUNT) + COUNT) | SET | 0
      if (Atomics.compareExchange(this.#words, this.#index, value, next) !== value) continue
      if ((value & SLEEPERS) !== 0) this.#heap.wake(this.#index)
      return
    }
  }

  clear(): void {
    Atomics.and(this.#words, this.#index, ~SET)
  }

  /** @param count - what it was when the wait began */
  attempt(sleep: Sleep, count: number): true | undefined {
    for (;;) {
      const value = Atomics.load(this.#words, this.#index)
      if ((value & SET) !== 0 || (value & -COUNT) !== count) return true
      sleep.index = this.#index
      sleep.expected = value | SLEEPERS
      if (Atomics.compareExchange(this.#words, this.#index, value, sleep.expected) === value) return undefined
    }
  }
}
