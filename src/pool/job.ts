/**
 * A job is one call of a pool's method: where its items come from, and where their results go. Invariant: each
 * item that was taken is settled exactly once, by `succeed` or `fail`, and the owner is told exactly once, when
 * nothing more will be taken and everything taken is settled.
 */
import type { ShippedFunction } from './function-table.ts'
import type { BundlePlace } from '../serialize/bundles.ts'
import type { Values } from './number-array.ts'
import { AsyncResource } from 'node:async_hooks'
import type { Carrier } from '../insights/carrier.ts'
import type { CallMessage } from '../insights/channels.ts'
import type { ChunkContext } from './chunk-context.ts'
import type { ReportListener } from './progress-options.ts'
import {
  type Body,
  type CallMode,
  type LongTaskMessage,
  type WorkerIdentity,
  releaseBodies,
} from './protocol.ts'
import type { ResourceShare } from './requirements.ts'
import type { TaskLimits } from './task-limits.ts'
import type { Account } from './turn-order.ts'

/** Neighbouring items of one job on their way to a worker. */
export interface Part {
  job: Job
  /** Index within the job of the first item. */
  first: number
  count: number
  /** The items, or, when they were encoded already, one body for each. */
  items: Values | undefined
  bodies: Body[] | undefined
  /** One body with all items, which was made on another machine. Such a part is not cut. */
  packed?: Body | undefined
  /** It may have killed a worker, and is to be sent alone, so that it is certain. */
  isSolo: boolean
  /** How many workers died that had it, without a sign that it had been started. */
  deaths: number
  /** Number of the run that it waits for or is in, from 1. Parts of several items have never run. */
  attempt: number
  /** How many workers died while they ran it. */
  kills: number
  /** What the job's account has paid for each of them in advance. */
  chargedItemMs: number
}

/**
 * Gets what workers say of the items of a job that came from another machine, which is passed on and not decoded here.
 * Each item of a chunk gets one outcome: `received`, `failed`, `died`, `skipped` or `again`; or the whole chunk is refused.
 */
export interface Relay {
  /** What travels with `count` items from the one at `index` on, beside them. */
  contextOf(index: number, count: number): ChunkContext
  /** Whether each item is to be marked in a way that can be relied on when one of them is stopped. */
  readonly isExact: boolean
  /** Modules that are here as files. */
  readonly bundles: BundlePlace[] | undefined
  /** What its tasks have of the resources of this machine. */
  readonly resources: Record<string, ResourceShare> | undefined
  /** A worker has been given it. */
  entered(): void
  /** That worker has nothing of it any more: it has answered, or is dead. */
  left(): void
  received(
    index: number,
    results: { count: number; isPacked: boolean; bodies: Body[]; elapsedMs: number },
  ): void
  failed(index: number, failure: { body: Body; elapsedMs: number; worker?: WorkerIdentity | undefined }): void
  died(index: number, error: unknown): void
  skipped(index: number, count: number): void
  /** They were not run, or what became of them is lost; they can be run again. */
  again(parts: readonly Part[]): void
  /** Its time is up. The outcome follows when it has ended. */
  timedOut(index: number, error: unknown): void
  /** Nothing of the chunk was run. */
  refused(why: 'undecodable' | 'unloadable', body: Body | undefined): void
  reported(index: number, report: { dropped: number; body: Body }): void
  /** One of its tasks is among the longest of its worker. It is told before the outcome. */
  tookLong(task: LongTaskMessage): void
}

/** None of them will ever run. */
export function failAll(parts: readonly Part[], reasonOf: () => unknown): void {
  for (const { job, first, count, bodies } of parts) {
    releaseBodies(bodies)
    for (let at = 0; at < count; at++) job.fail(first + at, reasonOf())
  }
}

/** Items of `job` that are taken for the first time. */
export function firstPart(
  job: Job,
  { first, count, items, bodies }: Pick<Part, 'first' | 'count'> & Partial<Pick<Part, 'items' | 'bodies'>>,
): Part {
  return {
    job,
    first,
    count,
    items,
    bodies,
    isSolo: false,
    deaths: 0,
    attempt: 1,
    kills: 0,
    chargedItemMs: 0,
  }
}

export interface JobOptions {
  task: ShippedFunction
  mode: CallMode
  /** Items in one message, or undefined to choose by time. */
  chunkSize?: number | undefined
  /** Holds the caller's stack, to be added to errors that come from workers. */
  caller: { stack?: string }
  limits: TaskLimits
}

/** How far a job is. */
export interface JobCounts {
  done: number
  failed: number
  total: number | undefined
}

/** The pool, as its jobs see it. */
export interface JobOwner {
  /** There may be more to take than a moment ago. */
  jobHasMore(job: Job): void
  jobIsDone(job: Job): void
  /** Somebody calls it off. Says whether there was anything to call off. */
  cancelJob(job: Job, reason: unknown): boolean
  /** Nobody wants its results any more. What runs may run on, and nothing of it is to be started. */
  jobIsDropped(job: Job): void
}

export abstract class Job {
  readonly task: ShippedFunction
  readonly mode: CallMode
  readonly chunkSize: number | undefined
  readonly caller: { stack?: string }
  readonly limits: TaskLimits
  /** The time of workers that it has used. Set when it comes into its order for the first time. */
  account: Account | undefined
  /** Set when the job is submitted. */
  owner: JobOwner | undefined
  /** Lets go of what could call the job off (a timer, a listener). Called once, when it is done. */
  release: (() => void) | undefined
  /** Whoever watches it learns that it is done. */
  onDone: (() => void) | undefined
  /** Is given what its tasks report. */
  onReport: ReportListener | undefined
  /** What those who follow its call gave to its tasks. */
  carrier: Carrier | undefined
  /** Its message, while somebody follows calls. */
  call: CallMessage | undefined
  /** The stores of `carryAcross()` at the call, encoded. */
  carried: Body | undefined
  /** Set when its items came from another machine. */
  readonly relay: Relay | undefined
  /** When it was made, by `performance.now()`. Not set for single calls, of which there may be very many. */
  readonly startedAtMs: number | undefined
  /** How many items its caller expects, of an input whose length is not known. */
  expectedTotal: number | undefined
  /** Its name in a trace. */
  traceId: number | undefined
  /** Why the call as a whole fails, as far as that is known: what its first item threw, or what ended all of it. */
  failure: { reason: unknown } | undefined
  /** The async context of the caller, where a function of the caller's is to be called later. */
  readonly #context: AsyncResource | undefined
  /** How many runs of its items were repeated. */
  retried = 0
  /** Whether it was called off, so that what runs of it is to be stopped as well. */
  isCancelled = false
  #isDone = false

  constructor({ task, mode, chunkSize, caller, limits }: JobOptions) {
    this.task = task
    this.mode = mode
    this.chunkSize = chunkSize
    this.caller = caller
    this.limits = limits
    if (limits.retries?.when !== undefined) this.#context = new AsyncResource('multiproc.retries')
  }

  /** Asks `policy`, in the async context of the caller. */
  asCaller<T>(policy: () => T): T {
    return this.#context ? this.#context.runInAsyncScope(policy) : policy()
  }

  /** Whether something travels with it beside its arguments. */
  get hasContext(): boolean {
    return this.carrier !== undefined || this.carried !== undefined
  }

  get isDone(): boolean {
    return this.#isDone
  }

  /** How many items have not been taken yet, if that is known. */
  abstract get remaining(): number | undefined

  /** How many items have their outcome, and how many there are, if that is known. */
  abstract get counts(): JobCounts

  /** Whether one call may run together with others of the same function. */
  get isSingle(): boolean {
    return false
  }

  /** Whether nothing happens to it before somebody takes its results, so that it is no reason to go on. */
  get isWaitingForConsumer(): boolean {
    return false
  }

  /** Whether an item was called off, so that it is to be stopped when it runs. */
  isCalledOff(_index: number): boolean {
    return this.isCancelled
  }

  /** Up to `countMax` items that can go to a worker now, or undefined. */
  abstract take(countMax: number): Part | undefined
  abstract succeed(index: number, value: unknown): void
  abstract fail(index: number, reason: unknown): void

  /** A worker of this pool has died of an item, which fails. */
  died(index: number, reason: unknown): void {
    this.fail(index, reason)
  }

  /** Whether `succeedAll` takes numbers as a typed array, which is faster. */
  get wantsNumbers(): boolean {
    return false
  }

  /** Settles the items from `first` on. */
  succeedAll(first: number, values: ArrayLike<unknown>): void {
    for (let offset = 0; offset < values.length; offset++) this.succeed(first + offset, values[offset])
  }

  /** The pool cannot go on: all that is not settled fails with `reason`. */
  abstract abort(reason: unknown): void

  /** It is not submitted after all: what it holds is let go of. */
  abstract discard(): void

  /** For `AsyncResult.cancel()`. */
  callOff(reason: unknown): boolean {
    return this.owner?.cancelJob(this, reason) ?? false
  }

  /** Somebody called it off: as `abort`, at once. */
  cancel(reason: unknown): void {
    this.isCancelled = true
    this.abort(reason)
  }

  protected more(): void {
    this.owner?.jobHasMore(this)
  }

  protected done(): void {
    if (this.#isDone) return
    this.#isDone = true
    this.release?.()
    this.onDone?.()
    this.owner?.jobIsDone(this)
  }
}
