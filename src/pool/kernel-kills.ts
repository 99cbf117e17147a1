/**
 * Whether the kernel killed a worker for want of memory. It only counts such kills, and names nobody: a kill is put
 * down to a worker only when it was counted while that worker lived, and to one worker at most.
 */
import { outOfMemoryKills } from '../platform/process-facts.ts'

export class KernelKills {
  readonly #read: () => number | undefined
  /** Up to this count, each kill has been put down to a worker, or was before the last one that was. */
  #explained = 0

  /** `read` gives how many the kernel has killed so far, where it tells. */
  constructor(read: () => number | undefined = outOfMemoryKills) {
    this.#read = read
  }

  /** What `claim()` is given of a worker that starts now. */
  count(): number | undefined {
    return this.#read()
  }

  /** For a worker that was killed by SIGKILL and nobody knows why: whether a kill is left that can be its own. */
  claim(atStart: number | undefined): boolean {
    const now = this.#read()
    if (now === undefined || atStart === undefined) return false
    const first = Math.max(atStart, this.#explained)
    if (now <= first) return false
    // Two that died at once have a kill each, whoever is looked at first.
    this.#explained = first + 1
    return true
  }
}
