/**
 * Calls of one object that wait for the same, in their order: only the first of them asks the server. Invariant: a turn
 * that comes to somebody who has just given up goes on to the next.
 */
import type { WaitOptions } from '../platform/bounded-wait.ts'
import { LATE, type StateWaits } from './state-waits.ts'

export class Turns {
  readonly #waits: StateWaits
  readonly #waiting: (() => void)[] = []
  #isBusy = false

  constructor(waits: StateWaits) {
    this.#waits = waits
  }

  /** Whether it is one's turn; false when the timeout came first. */
  async enter({ timeout, signal }: WaitOptions): Promise<boolean> {
    if (!this.#isBusy) {
      this.#isBusy = true
      return true
    }
    let turn!: () => void
    let isMine = false
    const called = new Promise<void>(resolve => {
      turn = () => {
        isMine = true
        resolve()
      }
    })
    this.#waiting.push(turn)
    try {
      if ((await this.#waits.bounded(called, { timeout, signal })) !== LATE) return true
      this.#giveUp(turn, isMine)
      return false
    } catch (error) {
      this.#giveUp(turn, isMine)
      throw error
    }
  }

  leave(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else this.#isBusy = false
  }

  /** Its turn may have come in the very moment in which it gave up. */
  #giveUp(turn: () => void, isMine: boolean): void {
    if (isMine) this.leave()
    else this.#waiting.splice(this.#waiting.indexOf(turn), 1)
  }
}
