/**
 * How an agent holds back from work that it cannot open, because it or the program has another key. Invariant: an agent
 * that has never opened anything holds one chunk at a time, and waits longer after each, so that it uses up few of the
 * deliveries of those whose key it does not have; see "Keys" in README.md.
 */

const pauseMsMin = 500
const pauseMsMax = 30_000
/** Who has the key of somebody is needed: a flood of work with another key is not to keep it from this. */
const provenPauseMsMax = 1000

export class StrangerPause {
  readonly #onOver: () => void
  /** Stopped in close(). */
  #timer: NodeJS.Timeout | undefined
  #pauseMs = 0
  #isProven = false

  constructor(onOver: () => void) {
    this.#onOver = onOver
  }

  /** How many of so many more chunks it may have while it has `heldCount`. */
  limit(room: number, heldCount: number): number {
    if (this.#timer) return 0
    return this.#isProven ? room : Math.min(room, 1 - heldCount)
  }

  /** It has opened a chunk. */
  noteOpened(): void {
    this.#pauseMs = 0
    if (this.#isProven) return
    this.#isProven = true
    this.#onOver()
  }

  /** It could not open a chunk. */
  noteForged(): void {
    const longest = this.#isProven ? provenPauseMsMax : pauseMsMax
    this.#pauseMs = Math.min(Math.max(pauseMsMin, this.#pauseMs * 2), longest)
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#onOver()
    }, this.#pauseMs).unref()
  }

  close(): void {
    clearTimeout(this.#timer)
  }
}
