/**
 * A job is one call of a pool's method: where its items come from, and where their results go. Invariant: each
 * item that was taken is settled exactly once, by `succeed` or `fail`, and the owner is told exactly once, when
 * nothing more will be taken and everything taken is settled.
 */
import type { ShippedFunction } from './function-table.ts'
import type { Values } from './number-array.ts'
import type { Carrier } from '../insights/task-channels.ts'
import type { ReportListener } from './progress-options.ts'
import type { Body, CallMode } from './protocol.ts'
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
  /** When it was made, by `performance.now()`. Not set for single calls, of which there may be very many. */
  readonly startedAtMs: number | undefined
  /** How many items its caller expects, of an input whose length is not known. */
  expectedTotal: number | undefined
  /** Its name in a trace. */
  traceId: number | undefined
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
