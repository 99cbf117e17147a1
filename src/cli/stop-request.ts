/**
 * Why a run has to stop before its end: a signal, the reader of its output has gone, or too many failures. Invariant:
 * the first reason counts; a second Ctrl-C ends the program at once.
 */
import { EXIT_BY_SIGNAL } from './exit-codes.ts'

export type StopReason = keyof typeof EXIT_BY_SIGNAL | 'output closed' | 'too many failures'

export class StopRequest {
  readonly #controller = new AbortController()
  #reason: StopReason | undefined
  readonly #interrupted = (): void => this.#signalled('SIGINT')
  readonly #terminated = (): void => this.#signalled('SIGTERM')

  /** Aborts when the run has to stop. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  get reason(): StopReason | undefined {
    return this.#reason
  }

  /** Listens to Ctrl-C and SIGTERM until `release()`. */
  listen(): void {
    process.on('SIGINT', this.#interrupted)
    process.on('SIGTERM', this.#terminated)
  }

  release(): void {
    process.off('SIGINT', this.#interrupted)
    process.off('SIGTERM', this.#terminated)
  }

  stop(reason: StopReason): void {
    this.#reason ??= reason
    this.#controller.abort()
  }

  #signalled(signal: keyof typeof EXIT_BY_SIGNAL): void {
    // The pool kills its workers when the process exits.
    if (this.#reason === 'SIGINT' || this.#reason === 'SIGTERM') process.exit(EXIT_BY_SIGNAL[signal])
    this.stop(signal)
  }
}
