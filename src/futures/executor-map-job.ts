/** The job of `Executor.map`: that of an `imap` that does not wait for its consumer, and knows how executors break. */
import { CancelledError } from '../errors.ts'
import { ImapJob, type ImapJobOptions } from '../pool/imap-job.ts'
import type { Breaking } from './breaking.ts'

export class ExecutorMapJob extends ImapJob {
  readonly #breaking: Breaking
  /** Why the rest was given up: nothing comes behind this error. */
  end: { reason: unknown } | undefined

  constructor(options: Omit<ImapJobOptions, 'isOrdered' | 'isEager'>, breaking: Breaking) {
    super({ ...options, isOrdered: true, isEager: true })
    this.#breaking = breaking
  }

  /** What no worker was given is not computed. */
  cancelRest(): void {
    this.halt(new CancelledError('The map was cancelled by the shutdown of its executor'))
  }

  override died(index: number, reason: unknown): void {
    super.died(index, this.#breaking.ofDeath(reason))
  }

  override abort(reason: unknown): void {
    const error = this.#breaking.ofAbort(reason)
    this.end ??= { reason: error }
    super.abort(error)
  }
}
