/**
 * What a task can ask about itself, in the worker. Invariant: the signal of a task aborts only for that task; whatever
 * arrives after its end finds nobody.
 */
import { TimeoutError, invalidState } from '../errors.ts'
import { processState } from '../process/process-state.ts'
import type { ResourceShare } from './requirements.ts'

/** Why a task is called off. */
export type StopReason = 'timeout' | 'cancelled'

/** The task that runs, as it sees itself; what {@link currentTask} gives. */
export interface TaskContext<State = unknown> {
  /** Index of the item when the call is a map; `undefined` for `apply`. */
  readonly index: number | undefined
  /** 1 in the first run, 2 when it runs again (see the option `retries`). */
  readonly attempt: number
  /** The name of the worker, such as `PoolWorker-3`. */
  readonly workerName: string
  /** What the pool's `initializer` returned in this worker, the same object for all of its tasks. */
  readonly workerState: State
  /**
   * What it has of the resources of its machine, by name: what its `requires` asked for. No other task of that agent has
   * the same while this one runs. Empty for tasks that require nothing.
   *
   * @example
   * ```ts
   * import { currentTask } from 'multiproc'
   *
   * export function train(): string {
   *   const { gpu } = currentTask().resources
   *   // In a process that has not begun to use CUDA, or for one that the task starts.
   *   return (process.env['CUDA_VISIBLE_DEVICES'] = gpu?.indexes.join(',') ?? '')
   * }
   * ```
   */
  readonly resources: Readonly<Record<string, ResourceShare>>
  /**
   * Aborts when the task is called off: its reason is a {@link TimeoutError} after its `timeout`, else an `AbortError`.
   * The worker is killed when the task does not end within the grace period.
   */
  readonly signal: AbortSignal
  /**
   * Gives a value to the `onReport` of the call, before the result of this task and in the order of the reports. The
   * value is copied now.
   *
   * @example
   * ```ts
   * import { Pool, currentTask } from 'multiproc'
   *
   * const pool = new Pool(1)
   * const result = await pool.apply(
   *   () => {
   *     for (const part of [0.5, 1]) currentTask().report(part)
   *     return 'done'
   *   },
   *   [],
   *   { onReport: part => console.log(part) }, // 0.5, then 1
   * )
   * console.log(result) // done
   * await pool.terminate()
   * ```
   * @returns whether it was sent. `false` when nobody listens, when the task has ended, and when the pool has not taken
   * 1 MiB of earlier messages: so a task that reports faster than its pool reads does not fill the memory. How many were
   * dropped is told with the next report.
   * @throws SerializeError for a value that cannot be sent.
   */
  report(value: unknown): boolean
}

const noResources: Readonly<Record<string, ResourceShare>> = Object.freeze({})

/** The worker's side of the context. Its signal is made when somebody asks for it. */
export class RunningTask implements TaskContext {
  readonly index: number | undefined
  readonly attempt: number
  readonly workerName = processState.name
  readonly resources: Readonly<Record<string, ResourceShare>>
  /** Reports that were not sent, because the parent had not taken those before. */
  dropped = 0
  readonly #report: ((task: RunningTask, value: unknown) => boolean) | undefined
  #controller: AbortController | undefined
  #stopped: StopReason | undefined

  constructor({
    index,
    attempt,
    resources = noResources,
    report,
  }: {
    index: number | undefined
    attempt: number
    resources: Readonly<Record<string, ResourceShare>> | undefined
    /** Absent when nobody listens. */
    report: ((task: RunningTask, value: unknown) => boolean) | undefined
  }) {
    this.index = index
    this.attempt = attempt
    this.resources = resources
    this.#report = report
  }

  report(value: unknown): boolean {
    return this.#report?.(this, value) ?? false
  }

  get workerState(): unknown {
    return lentState ? lentState.value : workerState
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      if (this.#stopped) this.#controller.abort(reasonOf(this.#stopped))
    }
    return this.#controller.signal
  }

  /** Called off. A second time changes nothing. */
  stop(why: StopReason): void {
    if (this.#stopped) return
    this.#stopped = why
    this.#controller?.abort(reasonOf(why))
  }
}

function reasonOf(why: StopReason): unknown {
  return why === 'timeout'
    ? new TimeoutError(
        'The task has run longer than its "timeout"\nTo fix: end now, or pass a longer "timeout"',
      )
    : new DOMException('The task was cancelled', 'AbortError')
}

let workerState: unknown
/** What the initializer of the pool returned whose chunk runs, in a worker that works for several. */
let lentState: { value: unknown } | undefined

/** For the worker: what its initializer returned. */
export function setWorkerState(state: unknown): void {
  workerState = state
}

/** For tasks of a pool that is on a cluster, until the next chunk begins. */
export function lendWorkerState(value: unknown): void {
  lentState = { value }
}

/** A chunk begins, of whichever pool. */
export function endLoanOfState(): void {
  lentState = undefined
}

let source: (() => TaskContext | undefined) | undefined

/** For the worker: who knows which task runs. */
export function setTaskSource(find: () => TaskContext | undefined): void {
  source = find
}

/**
 * The task that this worker runs: its index, its attempt, what the initializer of its worker returned, and the signal
 * that tells it to stop.
 *
 * Ask for it while the task runs, and keep it: what a task leaves behind (a timer, say) would be given the next one.
 *
 * @throws ProcessError with code `ERR_INVALID_STATE` outside of a task.
 *
 * @example
 * ```ts
 * import { setTimeout } from 'node:timers/promises'
 * import { Pool, TimeoutError, currentTask } from 'multiproc'
 *
 * async function slow(): Promise<void> {
 *   await setTimeout(60_000, undefined, { signal: currentTask().signal })
 * }
 *
 * const pool = new Pool(1)
 * const failure: unknown = await pool.apply(slow, [], { timeout: 100 }).catch(error => error)
 * console.log(failure instanceof TimeoutError) // true
 * await pool.terminate()
 * ```
 */
export function currentTask<State = unknown>(): TaskContext<State> {
  const task = source?.()
  if (task) return task as TaskContext<State>
  throw invalidState(
    'There is no current task: this code does not run in a task of a pool\nTo fix: call currentTask() in a function that was given to a pool, while it runs',
  )
}
