/** The job of `Pool.apply`: one call, whose result is an `AsyncResult`. */
import { type AsyncResult, rejectResult, resolveResult } from './async-result.ts'
import { type CallArguments, CallJob } from './call-job.ts'
import type { JobOptions } from './job.ts'

export class ApplyJob extends CallJob {
  readonly #result: AsyncResult<unknown>

  constructor(options: JobOptions, call: CallArguments, result: AsyncResult<unknown>) {
    super(options, call)
    this.#result = result
  }

  protected returned(value: unknown): void {
    resolveResult(this.#result, value)
  }

  protected threw(reason: unknown): void {
    rejectResult(this.#result, reason)
  }
}
