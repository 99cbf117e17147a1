/**
 * Those in this thread who wait for one word of shared memory, first come, first served. However many there are, one
 * wait of the heap is in progress: each of those costs a thread.
 */
import { type WaitOptions, assertTimeout, isLookOnly } from '../platform/bounded-wait.ts'
import type { PendingWait } from '../platform/heap-backend.ts'
import type { SharedHeap } from '../platform/shared-heap.ts'
import { TIMER_MS_MAX } from '../platform/long-timer.ts'
import { onAbort } from '../platform/on-abort.ts'

/** What an attempt found: it is done, it has to wait, or somebody has stopped in the middle of an operation. */
export type Attempt<T> = { value: T } | 'wait' | 'busy'

interface Waiter {
  /** Kept alive by whoever waits. */
  owner: object
  /** Tries once; true when it has settled. */
  attempt(): boolean
  fail(error: unknown): void
}

/** Who has stopped in the middle of an operation (by a debugger, say) is looked at this often. */
const BUSY_MS = 2

export class WaitLine {
  readonly #heap: SharedHeap
  readonly #word: number
  readonly #counter: number
  readonly #lookAgainMs: (() => number) | undefined
  readonly #waiters: Waiter[] = []
  #pending: PendingWait | undefined
  #isRunning = false
  #isBusy = false
  #onIdle: (() => void)[] = []

  /**
   * @param words - the word that changes, and the one that counts who waits for it; and how long at most until there is
   * something to see although it has not changed
   */
  constructor(
    heap: SharedHeap,
    { word, counter, lookAgainMs }: { word: number; counter: number; lookAgainMs?: () => number },
  ) {
    this.#heap = heap
    this.#word = word
    this.#counter = counter
    this.#lookAgainMs = lookAgainMs
  }

  #waitMs(isBusy: boolean): number {
    return isBusy ? BUSY_MS : (this.#lookAgainMs?.() ?? Infinity)
  }

  get length(): number {
    return this.#waiters.length
  }

  /** Resolves when nobody waits here any more. */
  get idle(): Promise<void> {
    if (!this.#isRunning) return Promise.resolve()
    return new Promise(resolve => this.#onIdle.push(resolve))
  }

  /** Waits until `attempt` has a value, behind those who came before. Resolves with `onTimeout()` after the timeout. */
  wait<T>(
    owner: object,
    attempt: () => Attempt<T>,
    { timeout, signal }: WaitOptions,
    onTimeout: () => T | PromiseLike<T>,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined
      const settled = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', aborted)
      }
      const waiter: Waiter = {
        owner,
        attempt: () => {
          try {
            const result = attempt()
            this.#isBusy = result === 'busy'
            if (typeof result === 'string') return false
            resolve(result.value)
          } catch (error) {
            reject(error)
          }
          settled()
          return true
        },
        fail: error => {
          settled()
          reject(error)
        },
      }
      const aborted = (): void => {
        this.#remove(waiter)
        waiter.fail(signal!.reason)
      }
      const expired = (): void => {
        this.#remove(waiter)
        settled()
        try {
          resolve(onTimeout())
        } catch (error) {
          reject(error)
        }
      }
      const waitFor = (leftMs: number): void => {
        const step = Math.min(leftMs, TIMER_MS_MAX)
        timer = setTimeout(() => (leftMs > step ? waitFor(leftMs - step) : expired()), step)
      }
      if (timeout !== undefined && timeout !== Infinity) waitFor(Math.max(0, timeout))
      if (signal) onAbort(signal, aborted)
      this.#waiters.push(waiter)
      if (!this.#isRunning) void this.#run()
    })
  }

  /** The blocking form. It does not stand in line: nothing else happens in this thread meanwhile. */
  waitSync<T>(attempt: () => Attempt<T>, timeout: number | undefined, onTimeout: () => T): T {
    assertTimeout(timeout)
    const heap = this.#heap
    const { words } = heap
    const until = timeout === undefined ? Infinity : performance.now() + timeout
    for (;;) {
      const { ends } = heap
      const seen = Atomics.load(words, this.#word)
      const result = attempt()
      if (typeof result !== 'string') return result.value
      const leftMs = isLookOnly(timeout) ? 0 : until - performance.now()
      if (leftMs <= 0) return onTimeout()
      // Not counted yet: whoever keeps the other side busy all the time would ask the system for a wake each time.
      if (result === 'wait' && heap.yieldSync(this.#word, seen, ends)) continue
      Atomics.add(words, this.#counter, 1)
      try {
        heap.waitSync(this.#word, seen, Math.min(leftMs, this.#waitMs(result === 'busy')), ends)
      } finally {
        Atomics.sub(words, this.#counter, 1)
      }
    }
  }

  /** Has those who wait try now, because something changed in this thread. */
  look(): void {
    if (this.#isRunning) this.#serve()
    if (this.#waiters.length === 0) this.#pending?.cancel()
  }

  /** Rejects everybody. */
  failAll(error: unknown): void {
    for (const waiter of this.#waiters.splice(0)) waiter.fail(error)
    this.#pending?.cancel()
  }

  #remove(waiter: Waiter): void {
    const at = this.#waiters.indexOf(waiter)
    if (at >= 0) this.#waiters.splice(at, 1)
    if (this.#waiters.length === 0) this.#pending?.cancel()
  }

  #serve(): void {
    let served = 0
    while (served < this.#waiters.length && this.#waiters[served]!.attempt()) served++
    this.#waiters.splice(0, served)
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    const heap = this.#heap
    const { words } = heap
    try {
      while (this.#waiters.length > 0) {
        const { ends } = heap
        const seen = Atomics.load(words, this.#word)
        this.#serve()
        if (this.#waiters.length === 0) break
        Atomics.add(words, this.#counter, 1)
        try {
          this.#pending = heap.waitAsync(this.#word, seen, this.#waitMs(this.#isBusy), ends)
          await this.#pending.outcome
        } finally {
          Atomics.sub(words, this.#counter, 1)
          this.#pending = undefined
        }
      }
    } catch (error) {
      for (const waiter of this.#waiters.splice(0)) waiter.fail(error)
    } finally {
      this.#isRunning = false
      for (const resolve of this.#onIdle.splice(0)) resolve()
    }
  }
}
