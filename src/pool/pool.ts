/**
 * The public pool: checks what callers pass, ships their functions, and hands jobs to the core that does the work.
 */
import { inspect } from 'node:util'
import { assertKnownOptions } from '../platform/known-options.ts'
import { onAbort } from '../platform/on-abort.ts'
import { invalidArgument, invalidState } from '../errors.ts'
import { ApplyJob } from './apply-job.ts'
import { AsyncResult, makeCancellable, rejectResult } from './async-result.ts'
import { checkDashboard, openDashboardOf } from './dashboard-option.ts'
import { type CallGuards, guardCall } from './call-guards.ts'
import { carryWith } from './carried-call.ts'
import { CallerStacks } from './caller-stack.ts'
import { ClusterInitializer } from './cluster-initializer.ts'
import type { ShippedFunction } from './function-table.ts'
import { followCall } from './followed-call.ts'
import { ImapIterator } from './imap-iterator.ts'
import { ImapJob } from './imap-job.ts'
import type { Input } from './input-reader.ts'
import type { Job } from './job.ts'
import { KeptMap } from './kept-map.ts'
import { checkCluster } from './cluster-option.ts'
import { submitKept } from './submit-kept.ts'
import { MapJob } from './map-job.ts'
import { workersOfAllPools } from './live-pools.ts'
import { WORKERS_MAX, assertMayNest } from './nesting.ts'
import { type NumberArrayConstructor, type NumberArrayOf, type NumberIn, checkInto } from './number-array.ts'
import { POOL_OPTIONS, openCore } from './open-core.ts'
import { checkCount, checkMilliseconds } from './option-checks.ts'
import { type ApplyOptions, WATCH_OPTIONS, checkReportListener, checkWatch } from './progress-options.ts'
import type { PoolCore } from './pool-core.ts'
import {
  type AttachOptions,
  type ImapOptions,
  type MapIntoOptions,
  type MapOptions,
  type PoolOptions,
  checkInput,
  checkJobId,
} from './pool-options.ts'
import { type PoolStats, statsOf } from './pool-stats.ts'
import type { CallMode } from './protocol.ts'
import { type Called, copyArguments, shipFunction } from './ship-call.ts'
import { statsTable } from './stats-table.ts'
import { NO_LIMITS, NO_LIMITS_ON_CLUSTER, TASK_OPTIONS, type TaskLimits, checkLimits } from './task-limits.ts'
import { watchJob } from './watch-job.ts'

let poolCount = 0
let dropped: FinalizationRegistry<PoolCore> | undefined

/**
 * Worker processes (or threads) that run functions for this program.
 *
 * Any function can be passed: closures, methods, functions of other modules, `async` ones. It is copied to the
 * workers together with the variables that it uses. Work is given out in chunks whose size follows from the time
 * that items take. A worker that dies is replaced, and only the item that it was running fails, with a
 * {@link WorkerDiedError}.
 *
 * `await using pool = new Pool()` waits at the end of the scope until all submitted work is done (Python's `with`
 * terminates it). A pool that is idle does not keep the program alive.
 *
 * @example
 * ```ts
 * import { Pool } from 'multiproc'
 *
 * const pool = new Pool({ processes: 4 })
 * console.log(await pool.map(x => x * x, [1, 2, 3, 4, 5])) // [ 1, 4, 9, 16, 25 ]
 * pool.close()
 * await pool.join()
 * ```
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.pool.Pool
 */
export class Pool {
  readonly #core: PoolCore
  readonly #callers = new CallerStacks()
  /** Calls that other programs could go on with, which have cores of their own. */
  readonly #kept = new Set<KeptMap>()
  /** Of calls that say nothing else. */
  readonly #limits: TaskLimits
  readonly #signal: AbortSignal | undefined
  /** Goes along with functions that are sent to other machines. */
  readonly #initializer: ClusterInitializer | undefined

  /**
   * Starts the workers.
   *
   * @param options - the number of workers, or all options
   * @throws TypeError or RangeError for options that make no sense, SerializeError for an initializer that cannot
   * be sent, ProcessError with code `ERR_START_FAILED` when no worker can be started.
   */
  constructor(options?: number | PoolOptions) {
    const given = typeof options === 'number' ? { processes: options } : (options ?? {})
    assertKnownOptions('Pool', given, POOL_OPTIONS)
    this.#limits = checkLimits(given, given.cluster === undefined ? NO_LIMITS : NO_LIMITS_ON_CLUSTER)
    this.#signal = given.signal
    this.#signal?.throwIfAborted()
    const dashboard = checkDashboard(given.dashboard)
    this.#core = openCore(given, { opener: Pool, name: given.name ?? `Pool-${poolCount + 1}` })
    if (given.cluster !== undefined && given.initializer !== undefined)
      this.#initializer = new ClusterInitializer(this.name, given.initializer, given.initArgs ?? [])
    if (given.name === undefined || given.name === null) poolCount++
    if (this.#signal) cancelAllWhen(this.#signal, this.#core)
    dropped ??= new FinalizationRegistry(finishDropped)
    dropped.register(this, this.#core, this)
    if (dashboard) openDashboardOf(this.#core, dashboard)
  }

  /** The name given by the options. */
  get name(): string {
    return this.#core.options.name
  }

  /** How many workers it has, or may have at most with `idleTimeout`. */
  get processes(): number {
    return this.#core.processes
  }

  /**
   * Gives the pool another number of workers. New ones start at once. When there are to be fewer, those that are idle
   * end first, and those that are busy finish what they run.
   *
   * @param processes - how many, from 1 to 4000
   * @returns when there are as many. A later call takes the place of one that is not done, and both resolve together.
   * Rejects when the pool ends before.
   * @throws RangeError for a number out of range or below `minProcesses`, ClosedError when the pool is closed,
   * ProcessError with code `ERR_LIMIT` in a worker of another pool that may not have so many.
   *
   * @example
   * ```ts
   * import { Pool } from 'multiproc'
   *
   * const pool = new Pool(1)
   * await pool.resize(3)
   * console.log(pool.processes) // 3
   * await pool.terminate()
   * ```
   */
  resize(processes: number): Promise<void> {
    const core = this.#core
    const { life } = core.options
    const min = Math.max(1, life.processesMin)
    const count = checkCount('processes', processes, { min, max: WORKERS_MAX - life.spares })
    if (count === undefined) {
      throw invalidArgument(
        TypeError,
        `The number of workers must be a whole number from ${min}, but it is ${String(processes)}\nTo fix: pass a number`,
      )
    }
    core.assertRunning()
    if (count > core.processes) {
      assertMayNest(count + life.spares, workersOfAllPools() - core.processes - life.spares)
    }
    const resized = core.resize(count)
    // Nobody has to wait for it: a pool that ends before is no error of the program then.
    resized.catch(() => {})
    return resized
  }

  /**
   * Runs `fn(...args)` in a worker. The arguments are copied now, so that later changes of them do not matter.
   *
   * An error of the task ends in the stack of this call. Behind 64 calls of one function that are made without a pause,
   * calls share the stack of one of the 63 before them: taking it would cost as much as the rest of the call.
   *
   * @param options - how long it may run, how often, and who can call it off
   * @returns a promise of the result, with the methods of Python's `AsyncResult`
   * @throws SerializeError when the function or an argument cannot be sent, ClosedError when the pool is closed.
   * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.pool.Pool.apply_async
   */
  apply<A extends unknown[], R>(
    fn: (...args: A) => R,
    args?: Readonly<A>,
    options?: ApplyOptions,
  ): AsyncResult<Awaited<R>> {
    if (args !== undefined && !Array.isArray(args)) {
      throw invalidArgument(
        TypeError,
        `The arguments of the call must be an array, but they are ${args === null ? 'null' : `a ${typeof args}`}\nTo fix: pass them as an array, even if there is one: pool.apply(fn, [argument])`,
      )
    }
    if (options !== undefined) assertKnownOptions('apply', options, ['onReport', ...TASK_OPTIONS])
    const limits = checkLimits(options, this.#limits)
    const task = this.#ship(fn, this.apply)
    const caller = this.#callers.take(task, this.apply)
    const call = copyArguments(this.#core, args ?? [], { task, method: this.apply })
    const result = new AsyncResult<Awaited<R>>()
    const job = new ApplyJob({ task, mode: 'arguments', caller, limits }, call, result)
    if (options?.onReport) job.onReport = checkReportListener(options)
    this.#submit(job, result, { method: this.apply, guards: options ?? NO_GUARDS })
    return result
  }

  /**
   * Calls `fn(item)` for every item, and gives all results in the order of the items.
   *
   * Every item runs, even when others fail; the promise then rejects with the failure of the first of them.
   *
   * With `into: Float64Array`, or another class of typed arrays, that is what the results are put into, which is faster
   * than an ordinary array. Typed arrays as `items` are sent as such.
   *
   * @example
   * ```ts
   * import { Pool } from 'multiproc'
   *
   * const pool = new Pool(2)
   * const angles = Float64Array.of(0, Math.PI / 2)
   * console.log(await pool.map(Math.sin, angles, { into: Float64Array })) // Float64Array(2) [ 0, 1 ]
   * await pool.terminate()
   * ```
   * @throws SerializeError when the function cannot be sent, ClosedError when the pool is closed.
   * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.pool.Pool.map
   */
  map<T, C extends NumberArrayConstructor>(
    fn: (item: T) => NumberIn<C> | PromiseLike<NumberIn<C>>,
    items: Input<T>,
    options: MapIntoOptions<C>,
  ): AsyncResult<NumberArrayOf<C>>
  map<T, R>(fn: (item: T) => R, items: Input<T>, options?: MapOptions): AsyncResult<Awaited<R>[]>
  map(fn: (item: never) => unknown, items: Input<unknown>, options?: MapOptions): AsyncResult<unknown> {
    return this.#map(fn, items, options, { mode: 'item', isSettled: false, method: this.map })
  }

  /**
   * As `map`, for functions of several parameters: each item is an array of arguments.
   *
   * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.pool.Pool.starmap
   */
  starmap<A extends unknown[], C extends NumberArrayConstructor>(
    fn: (...args: A) => NumberIn<C> | PromiseLike<NumberIn<C>>,
    items: Input<Readonly<A>>,
    options: MapIntoOptions<C>,
  ): AsyncResult<NumberArrayOf<C>>
  starmap<A extends unknown[], R>(
    fn: (...args: A) => R,
    items: Input<Readonly<A>>,
    options?: MapOptions,
  ): AsyncResult<Awaited<R>[]>
  starmap(
    fn: (...args: never[]) => unknown,
    items: Input<readonly unknown[]>,
    options?: MapOptions,
  ): AsyncResult<unknown> {
    return this.#map(fn, items, options, { mode: 'arguments', isSettled: false, method: this.starmap })
  }

  /** As `map`, but failures are results too, in the form of `Promise.allSettled`. */
  mapSettled<T, R>(
    fn: (item: T) => R,
    items: Input<T>,
    options?: MapOptions,
  ): AsyncResult<PromiseSettledResult<Awaited<R>>[]> {
    return this.#map(fn, items, options, { mode: 'item', isSettled: true, method: this.mapSettled })
  }

  /**
   * As `map`, but gives each result as soon as it and those before it are there. The input is read only some way
   * ahead of the results that were consumed, so it may be endless.
   *
   * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.pool.Pool.imap
   */
  imap<T, R>(fn: (item: T) => R, items: Input<T>, options?: ImapOptions): ImapIterator<Awaited<R>> {
    return this.#imap(fn, items, options, { isOrdered: true, method: this.imap })
  }

  /**
   * As `imap`, in the order in which results arrive.
   *
   * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.pool.Pool.imap_unordered
   */
  imapUnordered<T, R>(fn: (item: T) => R, items: Input<T>, options?: ImapOptions): ImapIterator<Awaited<R>> {
    return this.#imap(fn, items, options, { isOrdered: false, method: this.imapUnordered })
  }

  /**
   * Goes on with a call of `map`, `starmap` or `mapSettled` that was given a `jobId` on a cluster, when the program that
   * made it has ended: gives all of its results, those that are there and those to come, once each and in order. What the
   * program had not sent yet is sent now. It can be done for a day from the call on, also when all is done, and again.
   *
   * A program that still waits for the call gets a {@link ClusterError} of code `ERR_TERMINATED` instead: one program at
   * a time goes on with it, the last one that attached. `cancel()` of the result calls the work off, and deletes it.
   *
   * @returns a promise of what the call would have given
   * @throws TypeError for options that make no sense. Rejects with ProcessError `ERR_NOT_FOUND` when there is no such job,
   * AuthenticationError when it was submitted with another key, and as `map`.
   * @example
   * ```ts
   * import { Pool } from 'multiproc'
   *
   * const cluster = process.env['MULTIPROC_CLUSTER'] ?? 'nats://127.0.0.1:4222'
   * const sizes = await Pool.attach<number[]>('nightly', { cluster, name: 'render' })
   * console.log(sizes.length)
   * ```
   */
  static attach<R = unknown>(jobId: string, options: AttachOptions): AsyncResult<R> {
    assertKnownOptions('attach', options, ['cluster', 'name', ...WATCH_OPTIONS])
    const id = checkJobId(jobId)
    const settings = checkCluster(options.cluster, options.name)
    const hooks = { caller: {}, watch: checkWatch(options), onReport: checkReportListener(options) }
    const result = new AsyncResult<R>()
    KeptMap.attach(settings, id, { result, hooks: { ...hooks, deathsMax: undefined } })
    return result
  }

  /** Accepts no more work. The workers end when what was submitted is done. Calling it again does nothing. */
  close(): void {
    this.#core.close()
    dropped?.unregister(this)
  }

  /**
   * Stops the workers without finishing their work. Results that are not there fail with a {@link ClosedError}
   * of code `ERR_TERMINATED`.
   *
   * @returns when the last worker has ended
   */
  async terminate(): Promise<void> {
    this.#core.terminate()
    for (const map of this.#kept) map.terminate()
    dropped?.unregister(this)
    await this.#joinAll()
  }

  /**
   * Waits until the workers have ended.
   *
   * @throws ProcessError with code `ERR_INVALID_STATE` unless `close()` or `terminate()` was called before.
   */
  async join(): Promise<void> {
    if (this.#core.state === 'running') {
      throw invalidState(
        `Cannot join the pool "${this.name}": it is still running\nTo fix: call close() or terminate() first`,
      )
    }
    for (const job of Array.from(this.#core.jobs)) if (job instanceof ImapJob) job.drain()
    await this.#joinAll()
  }

  /** Closes the pool and waits until all submitted work is done. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
    for (const job of Array.from(this.#core.jobs)) if (job instanceof ImapJob) job.dropUnlessAwaited()
    await this.#joinAll()
  }

  async #joinAll(): Promise<void> {
    await Promise.all([this.#core.join(), ...Array.from(this.#kept, ({ ended }) => ended)])
  }

  /**
   * What the pool and its workers are doing now, and what they have done: where their time went, what was sent, and
   * which tasks took longest. It is counted all the time, at the cost of some nanoseconds for a message.
   *
   * @example
   * ```ts
   * import { Pool } from 'multiproc'
   *
   * const pool = new Pool(2)
   * await pool.map(Math.sqrt, [1, 4, 9])
   * console.log(pool.stats().total.done) // 3
   * await pool.terminate()
   * ```
   */
  stats(): PoolStats {
    return statsOf(this.#core)
  }

  /**
   * What {@link Pool.stats} tells, as a table for people: a line for each worker, one for all together, and the longest
   * tasks.
   *
   * @example
   * ```ts
   * import { Pool } from 'multiproc'
   *
   * const pool = new Pool(2)
   * await pool.map(Math.sqrt, [1, 4, 9])
   * console.log(pool.statsTable().split('\n').length) // 4
   * await pool.terminate()
   * ```
   */
  statsTable(): string {
    return statsTable(this.stats())
  }

  /** What the console shows, as Python's `str()`. */
  toString(): string {
    return this[inspect.custom]()
  }

  /** As Python's `repr`. */
  [inspect.custom](): string {
    return `<${this.constructor.name} name=${JSON.stringify(this.name)} state=${this.#core.state} processes=${this.processes}>`
  }

  #map<R>(
    fn: (...args: never[]) => unknown,
    input: Input<unknown>,
    options: (MapOptions & { into?: unknown }) | undefined,
    kind: { mode: CallMode; isSettled: boolean; method: (...args: never[]) => unknown },
  ): AsyncResult<R> {
    const { mode, isSettled } = kind
    checkInput(input)
    const known = [
      'chunkSize',
      'totalTimeout',
      ...(isSettled ? [] : ['into']),
      'jobId',
      ...WATCH_OPTIONS,
      ...TASK_OPTIONS,
    ]
    assertKnownOptions(kind.method.name, options, known)
    const into = checkInto(options?.into)
    const limits = checkLimits(options, this.#limits)
    const totalTimeoutMs = checkMilliseconds('totalTimeout', options?.totalTimeout, 1)
    const chunkSize = checkCount('chunkSize', options?.chunkSize)
    const watch = checkWatch(options)
    const onReport = checkReportListener(options)
    const task = this.#ship(fn, kind.method)
    const caller = this.#callers.take(task, kind.method)
    const result = new AsyncResult<R>()
    if (options?.jobId !== undefined) {
      // It has a core of its own, which the pool's signal does not know.
      const signals = [options.signal, this.#signal].filter(each => each !== undefined)
      const guards = { signal: signals.length > 0 ? AbortSignal.any(signals) : undefined, totalTimeoutMs }
      const hooks = { caller, guards, watch, onReport, deathsMax: this.#core.options.deathsMax }
      const call = {
        fn: this.#wrapped(fn),
        input,
        limits,
        chunkSize,
        into,
        mode,
        isSettled,
        task,
        method: kind.method,
      }
      const map = submitKept(this.#core, checkJobId(options.jobId), call, { result, hooks })
      this.#kept.add(map)
      void map.ended.finally(() => this.#kept.delete(map))
      return result
    }
    let job: MapJob
    try {
      job = new MapJob({ task, mode, chunkSize, caller, limits, input, isSettled, into }, result)
    } catch (reason) {
      // The input threw: that is the result of this call, as in Python.
      rejectResult(result, reason)
      return result
    }
    job.onReport = onReport
    if (watch) watchJob(job, watch, this.#core)
    this.#submit(job, result, { method: kind.method, guards: { signal: options?.signal, totalTimeoutMs } })
    return result
  }

  #imap<R>(
    fn: (...args: never[]) => unknown,
    input: Input<unknown>,
    options: ImapOptions | undefined,
    kind: { isOrdered: boolean; method: (...args: never[]) => unknown },
  ): ImapIterator<R> {
    checkInput(input)
    assertKnownOptions(kind.method.name, options, [
      'chunkSize',
      'bufferSize',
      'totalTimeout',
      ...WATCH_OPTIONS,
      ...TASK_OPTIONS,
    ])
    const watch = checkWatch(options)
    const onReport = checkReportListener(options)
    const limits = checkLimits(options, this.#limits)
    const totalTimeoutMs = checkMilliseconds('totalTimeout', options?.totalTimeout, 1)
    const chunkSize = checkCount('chunkSize', options?.chunkSize)
    const bufferSize = checkCount('bufferSize', options?.bufferSize)
    const task = this.#ship(fn, kind.method)
    const core = this.#core
    const job = new ImapJob({
      task,
      mode: 'item',
      chunkSize,
      bufferSize,
      caller: this.#callers.take(task, kind.method),
      limits,
      input,
      isOrdered: kind.isOrdered,
      workers: () => core.processes,
      target: core.options.elsewhere?.target,
    })
    job.onReport = onReport
    if (watch) watchJob(job, watch, core)
    this.#submit(job, undefined, { method: kind.method, guards: { signal: options?.signal, totalTimeoutMs } })
    return new ImapIterator<R>(job)
  }

  #submit(
    job: Job,
    result: AsyncResult<unknown> | undefined,
    { method, guards }: { method: Called; guards: CallGuards },
  ): void {
    const { signal } = guards
    if (signal?.aborted) {
      job.cancel(signal.reason)
      return
    }
    const core = this.#core
    carryWith(job, method)
    followCall(job, { pool: this.name, method: method.name })
    if (guards !== NO_GUARDS) guardCall(job, guards, (guarded, reason) => core.cancelJob(guarded, reason))
    core.submit(job)
    if (result && !job.isDone) makeCancellable(result, job)
  }

  #wrapped(fn: (...args: never[]) => unknown): (...args: never[]) => unknown {
    return this.#initializer && typeof fn === 'function' ? this.#initializer.wrap(fn) : fn
  }

  #ship(fn: (...args: never[]) => unknown, method: (...args: never[]) => unknown): ShippedFunction {
    this.#signal?.throwIfAborted()
    return shipFunction(this.#core, this.#wrapped(fn), method)
  }
}

const NO_GUARDS: CallGuards = Object.freeze({})

/** For the signal of a whole pool. It does not keep the core of a pool that has ended. */
function cancelAllWhen(signal: AbortSignal, core: PoolCore): void {
  const held = new WeakRef(core)
  const cancelAll = (): void => {
    const alive = held.deref()
    if (alive) for (const job of Array.from(alive.jobs)) alive.cancelJob(job, signal.reason)
  }
  onAbort(signal, cancelAll)
  core.onEnded = () => signal.removeEventListener('abort', cancelAll)
}

/** The pool was collected as garbage without being closed. What was submitted still runs to its end. */
function finishDropped(core: PoolCore): void {
  if (core.state !== 'running') return
  process.emitWarning(
    `The pool "${core.options.name}" was never closed and is not used any more; its workers are stopped\nTo fix: use "await using", or call close() or terminate()`,
    'ResourceWarning',
  )
  core.close()
}
