/**
 * Keeps a pool from starting workers for ever that only die. Pure: it counts generations. A worker that dies without
 * having given the outcome of a single item makes its replacement one generation older; any outcome makes all young
 * again. So eight workers that are killed together count once, and eight that follow one another count eight times.
 */

/** When so many generations in a row have died without doing anything, the next ones would too. */
export const generationsMax = 6

const firstDelayMs = 50
const delayMsMax = 2000

export class RestartGuard {
  #generation = 0

  /** That of a worker which starts now. */
  get generation(): number {
    return this.#generation
  }

  /** Whether to give up. */
  get isExhausted(): boolean {
    return this.#generation >= generationsMax
  }

  /** An item was settled by a worker: there is progress. */
  noteOutcome(): void {
    this.#generation = 0
  }

  /** A worker of `generation` died without a single outcome. */
  noteUselessDeath(generation: number): void {
    this.#generation = Math.max(this.#generation, generation + 1)
  }

  /** How long to wait before the next worker starts. The first replacements start at once. */
  get delayMs(): number {
    if (this.#generation <= 1) return 0
    return Math.min(delayMsMax, firstDelayMs * 2 ** (this.#generation - 2))
  }
}
