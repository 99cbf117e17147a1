/** The job of `Executor.submit`: one call, whose result is a future. Invariant: a future that was cancelled is never taken. */
import { type CallArguments, CallJob } from '../pool/call-job.ts'
import type { JobOptions, Part } from '../pool/job.ts'
import type { Breaking } from './breaking.ts'
import type { Future } from './future.ts'

export class FutureJob extends CallJob {
  readonly #future: Future<unknown>
  readonly #breaking: Breaking

  constructor(
    options: JobOptions,
    { call, future, breaking }: { call: CallArguments; future: Future<unknown>; breaking: Breaking },
  ) {
    super(options, call)
    this.#future = future
    this.#breaking = breaking
  }

  /** Cancels the future if no worker was given it. */
  cancelFuture(): void {
    this.#future.cancel()
  }

  /** A worker gets it. From here on it cannot be cancelled, also when that worker gives it back to another one. */
  override take(): Part | undefined {
    const part = super.take()
    if (part && !this.#future.done()) this.#future.setRunningOrNotifyCancel()
    return part
  }

  override died(index: number, reason: unknown): void {
    super.died(index, this.#breaking.ofDeath(reason))
  }

  override abort(reason: unknown): void {
    super.abort(this.#breaking.ofAbort(reason))
  }

  // Who has the future may have ended it by its own methods.
  protected returned(value: unknown): void {
    if (!this.#future.done()) this.#future.setResult(value)
  }

  protected threw(reason: unknown): void {
    if (!this.#future.done()) this.#future.setException(reason)
  }
}
