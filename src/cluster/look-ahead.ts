/**
 * How many chunks are to be on their way for each process: one that runs, and behind it what keeps the process busy while
 * the next ones travel. Short chunks are many, long ones few. Invariant: at least one, and no more than a bound, whatever
 * was measured.
 */

/** So much work is to wait for each process: a multiple of what a message takes, and less than anybody notices. */
const aheadMs = 20
/** So many travel for the shortest: with one the network would decide how fast a cluster is. */
export const aheadMax = 16
/** With so many bytes on their way, only what hides the way of one chunk. */
const bytesMax = 16 << 20

export class LookAhead {
  /** Longer chunks wait where any machine can have them. */
  readonly #longMs: number
  #chunkMs: number | undefined

  constructor({ longMs }: { longMs: number }) {
    this.#longMs = longMs
  }

  /** A chunk took so long. The newest weighs half. */
  note(elapsedMs: number): void {
    this.#chunkMs = ((this.#chunkMs ?? elapsedMs) + elapsedMs) / 2
  }

  /** Chunks for each process, when what is on its way has so many bytes. */
  perProcess(bytes: number): number {
    const chunkMs = this.#chunkMs
    if (chunkMs === undefined || chunkMs >= this.#longMs) return 1
    if (bytes > bytesMax) return 2
    return Math.max(2, Math.min(aheadMax, Math.ceil(aheadMs / Math.max(chunkMs, 1e-3))))
  }
}
