/**
 * A job is one call of a pool's method: where its items come from, and where their results go. Invariant: each
 * item that was taken is settled exactly once, by `succeed` or `fail`, and the owner is told exactly once, when
 * nothing more will be taken and everything taken is settled.
 */
import type { ShippedFunction } from './function-table.ts'
import type { Body, CallMode } from './protocol.ts'

/** Neighbouring items of one job on their way to a worker. */
export interface Part {
  job: Job
  /** Index within the job of the first item. */
  first: number
  count: number
  /** The items, or, when they were encoded already, one body for each. */
  items: readonly unknown[] | undefined
  bodies: Body[] | undefined
  /** It may have killed a worker, and is to be sent alone, so that it is certain. */
  isSolo: boolean
  /** How many workers died that had it, without a sign that it had been started. */
  deaths: number
}

export interface JobOptions {
  task: ShippedFunction
  mode: CallMode
  /** Items in one message, or undefined to choose by time. */
  chunkSize?: number | undefined
  /** Holds the caller's stack, to be added to errors that come from workers. */
  caller: { stack?: string }
}

/** The pool, as its jobs see it. */
export interface JobOwner {
  /** There may be more to take than a moment ago. */
  jobHasMore(job: Job): void
  jobIsDone(job: Job): void
}

export abstract class Job {
  readonly task: ShippedFunction
  readonly mode: CallMode
  readonly chunkSize: number | undefined
  readonly caller: { stack?: string }
  /** Set when the job is submitted. */
  owner: JobOwner | undefined
  #isDone = false

  constructor({ task, mode, chunkSize, caller }: JobOptions) {
    this.task = task
    this.mode = mode
    this.chunkSize = chunkSize
    this.caller = caller
  }

  get isDone(): boolean {
    return this.#isDone
  }

  /** How many items have not been taken yet, if that is known. */
  abstract get remaining(): number | undefined

  /** Whether one call may run together with others of the same function. */
  get isSingle(): boolean {
    return false
  }

  /** Up to `countMax` items that can go to a worker now, or undefined. */
  abstract take(countMax: number): Part | undefined
  abstract succeed(index: number, value: unknown): void
  abstract fail(index: number, reason: unknown): void

  /** Settles the items from `first` on. */
  succeedAll(first: number, values: readonly unknown[]): void {
    for (let offset = 0; offset < values.length; offset++) this.succeed(first + offset, values[offset])
  }

  /** The pool cannot go on: all that is not settled fails with `reason`. */
  abstract abort(reason: unknown): void

  protected more(): void {
    this.owner?.jobHasMore(this)
  }

  protected done(): void {
    if (this.#isDone) return
    this.#isDone = true
    this.owner?.jobIsDone(this)
  }
}
