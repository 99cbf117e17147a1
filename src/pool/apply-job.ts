/** The job of `Pool.apply`: one call, whose arguments were encoded when it was made. */
import { type AsyncResult, rejectResult, resolveResult } from './async-result.ts'
import { Job, type JobOptions, type Part, firstPart } from './job.ts'
import { type Body, releaseBodies } from './protocol.ts'

export class ApplyJob extends Job {
  #body: Body | undefined
  readonly #result: AsyncResult<unknown>

  constructor(options: JobOptions, body: Body, result: AsyncResult<unknown>) {
    super(options)
    this.#body = body
    this.#result = result
  }

  override get isSingle(): boolean {
    return true
  }

  get remaining(): number {
    return this.#body ? 1 : 0
  }

  take(): Part | undefined {
    const body = this.#body
    if (!body) return undefined
    this.#body = undefined
    return firstPart(this, { first: 0, count: 1, bodies: [body] })
  }

  succeed(_index: number, value: unknown): void {
    resolveResult(this.#result, value)
    this.done()
  }

  fail(_index: number, reason: unknown): void {
    rejectResult(this.#result, reason)
    this.done()
  }

  abort(reason: unknown): void {
    if (this.#body !== undefined) releaseBodies([this.#body])
    this.#body = undefined
    this.fail(0, reason)
  }
}
