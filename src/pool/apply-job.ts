/** The job of `Pool.apply`: one call, whose arguments were encoded when it was made, unless nothing can change them. */
import { type AsyncResult, rejectResult, resolveResult } from './async-result.ts'
import { Job, type JobCounts, type JobOptions, type Part, firstPart } from './job.ts'
import { type Body, releaseBodies } from './protocol.ts'

export class ApplyJob extends Job {
  #args: readonly unknown[] | undefined
  readonly #body: Body | undefined
  readonly #result: AsyncResult<unknown>

  constructor(
    options: JobOptions,
    { args, body }: { args: readonly unknown[]; body: Body | undefined },
    result: AsyncResult<unknown>,
  ) {
    super(options)
    this.#args = args
    this.#body = body
    this.#result = result
  }

  override get isSingle(): boolean {
    return true
  }

  get counts(): JobCounts {
    return { done: Number(this.isDone), failed: 0, total: 1 }
  }

  get remaining(): number {
    return this.#args ? 1 : 0
  }

  take(): Part | undefined {
    const [args, body] = [this.#args, this.#body]
    if (!args) return undefined
    this.#args = undefined
    return firstPart(this, { first: 0, count: 1, ...(body ? { bodies: [body] } : { items: [args] }) })
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
    // Once it was taken, its chunk has it.
    if (this.#args && this.#body) releaseBodies([this.#body])
    this.#args = undefined
    this.fail(0, reason)
  }
}
