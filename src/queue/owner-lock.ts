/**
 * A lock for a few microseconds in shared memory. Its word has the token of the one who holds it, so that whoever finds
 * it held by somebody who has ended takes it over at once.
 */
import type { SharedHeap } from '../platform/shared-heap.ts'

/** Set while somebody may sleep until the lock is free. */
const CONTENDED = 1 << 30
const TOKEN = CONTENDED - 1

/** `recovered`: taken from somebody who ended while holding it, so that what it protects has to be looked at. */
export type Acquired = 'acquired' | 'recovered' | 'busy'

export class OwnerLock {
  readonly #heap: SharedHeap
  readonly #index: number

  constructor(heap: SharedHeap, index: number) {
    this.#heap = heap
    this.#index = index
  }

  /** Takes the lock, waiting no longer than `timeoutMs` for a holder that is alive. */
  acquire(timeoutMs: number): Acquired {
    const { words, token } = this.#heap
    if (Atomics.compareExchange(words, this.#index, 0, token) === 0) return 'acquired'
    return this.#acquireSlowly(token, timeoutMs)
  }

  #acquireSlowly(token: number, timeoutMs: number): Acquired {
    const heap = this.#heap
    const { words } = heap
    const index = this.#index
    const until = performance.now() + timeoutMs
    for (;;) {
      const { ends } = heap
      const seen = Atomics.load(words, index)
      // Who has slept does not know whether others still do, so it leaves the mark.
      const taken = token | CONTENDED
      if (seen === 0) {
        if (Atomics.compareExchange(words, index, 0, taken) === 0) return 'acquired'
        continue
      }
      if (!heap.isAlive(seen & TOKEN)) {
        if (Atomics.compareExchange(words, index, seen, taken) === seen) return 'recovered'
        continue
      }
      const leftMs = until - performance.now()
      if (leftMs <= 0) return 'busy'
      const marked = seen | CONTENDED
      if (seen !== marked && Atomics.compareExchange(words, index, seen, marked) !== seen) continue
      heap.waitSync(index, marked, leftMs, ends)
    }
  }

  release(): void {
    const before = Atomics.exchange(this.#heap.words, this.#index, 0)
    if ((before & CONTENDED) !== 0) this.#heap.wake(this.#index, 1)
  }
}
