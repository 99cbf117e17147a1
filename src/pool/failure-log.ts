/**
 * The failures of tasks that the pools of this process had last, as texts for people. Invariant: at most 100 are kept,
 * none of them keeps an object of the user alive, and a flood of failures costs no more than a few of them.
 */
import type { Part } from './job.ts'

/** One failure of a task. */
export interface TaskFailure {
  /** From 1, in the order in which the pools learned of them. */
  number: number
  /** When its pool learned of it, in milliseconds since 1970. */
  atMs: number
  pool: string
  workerName: string | undefined
  pid: number | undefined
  functionName: string
  /** Index of the item; `undefined` for `apply`. */
  index: number | undefined
  attempt: number
  /** Whether it runs again. */
  isRetried: boolean
  errorName: string
  message: string
  stack: string
}

/** Of whom the failed task was. */
interface FailedWorker {
  readonly name: string
  readonly pid: number | undefined
}

const failuresMax = 100
const messageCharactersMax = 2000
const stackCharactersMax = 8000
/**
 * So many are kept in a quarter of a second, and the others only counted: a map of which every item fails would
 * otherwise pay for texts that push each other out before anybody reads them.
 */
const burstMax = 20
const burstMs = 250

class FailureLog {
  readonly #last: TaskFailure[] = []
  #count = 0
  #burstBeganAtMs = -Infinity
  #burstCount = 0

  /** How many there have been, those included that are not kept. */
  get count(): number {
    return this.#count
  }

  /** Those that are kept, of a number above `number`. */
  after(number: number): TaskFailure[] {
    return this.#last.filter(failure => failure.number > number)
  }

  note(
    pool: string,
    {
      part,
      error,
      worker,
      isRetried,
    }: { part: Part; error: unknown; worker: FailedWorker | undefined; isRetried: boolean },
  ): void {
    this.#count++
    const nowMs = performance.now()
    if (nowMs - this.#burstBeganAtMs >= burstMs) {
      this.#burstBeganAtMs = nowMs
      this.#burstCount = 0
    }
    if (++this.#burstCount > burstMax) return
    const { job, first, attempt } = part
    this.#last.push({
      number: this.#count,
      atMs: Date.now(),
      pool,
      workerName: worker?.name,
      pid: worker?.pid,
      functionName: job.task.name,
      index: job.isSingle ? undefined : first,
      attempt,
      isRetried,
      ...textsOf(error),
    })
    if (this.#last.length > failuresMax) this.#last.shift()
  }
}

/** That of this process. */
export const failureLog = new FailureLog()

function textsOf(error: unknown): Pick<TaskFailure, 'errorName' | 'message' | 'stack'> {
  try {
    if (!(error instanceof Error)) {
      return { errorName: typeof error, message: cut(error, messageCharactersMax), stack: '' }
    }
    // Anybody may have put anything there.
    const { name, message, stack = '' } = error as { name: unknown; message: unknown; stack?: unknown }
    return {
      errorName: cut(name, messageCharactersMax),
      message: cut(message, messageCharactersMax),
      stack: cut(stack, stackCharactersMax),
    }
  } catch {
    // The error has getters, or a conversion to text, that throw. Who only looks on lets it be.
    return { errorName: 'Error', message: '(it cannot be shown)', stack: '' }
  }
}

function cut(value: unknown, charactersMax: number): string {
  const text = String(value)
  return text.length <= charactersMax ? text : `${text.slice(0, charactersMax - 1)}…`
}
