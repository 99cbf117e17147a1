/**
 * Keeps those who wait from spinning while a member that was stopped (SIGSTOP, a debugger) deals with the end of
 * another: each of their waits would end at once, because of an end that nobody else may deal with.
 */
import type { WaitOutcome } from './heap-backend.ts'

/** Between two looks. */
const REST_MS = 5
/** A word that nobody changes. */
const resting = new Int32Array(new SharedArrayBuffer(4))

export class ReaperRest {
  readonly #reap: () => boolean
  /** How many waits in a row ended for a member that another one was dealing with. */
  #busyReaps = 0

  constructor(reap: () => boolean) {
    this.#reap = reap
  }

  /** After a wait of this thread, which may be blocked. */
  afterSync(outcome: WaitOutcome): void {
    if (this.#isToRest(outcome)) Atomics.wait(resting, 0, 0, REST_MS)
  }

  async after(outcome: WaitOutcome): Promise<void> {
    if (this.#isToRest(outcome)) await new Promise(resolve => setTimeout(resolve, REST_MS))
  }

  /**
   * Deals with the end of a member, if that is how the wait ended. The first wait that finds somebody else doing so is
   * not delayed: its caller looks whether the member that ended is the one it waits for.
   */
  #isToRest(outcome: WaitOutcome): boolean {
    if (outcome !== 'memberEnded' || this.#reap()) this.#busyReaps = 0
    else this.#busyReaps++
    return this.#busyReaps > 1
  }
}
