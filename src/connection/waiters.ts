/**
 * Those in this thread who wait for one thing of a socket, first come, first served. Whoever is served is served whole:
 * a timeout or a signal that comes in the same turn finds nothing to call off any more, so that no message is lost.
 */
import { type WaitOptions, assertWaitOptions, isLookOnly } from '../platform/bounded-wait.ts'
import { TIMER_MS_MAX } from '../platform/long-timer.ts'
import { onAbort } from '../platform/on-abort.ts'

/** What an attempt found: it is done, or has to wait. It may throw, which fails the one who waits. */
export type Attempt<T> = { value: T } | 'wait'

interface Waiter {
  /** Tries once; true when it has settled. */
  attempt(): boolean
  fail(error: unknown): void
}

export class Waiters {
  readonly #queue: Waiter[] = []
  readonly #changed: (count: number) => void

  /** @param changed - called whenever somebody has begun or ended to wait */
  constructor(changed: (count: number) => void = () => {}) {
    this.#changed = changed
  }

  get count(): number {
    return this.#queue.length
  }

  /**
   * Waits until `attempt` has a value, behind those who came before.
   *
   * @param onTimeout - gives the result, or throws, when the timeout has passed. One of 0 lets the event loop turn once:
   * what the system has received is not here before.
   */
  async wait<T>(attempt: () => Attempt<T>, options: WaitOptions, onTimeout: () => T): Promise<T> {
    assertWaitOptions(options)
    const { timeout, signal } = options
    signal?.throwIfAborted()
    if (this.#queue.length === 0) {
      const now = attempt()
      if (now !== 'wait') return now.value
    }
    return await new Promise<T>((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined
      let immediate: NodeJS.Immediate | undefined
      const settle = (act: () => void): void => {
        clearTimeout(timer)
        clearImmediate(immediate)
        signal?.removeEventListener('abort', aborted)
        try {
          act()
        } catch (error) {
          reject(error)
        }
      }
      const waiter: Waiter = {
        attempt: () => {
          let result: Attempt<T>
          try {
            result = attempt()
          } catch (error) {
            settle(() => reject(error))
            return true
          }
          if (result === 'wait') return false
          const { value } = result
          settle(() => resolve(value))
          return true
        },
        fail: error => settle(() => reject(error)),
      }
      const leave = (act: () => void): void => {
        const at = this.#queue.indexOf(waiter)
        if (at < 0) return
        this.#queue.splice(at, 1)
        settle(act)
        this.#changed(this.#queue.length)
      }
      const aborted = (): void => leave(() => reject(signal!.reason))
      const expired = (): void => leave(() => resolve(onTimeout()))
      const waitFor = (leftMs: number): void => {
        const step = Math.min(leftMs, TIMER_MS_MAX)
        timer = setTimeout(() => (leftMs > step ? waitFor(leftMs - step) : expired()), step)
      }
      // The turn after this one has looked at all sockets in between.
      if (isLookOnly(timeout)) immediate = setImmediate(() => (immediate = setImmediate(expired)))
      else if (timeout !== undefined && timeout !== Infinity) waitFor(timeout)
      if (signal) onAbort(signal, aborted)
      this.#queue.push(waiter)
      this.#changed(this.#queue.length)
    })
  }

  /** Has those who wait try, because something has changed. */
  look(): void {
    if (this.#queue.length === 0) return
    let served = 0
    while (served < this.#queue.length && this.#queue[served]!.attempt()) served++
    if (served === 0) return
    this.#queue.splice(0, served)
    this.#changed(this.#queue.length)
  }

  /** Rejects everybody. */
  failAll(error: unknown): void {
    for (const waiter of this.#queue.splice(0)) waiter.fail(error)
    this.#changed(0)
  }
}
