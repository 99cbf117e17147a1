/**
 * A job of one call, whose arguments were encoded when it was made, unless nothing can change them. Where its result
 * goes is said by a subclass.
 */
import { Job, type JobCounts, type JobOptions, type Part, firstPart } from './job.ts'
import { type Body, releaseBodies } from './protocol.ts'

/** What a call passes on. */
export interface CallArguments {
  args: readonly unknown[]
  /** The arguments as they were at the call, or undefined when they cannot change. */
  body: Body | undefined
}

export abstract class CallJob extends Job {
  #args: readonly unknown[] | undefined
  readonly #body: Body | undefined

  constructor(options: JobOptions, { args, body }: CallArguments) {
    super(options)
    this.#args = args
    this.#body = body
  }

  /** It has its result. */
  protected abstract returned(value: unknown): void
  /** It has failed. */
  protected abstract threw(reason: unknown): void

  override get isSingle(): boolean {
    return true
  }

  get counts(): JobCounts {
    return { done: Number(this.isDone), failed: Number(this.failure !== undefined), total: 1 }
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
    this.returned(value)
    this.done()
  }

  fail(_index: number, reason: unknown): void {
    this.failure = { reason }
    this.threw(reason)
    this.done()
  }

  abort(reason: unknown): void {
    this.discard()
    this.fail(0, reason)
  }

  discard(): void {
    // Once it was taken, its chunk has it.
    if (this.#args && this.#body) releaseBodies([this.#body])
    this.#args = undefined
  }
}
