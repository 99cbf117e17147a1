/** What becomes of an executor's work when its workers die: the errors that its futures and maps get. */
import { BrokenPoolError, type BrokenExecutor, ClosedError } from '../errors.ts'

/** The class of the errors of a broken executor. */
export type BrokenClass = new (
  code: BrokenExecutor['code'],
  message: string,
  options?: ErrorOptions,
) => BrokenExecutor

export class Breaking {
  readonly #name: string
  readonly #brokenClass: BrokenClass
  readonly #breaksOnDeath: boolean

  constructor(
    name: string,
    { brokenClass, breaksOnDeath }: { brokenClass: BrokenClass; breaksOnDeath: boolean },
  ) {
    this.#name = name
    this.#brokenClass = brokenClass
    this.#breaksOnDeath = breaksOnDeath
  }

  /** For what a worker was running when it died. */
  ofDeath(reason: unknown): unknown {
    if (!this.#breaksOnDeath || !(reason instanceof Error)) return reason
    return new this.#brokenClass('ERR_BROKEN_POOL', reason.message, { cause: reason })
  }

  /** For everything that was not done when the pool could not go on. Each has an error of its own. */
  ofAbort(reason: unknown): unknown {
    if (reason instanceof BrokenPoolError) {
      return new this.#brokenClass(reason.code, reason.message, { cause: reason.cause })
    }
    if (reason instanceof ClosedError) {
      return new this.#brokenClass(
        'ERR_TERMINATED',
        `The workers of "${this.#name}" were stopped before the task was done\nTo fix: await shutdown() to let submitted tasks finish`,
      )
    }
    return reason
  }
}
