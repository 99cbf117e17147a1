/**
 * Staying awake for a message that is expected within moments. A thread that sleeps is woken by the system, which takes
 * longer than dozens of small tasks where another processor has to be called; one whose event loop turns finds the message
 * by itself. Invariant: a vigil is short, and where vigils are in vain they become rare (see "Vigil" in README.md).
 */
import { cpuCount } from '../platform/cpu-count.ts'

/** Longer than two processes take over a small task, and not much longer than waking one of them takes. */
const LONGEST_MS = 0.1
/** Where memory tells of a message, it is looked at for so long in each turn; what else the loop has to do waits. */
export const LOOK_MICROSECONDS = 20
/** However often vigils were in vain: after so many chances that were passed over, the next one is taken. */
const PASSED_OVER_MAX = 63

export interface VigilOptions {
  /** Called at each turn of the event loop: looks for what the loop itself would not find. */
  look(): void
  /** Nothing has come; from now on the loop may sleep. */
  onInVain(): void
}

let canHelp: boolean | undefined

export class Vigil {
  static #count = 0
  readonly #options: Partial<VigilOptions>
  #isOn = false
  #isTurning = false
  #untilMs = 0
  /** Chances that are still to be passed over, and how many will be after the next vigil in vain. */
  #passedOver = 0
  #passedOverNext = 0

  constructor(options: Partial<VigilOptions> = {}) {
    this.#options = options
  }

  /** How many are held in this thread. */
  static get count(): number {
    return Vigil.#count
  }

  get isOn(): boolean {
    return this.#isOn
  }

  /** A message is expected. Returns whether a vigil is held for it. */
  begin(): boolean {
    // Where there is one processor, the other side has it only while this one sleeps.
    canHelp ??= cpuCount() > 1
    if (!canHelp) return false
    if (!this.#isOn && this.#passedOver > 0) {
      this.#passedOver--
      return false
    }
    this.#turnOn()
    this.#untilMs = 0
    if (!this.#isTurning) {
      this.#isTurning = true
      setImmediate(this.#turn)
    }
    return true
  }

  /** A message has come. */
  met(): void {
    if (!this.#isOn) return
    this.end()
    this.#passedOverNext = 0
  }

  end(): void {
    if (!this.#isOn) return
    this.#isOn = false
    Vigil.#count--
  }

  #turnOn(): void {
    if (this.#isOn) return
    this.#isOn = true
    Vigil.#count++
  }

  readonly #turn = (): void => {
    if (this.#isOn) this.#options.look?.()
    // What was found has ended it, and may have begun the next one.
    if (this.#isOn) {
      const nowMs = performance.now()
      // Its time begins with the first look: most vigils end there.
      if (this.#untilMs === 0) this.#untilMs = nowMs + LONGEST_MS
      if (nowMs < this.#untilMs) {
        setImmediate(this.#turn)
        return
      }
    }
    this.#isTurning = false
    if (!this.#isOn) return
    this.end()
    this.#passedOver = this.#passedOverNext
    this.#passedOverNext = Math.min(2 * this.#passedOverNext + 1, PASSED_OVER_MAX)
    this.#options.onInVain?.()
  }
}
