/**
 * The tasks of this thread that wait for the same thing, in the order in which they came. However many they are, one
 * wait of the heap serves them: each of those costs a thread.
 */
import { memberEnded } from '../platform/block-handle.ts'
import type { WaitOptions } from '../platform/bounded-wait.ts'
import type { PendingWait } from '../platform/heap-backend.ts'
import { microtask } from '../platform/microtask.ts'
import { type Attempt, newSleep, type SyncHeap } from './waiting.ts'
import { TIMER_MS_MAX } from '../platform/long-timer.ts'
import { onAbort } from '../platform/on-abort.ts'

/** How often to look whether another process did what only this thread was expected to do. As in the heap's waits. */
const LOOK_AROUND_MS = 10
/** After so many hand-overs within this thread, other processes get a chance. */
const HAND_OVERS_MAX = 64
/** What they need to wake up: some 100 µs on an idle machine. */
const CHANCE_MS = 1

/** Why a task stops waiting without success. */
export type GiveUp = 'timeout' | 'abort'

interface Waiter<T extends {}> {
  readonly attempt: Attempt<T>
  readonly resolve: (result: T | undefined) => void
  readonly reject: (error: unknown) => void
  stop(): void
}

export class LocalWaiters<T extends {}> {
  readonly #heap: SyncHeap
  readonly #queue = new Set<Waiter<T>>()
  readonly #sleep = newSleep()
  #pending: PendingWait | undefined
  #pendingIndex = 0
  #lookAround: NodeJS.Timeout | undefined
  #isScheduled = false
  #handOvers = 0

  constructor(heap: SyncHeap) {
    this.#heap = heap
  }

  get size(): number {
    return this.#queue.size
  }

  /**
   * Waits behind those who are here already. Gives `undefined` after the timeout, or what `onGiveUp` finds instead.
   *
   * @throws the reason of the signal; what the attempt throws.
   */
  wait(
    attempt: Attempt<T>,
    { timeout, signal }: WaitOptions,
    onGiveUp?: (why: GiveUp) => T | undefined,
  ): Promise<T | undefined> {
    return new Promise<T | undefined>((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined
      const aborted = (): void => {
        this.#remove(waiter)
        try {
          onGiveUp?.('abort')
          reject(signal!.reason)
        } catch (error) {
          reject(error)
        }
      }
      const expired = (): void => {
        this.#remove(waiter)
        try {
          resolve(onGiveUp?.('timeout'))
        } catch (error) {
          reject(error)
        }
      }
      const waiter: Waiter<T> = {
        attempt,
        resolve,
        reject,
        stop: () => {
          clearTimeout(timer)
          signal?.removeEventListener('abort', aborted)
        },
      }
      const arm = (leftMs: number): void => {
        const step = Math.min(leftMs, TIMER_MS_MAX)
        timer = setTimeout(() => (leftMs > step ? arm(leftMs - step) : expired()), step)
      }
      this.#queue.add(waiter)
      if (this.#queue.size === 1) this.#tryAll()
      if (!this.#queue.has(waiter)) return
      if (signal?.aborted) aborted()
      else {
        if (signal) onAbort(signal, aborted)
        if (timeout !== undefined && timeout !== Infinity) arm(Math.max(0, timeout))
      }
    })
  }

  /** Says that something in this thread has changed what they wait for. They try when the present task has returned. */
  poke({ areOthersWaiting = false } = {}): void {
    if (this.#queue.size === 0 || this.#isScheduled) return
    this.#isScheduled = true
    if (areOthersWaiting && ++this.#handOvers >= HAND_OVERS_MAX) {
      this.#handOvers = 0
      setTimeout(() => this.#tryAll(), CHANCE_MS)
    } else microtask(() => this.#tryAll())
  }

  #remove(waiter: Waiter<T>): void {
    waiter.stop()
    this.#queue.delete(waiter)
    if (this.#queue.size === 0) this.#stopSleeping()
  }

  /** The first tries until it succeeds, then the next. */
  #tryAll(): void {
    this.#isScheduled = false
    if (this.#heap.hasEnded) {
      this.#failAll()
      return
    }
    for (const waiter of this.#queue) {
      const { ends } = this.#heap
      let result: T | undefined
      try {
        result = waiter.attempt(this.#sleep)
      } catch (error) {
        this.#remove(waiter)
        waiter.reject(error)
        continue
      }
      if (result === undefined) {
        this.#fallAsleep(ends)
        return
      }
      this.#remove(waiter)
      waiter.resolve(result)
    }
  }

  /** The member for which they wait has ended: what one of them took now would be held by the dead. */
  #failAll(): void {
    for (const waiter of this.#queue) {
      this.#remove(waiter)
      waiter.reject(memberEnded())
    }
  }

  #fallAsleep(ends: number): void {
    const { index, expected, isOwnDoing } = this.#sleep
    if (this.#pending !== undefined) {
      // It waits for an older value of the word, and so looks again in 10 ms at most, or when it is woken.
      if (this.#pendingIndex === index) return
      this.#pending.cancel()
    }
    if (isOwnDoing) {
      // poke() will say when. Only if another process does it, unusually, it takes until the next look around.
      this.#lookAround ??= setInterval(() => this.#tryAll(), LOOK_AROUND_MS)
      return
    }
    clearInterval(this.#lookAround)
    this.#lookAround = undefined
    this.#sleep.hasSlept = true
    const pending = this.#heap.waitAsync(index, expected, Infinity, ends)
    this.#pending = pending
    this.#pendingIndex = index
    void this.#afterSleep(pending, index)
  }

  async #afterSleep(pending: PendingWait, index: number): Promise<void> {
    const outcome = await pending.outcome
    if (this.#pending === pending) this.#pending = undefined
    if (this.#queue.size > 0) this.#tryAll()
    // It was woken for tasks that have given up meanwhile: the wake is for somebody else.
    else if (outcome === 'changed') this.#heap.wake(index, 1)
  }

  #stopSleeping(): void {
    clearInterval(this.#lookAround)
    this.#lookAround = undefined
    this.#pending?.cancel()
    this.#pending = undefined
    this.#sleep.hasSlept = false
    this.#sleep.isOwnDoing = false
  }
}
