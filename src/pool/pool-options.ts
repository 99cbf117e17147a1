/** The options of a pool and their checks: whatever is wrong is said at the call, with the range and the value. */
import type { ResourceLimits } from 'node:worker_threads'
import { invalidArgument } from '../errors.ts'
import type { StartMethod } from '../process/child-boot.ts'
import type { ClusterOptions } from './cluster-option.ts'
import { assertStartMethod, getStartMethod } from '../process/start-methods.ts'
import type { DashboardOptions } from './dashboard-option.ts'
import type { LifeOptions } from './life-options.ts'
import type { NumberArrayConstructor } from './number-array.ts'
import { show } from './option-checks.ts'
import type { WatchOptions } from './progress-options.ts'
import type { TaskOptions } from './task-limits.ts'

/** Something that names a start method: the method, or a context made by `getContext()`. */
export type ContextOption = StartMethod | { getStartMethod(): StartMethod }

/**
 * Options of `new Pool()`. `timeout`, `gracePeriod` and `retries` hold for all calls that do not say otherwise; when
 * `signal` aborts, all calls are called off, and later ones throw its reason.
 */
export interface PoolOptions extends TaskOptions, LifeOptions {
  /** How many workers, from 1 to 4000; {@link Pool.resize} changes it. Default: `cpuCount()`. */
  processes?: number | undefined
  /**
   * Called once in every worker before its first task. If it throws, the pool rejects all its work. What it returns is
   * `currentTask().workerState` of all tasks of that worker. With `cluster` it is called in each worker of an agent before
   * the first task of this pool there; if it throws, the tasks that this worker gets fail with `ERR_INITIALIZER_FAILED`.
   */
  initializer?: ((...args: never[]) => unknown) | undefined
  /** Milliseconds that `initializer` may take, after which the pool breaks as if it had thrown. Default: no limit. */
  initializerTimeout?: number | undefined
  /**
   * Milliseconds (100 or more) after which a worker process that gives no sign of life is killed and replaced: one that was stopped
   * (SIGSTOP), or that the machine does not run. A worker that computes gives signs of life. Costs a thread in each
   * worker. Not for threads. Default: nobody looks.
   */
  heartbeat?: number | undefined
  /**
   * How many workers may die of one item that is run again and again because of `retries`. Then it fails with a
   * {@link PoisonedItemError}. Default: 3.
   */
  maxDeathsPerItem?: number | undefined
  /** Arguments of `initializer`. */
  initArgs?: readonly unknown[] | undefined
  /** A worker is replaced after so many items. Default: never. */
  maxTasksPerChild?: number | undefined
  /** `'spawn'` (processes) or `'thread'`, or a context. Default: `getStartMethod()`. */
  context?: ContextOption | undefined
  /**
   * Limits of the memory of each worker's JavaScript heap, in MiB. A worker that exceeds them ends, and its task
   * fails. Default: those of Node.js.
   */
  resourceLimits?: ResourceLimits | undefined
  /** Shown in messages. Default: `Pool-1`, `Pool-2` and so on. With `cluster`: which agents serve it; no default. */
  name?: string | undefined
  /**
   * Runs the work on other machines: the URL of a NATS server (2.11 or newer, with JetStream), where agents
   * (`multiproc worker`) fetch it. Such a pool has the same methods, and takes of the options only `name`, those of
   * tasks, `bundle`, `initializer`, `initArgs` and `maxDeathsPerItem`. What differs: a task can run more than once (when a machine or the server fails), so
   * it must do no harm twice; a call takes milliseconds and not microseconds; locks, queues, shared memory and sockets
   * cannot be sent. Needs the packages `@nats-io/transport-node`, `jetstream`, `kv` and `obj`. See docs/guide/cluster.md.
   */
  cluster?: string | ClusterOptions | undefined
  /**
   * With `cluster`: files of modules that agents do not have, each an ES module (`.mjs`) with all that it imports in it,
   * as bundlers make them. What is exported there is called by name, wherever it runs; agents get the files, by their
   * SHA-256 under the key of the pool, and keep them.
   */
  bundle?: string | URL | readonly (string | URL)[] | undefined
  /**
   * Opens a page on 127.0.0.1 that shows live what the pools of this program do, and prints its address on stderr. It
   * ends with the last pool that has this option. `multiproc dashboard` shows the same of programs without it. Default:
   * false.
   */
  dashboard?: boolean | DashboardOptions | undefined
}

/** What stands for a call that other programs can go on with: any text of 1 to 128 characters without spaces. */
const jobIds = /^[\x21-\x7e]{1,128}$/

/** @throws TypeError. */
export function checkJobId(value: unknown): string {
  if (typeof value === 'string' && jobIds.test(value)) return value
  throw invalidArgument(
    TypeError,
    `The id of a job must be a text of 1 to 128 characters without spaces, but it is ${show(value)}\nTo fix: pass such a text, as in { jobId: 'nightly-2026-11-27' }`,
  )
}

/** Options of a call that maps. `timeout`, `gracePeriod` and `retries` are those of each item. */
export interface MapOptions extends TaskOptions, WatchOptions {
  /**
   * With `cluster`, for `map`, `starmap` and `mapSettled`: the name of this call, by which another program can go on with
   * it ({@link Pool.attach}) when this one has ended, for a day from now on. The pool has no other call of that name
   * within the day. Its items are an array or another iterable, and are kept on the server. Default: what of the call is
   * not done ends with the program.
   */
  jobId?: string | undefined
  /** Milliseconds that the whole call may take, from the call on. Default: no limit. */
  totalTimeout?: number | undefined
  /**
   * Items in one message to a worker. Default: chosen from the time that items take, so that a message keeps a
   * worker busy for some milliseconds and all workers finish together.
   */
  chunkSize?: number | undefined
}

/** Options of `map` and `starmap` whose results are put into a typed array. */
export interface MapIntoOptions<C extends NumberArrayConstructor> extends MapOptions {
  /**
   * The class of the array that the call gives, such as `Float64Array`. A result that is no number (for the `BigInt`
   * classes: no bigint), or that an array of integers cannot hold, fails its item. Default: an ordinary array.
   */
  into: C
}

/** Options of {@link Pool.attach}. */
export interface AttachOptions extends WatchOptions {
  /** Where the job is, as in `new Pool({ cluster })`. */
  cluster: string | ClusterOptions
  /** The name of its pool. */
  name: string
}

/** Options of `imap` and `imapUnordered`. */
export interface ImapOptions extends Omit<MapOptions, 'jobId'> {
  /**
   * How many items may be read from the input ahead of the results that were consumed. Default: chosen from the
   * time that items take.
   */
  bufferSize?: number | undefined
}

export function checkFunction(name: string, value: unknown): void {
  if (typeof value === 'function') return
  throw invalidArgument(
    TypeError,
    `${name} must be a function, but it is ${show(value)}\nTo fix: pass a function`,
  )
}

export function checkInput(value: unknown): void {
  const isIterable =
    value !== undefined &&
    value !== null &&
    (Symbol.iterator in Object(value) || Symbol.asyncIterator in Object(value))
  if (isIterable) return
  throw invalidArgument(
    TypeError,
    `The items must be an iterable or an async iterable, but they are ${show(value)}\nTo fix: pass an array, a Set, a generator, or a stream`,
  )
}

/** The start method that an option names. */
export function resolveMethod(context: ContextOption | undefined): StartMethod {
  const method: unknown =
    context === undefined
      ? getStartMethod()
      : typeof context === 'string'
        ? context
        : context?.getStartMethod?.()
  if (method === 'spawn' || method === 'thread') return method
  if (typeof method === 'string') assertStartMethod(method)
  throw invalidArgument(
    TypeError,
    `The option "context" must be 'spawn', 'thread' or a context, but it is ${show(context)}\nTo fix: pass one of these, or the result of getContext()`,
  )
}

/** @throws TypeError for a heart-beat of threads: they stop and run together with this process. */
export function checkHeartbeat(heartbeatMs: number | undefined, method: StartMethod): number | undefined {
  if (heartbeatMs === undefined || heartbeatMs === Infinity) return undefined
  if (method === 'spawn') return heartbeatMs
  throw invalidArgument(
    TypeError,
    'The option "heartbeat" is for processes, but the workers are threads, which are stopped only together with this process\nTo fix: leave it out (a "timeout" stops tasks that do not end), or use the context "spawn"',
  )
}
