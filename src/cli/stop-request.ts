/**
 * Why a run has to stop before its end: a signal, the reader of its output has gone, or too many failures. Invariant:
 * the first reason counts; a second Ctrl-C ends the program at once.
 */
import type { InterruptedError } from '../errors.ts'
import { interruptSignal } from '../process/interrupt-signal.ts'

export type StopReason = InterruptedError | 'output closed' | 'too many failures'

export class StopRequest {
  readonly #controller = new AbortController()
  readonly #interrupted = interruptSignal()
  #reason: StopReason | undefined

  constructor() {
    this.#interrupted.addEventListener('abort', () => this.stop(this.#interrupted.reason as InterruptedError))
  }

  /** Aborts when the run has to stop. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  get reason(): StopReason | undefined {
    return this.#reason
  }

  stop(reason: StopReason): void {
    this.#reason ??= reason
    this.#controller.abort()
  }
}
