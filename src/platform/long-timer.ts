/**
 * A timer for the numbers that users give: Node.js takes a delay of more than 2^31 ms (24.8 days) for one of 1 ms.
 * Invariant: it is never early, and does not keep the program alive.
 */

/** The longest delay that a timer of Node.js takes. */
export const TIMER_MS_MAX = 2 ** 31 - 1

export class LongTimer {
  readonly #act: () => void
  #timer: NodeJS.Timeout | undefined

  /** Calls `act` once, in `delayMs` milliseconds, unless it is stopped before. `Infinity` is never. */
  constructor(act: () => void, delayMs: number) {
    this.#act = act
    if (delayMs !== Infinity) this.#arm(delayMs)
  }

  #arm(leftMs: number): void {
    const stepMs = Math.min(leftMs, TIMER_MS_MAX)
    const look = (): void => (leftMs > stepMs ? this.#arm(leftMs - stepMs) : this.#act())
    this.#timer = setTimeout(look, stepMs).unref()
  }

  stop(): void {
    clearTimeout(this.#timer)
  }
}
