/**
 * What executors of processes and of threads have in common: an executor is a pool that starts its workers on demand,
 * whose calls have futures. It has no scheduler of its own. Invariant: nobody keeps an executor that its user has
 * dropped; it then finishes what was submitted.
 */
import { inspect } from 'node:util'
import { BrokenPoolError, ClosedError } from '../errors.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { carryWith } from '../pool/carried-call.ts'
import { CallerStacks } from '../pool/caller-stack.ts'
import { followCall } from '../pool/followed-call.ts'
import { NO_LIMITS } from '../pool/task-limits.ts'
import { openCore } from '../pool/open-core.ts'
import type { PoolCore } from '../pool/pool-core.ts'
import type { PoolOptions } from '../pool/pool-options.ts'
import { type PoolStats, statsOf } from '../pool/pool-stats.ts'
import { type Called, assertTakes, copyArguments, shipFunction } from '../pool/ship-call.ts'
import { type BrokenClass, Breaking } from './breaking.ts'
import { Executor, type ExecutorMapOptions, type InputsOf, type ShutdownOptions } from './executor.ts'
import { ExecutorMap } from './executor-map.ts'
import { ExecutorMapJob } from './executor-map-job.ts'
import { FutureJob } from './future-job.ts'
import { Future, makeFutureCancellable } from './future.ts'
import { readMapCall, zip } from './map-inputs.ts'
import type { Input } from '../pool/input-reader.ts'

/** What a subclass says of itself. */
export interface ExecutorKind {
  /** Its constructor, for the stacks of errors. */
  opener: Called
  pool: PoolOptions
  name: string
  workerPrefix: string
  brokenClass: BrokenClass
  breaksOnDeath: boolean
}

let dropped: FinalizationRegistry<PoolCore> | undefined

/** An {@link Executor} whose workers are processes or threads of this program. */
export abstract class PoolExecutor extends Executor {
  readonly #core: PoolCore
  readonly #breaking: Breaking
  readonly #callers = new CallerStacks()
  #isShutDown = false

  protected constructor({ opener, pool, name, workerPrefix, brokenClass, breaksOnDeath }: ExecutorKind) {
    super()
    const workerName = (number: number): string => `${workerPrefix}_${number - 1}`
    this.#core = openCore({ ...pool, onDemand: true }, { opener, name, workerName, breaksOnDeath })
    this.#breaking = new Breaking(name, { brokenClass, breaksOnDeath })
    this.#core.onBroken = tellOfInitializer
    dropped ??= new FinalizationRegistry(core => core.close())
    dropped.register(this, this.#core, this)
  }

  /** How many workers it may have. */
  get maxWorkers(): number {
    return this.#core.processes
  }

  submit<A extends unknown[], R>(fn: (...args: A) => R, ...args: A): Future<Awaited<R>> {
    this.#assertTakes(fn)
    const future = new Future<Awaited<R>>()
    let job: FutureJob
    try {
      const task = shipFunction(this.#core, fn, this.submit)
      const call = copyArguments(this.#core, args, { task, method: this.submit })
      const caller = this.#callers.take(task, this.submit)
      job = new FutureJob(
        { task, mode: 'arguments', caller, limits: NO_LIMITS },
        { call, future, breaking: this.#breaking },
      )
      carryWith(job, this.submit)
    } catch (reason) {
      // As in Python, this is the failure of one future, which its user looks at anyway.
      future.setRunningOrNotifyCancel()
      future.setException(reason)
      return future
    }
    followCall(job, { pool: this.#core.options.name, method: 'submit' })
    this.#core.submit(job)
    makeFutureCancellable(future, job)
    return future
  }

  map<T, R>(fn: (item: T) => R, items: Input<T>, options?: ExecutorMapOptions): ExecutorMap<Awaited<R>>
  map<A extends unknown[], R>(
    fn: (...args: A) => R,
    ...inputs: [...InputsOf<A>, ExecutorMapOptions?]
  ): ExecutorMap<Awaited<R>>
  map(fn: (...args: never[]) => unknown, ...rest: unknown[]): ExecutorMap<unknown> {
    const { inputs, timeoutMs, chunkSize, bufferSize } = readMapCall(rest)
    const core = this.#core
    this.#assertTakes(fn)
    const task = shipFunction(core, fn, this.map)
    const [only] = inputs
    const isSingle = inputs.length === 1
    const job = new ExecutorMapJob(
      {
        task,
        mode: isSingle ? 'item' : 'arguments',
        caller: this.#callers.take(task, this.map),
        limits: NO_LIMITS,
        chunkSize,
        bufferSize,
        input: isSingle ? only! : zip(inputs),
        workers: () => core.processes,
      },
      this.#breaking,
    )
    carryWith(job, this.map)
    followCall(job, { pool: core.options.name, method: 'map' })
    core.submit(job)
    return new ExecutorMap(job, timeoutMs)
  }

  async shutdown(options: ShutdownOptions = {}): Promise<void> {
    assertKnownOptions('shutdown', options, ['wait', 'cancelFutures'])
    const { wait = true, cancelFutures = false } = options
    if (cancelFutures) this.#cancelPending(this.#core.vacancies)
    this.#close()
    if (wait) await this.#core.join()
  }

  /**
   * Shuts the executor down and asks its workers to end at once; one that has not ended after a second is killed.
   * Futures that had not begun are cancelled, others fail with the error of a broken executor.
   *
   * @returns when the last worker has ended
   * @see https://docs.python.org/3/library/concurrent.futures.html#concurrent.futures.ProcessPoolExecutor.terminate_workers
   */
  terminateWorkers(): Promise<void> {
    return this.#stop('SIGTERM')
  }

  /**
   * As `terminateWorkers()`, but kills the workers: they cannot do anything about it.
   *
   * @returns when the last worker has ended
   * @see https://docs.python.org/3/library/concurrent.futures.html#concurrent.futures.ProcessPoolExecutor.kill_workers
   */
  killWorkers(): Promise<void> {
    return this.#stop('SIGKILL')
  }

  /** What the executor and its workers are doing now. Workers start when they are needed. */
  stats(): PoolStats {
    return statsOf(this.#core)
  }

  /** What the console shows, as Python's `str()`. */
  override toString(): string {
    return this[inspect.custom]()
  }

  [inspect.custom](): string {
    const { name } = this.#core.options
    return `<${this.constructor.name} name=${JSON.stringify(name)} state=${this.#core.state} maxWorkers=${this.maxWorkers}>`
  }

  #assertTakes(fn: unknown): void {
    try {
      assertTakes(this.#core, fn)
    } catch (reason) {
      if (reason instanceof BrokenPoolError) throw this.#breaking.ofAbort(reason)
      throw this.#isShutDown && reason instanceof ClosedError ? wasShutDown(this.#core.options.name) : reason
    }
  }

  /** Takes no more work. What was read of the inputs of maps is still done. */
  #close(): void {
    this.#isShutDown = true
    dropped?.unregister(this)
    for (const job of Array.from(this.#core.jobs)) {
      if (!(job instanceof ExecutorMapJob) || job.isUnbounded) continue
      job.stop(
        new ClosedError(
          `"${this.#core.options.name}" was shut down before all items of the map were read\nTo fix: read its results to their end before the shutdown`,
        ),
      )
    }
    this.#core.close()
  }

  /** All but the first `spared` futures, which a worker is free for. */
  #cancelPending(spared: number): void {
    let left = spared
    for (const job of Array.from(this.#core.jobs)) {
      if (job instanceof ExecutorMapJob) job.cancelRest()
      else if (job instanceof FutureJob && job.remaining === 1 && left-- <= 0) job.cancelFuture()
    }
  }

  async #stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.#cancelPending(0)
    dropped?.unregister(this)
    this.#core.terminate(signal)
    await this.#core.join()
  }
}

/** For what Python raises a RuntimeError. */
function wasShutDown(name: string): ClosedError {
  return new ClosedError(
    `Cannot submit work: the executor "${name}" was shut down\nTo fix: submit before shutdown(), or make a new executor`,
  )
}

/** Python logs it; whoever has no future to look at would never know why nothing works. */
function tellOfInitializer(error: BrokenPoolError): void {
  if (error.code !== 'ERR_INITIALIZER_FAILED') return
  const { cause } = error
  const detail = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
  process.emitWarning(error.message.split('\n')[0]!, { type: 'BrokenExecutorWarning', detail })
}
