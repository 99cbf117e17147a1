/**
 * Stops what runs in workers: items that take longer than they may, and items that were called off. Invariant: a worker
 * is killed only while everything that it can be running has been given up; see "Stopping what runs" in README.md.
 */
import { type RunningMark, monotonicMs } from '../platform/journal.ts'
import { LongTimer, TIMER_MS_MAX } from '../platform/long-timer.ts'
import type { Chunk } from './chunk.ts'
import type { StopReason } from './current-task.ts'
import type { Job } from './job.ts'
import { loadingFunction } from './recover-chunk.ts'
import type { WorkerRunner } from './worker-runner.ts'

/**
 * Loading a function and beginning with what has arrived take their time on a busy machine, which is no fault of an
 * item. A worker that takes so much longer than an item may run cannot be in order.
 */
const beginMsMax = 5000

export interface SupervisorOptions {
  /** The item has used up its time. */
  giveUp(chunk: Chunk, index: number): void
}

export class RunSupervisor {
  readonly #options: SupervisorOptions
  /** One timer for each worker whose oldest chunk has a limit, and none for its items. */
  readonly #watches = new Map<WorkerRunner, NodeJS.Timeout>()
  /** Ends of grace periods. */
  readonly #graces = new Map<WorkerRunner, Set<LongTimer>>()

  constructor(options: SupervisorOptions) {
    this.#options = options
  }

  /** Something about the chunks of a worker has changed. */
  watch(runner: WorkerRunner): void {
    // Another machine watches over what it runs: here nobody knows when an item begins.
    if (runner.elsewhere) return
    const chunk = runner.firstChunk
    if (chunk?.timeoutMs === undefined || this.#watches.has(runner)) return
    this.#lookIn(runner, chunk.timeoutMs - (monotonicMs() - chunk.firstSinceMs))
  }

  /** The job was called off: its items are not started any more, and with `isHard` those that run are stopped. */
  cancel(runners: Iterable<WorkerRunner>, job: Job, { isHard }: { isHard: boolean }): void {
    for (const runner of runners) {
      for (const chunk of Array.from(runner.chunks)) {
        const indexes = indexesOf(chunk, job)
        if (indexes?.length === 0) continue
        runner.cancel(chunk, {
          indexes,
          why: 'cancelled',
          graceMs: isHard ? job.limits.graceMs : undefined,
        })
        if (!isHard || runner.elsewhere) continue
        this.#startGrace(runner, chunk, {
          graceMs: job.limits.graceMs,
          why: 'cancelled',
          isMeant: index => chunk.at(index).job === job,
        })
      }
    }
  }

  /** Some items of a job that came from another machine were called off there. */
  cancelItems(
    runners: Iterable<WorkerRunner>,
    job: Job,
    { indexes, graceMs }: { indexes: readonly number[]; graceMs: number | undefined },
  ): void {
    for (const runner of runners) {
      for (const chunk of runner.chunks) {
        if (chunk.parts[0]!.job !== job) continue
        runner.cancel(chunk, { indexes: [...indexes], why: 'cancelled' })
        if (graceMs === undefined) continue
        this.#startGrace(runner, chunk, {
          graceMs,
          why: 'cancelled',
          isMeant: index => indexes.includes(index),
        })
      }
    }
  }

  /** The worker has ended. */
  forget(runner: WorkerRunner): void {
    clearTimeout(this.#watches.get(runner))
    this.#watches.delete(runner)
    for (const timer of this.#graces.get(runner) ?? []) timer.stop()
    this.#graces.delete(runner)
  }

  #lookIn(runner: WorkerRunner, delayMs: number): void {
    const timer = setTimeout(
      () => {
        this.#watches.delete(runner)
        this.#look(runner)
      },
      Math.min(Math.max(1, Math.ceil(delayMs)), TIMER_MS_MAX),
    )
    // Who waits for a result keeps the program alive.
    timer.unref()
    this.#watches.set(runner, timer)
  }

  #look(runner: WorkerRunner): void {
    const chunk = runner.firstChunk
    const { timeoutMs } = chunk ?? {}
    if (!chunk || timeoutMs === undefined) return
    const run = runner.running
    const nowMs = monotonicMs()
    if (run?.chunkId !== chunk.id) {
      const limitMs = timeoutMs + beginMsMax
      const waitedMs = nowMs - chunk.firstSinceMs
      const isStuck = waitedMs >= limitMs
      if (isStuck && runner.condemn('unresponsive', now => now?.chunkId !== chunk.id)) return
      this.#lookIn(runner, isStuck ? timeoutMs : Math.min(timeoutMs, limitMs - waitedMs))
      return
    }
    const leftMs = this.#limitOf(chunk, run) - (nowMs - run.startedAtMs)
    // Its outcome is on its way, or nothing runs.
    const isOver = run.startedCount === 0 && run.startedIndex !== loadingFunction
    if (leftMs > 0 || isOver || chunk.givenUp?.has(run.startedIndex)) {
      // The next item may have a shorter limit than this one.
      this.#lookIn(runner, leftMs > 0 && !isOver ? Math.min(leftMs, timeoutMs) : timeoutMs)
      return
    }
    if (run.startedIndex === loadingFunction || run.startedCount > 1) {
      // Nobody can be told, and nobody can be blamed alone.
      const isSame = (now: RunningMark | undefined): boolean =>
        now?.chunkId === run.chunkId &&
        now.startedIndex === run.startedIndex &&
        now.startedAtMs === run.startedAtMs
      if (runner.condemn('timeout', isSame)) return
    } else if (run.startedIndex >= chunk.received) {
      this.#options.giveUp(chunk, run.startedIndex)
      runner.cancel(chunk, { indexes: [run.startedIndex], why: 'timeout' })
      const { graceMs } = chunk.at(run.startedIndex).job.limits
      this.#startGrace(runner, chunk, {
        graceMs,
        why: 'timeout',
        isMeant: index => index === run.startedIndex,
      })
    }
    this.#lookIn(runner, timeoutMs)
  }

  /** How long what runs may take. */
  #limitOf(chunk: Chunk, { startedIndex, startedCount }: RunningMark): number {
    if (startedCount !== 1 || startedIndex >= chunk.count) return chunk.timeoutMs! + beginMsMax
    return chunk.at(startedIndex).job.limits.timeoutMs ?? Infinity
  }

  /** Only who is meant is killed at the end: what runs by then may have a grace period of its own. */
  #startGrace(
    runner: WorkerRunner,
    chunk: Chunk,
    { graceMs, why, isMeant }: { graceMs: number; why: StopReason; isMeant: (index: number) => boolean },
  ): void {
    if (graceMs === Infinity) return
    const timers = this.#graces.get(runner) ?? new Set()
    this.#graces.set(runner, timers)
    const timer = new LongTimer(() => {
      timers.delete(timer)
      if (chunk.isDone) return
      runner.condemn(why, run => {
        const isItem = run !== undefined && run.chunkId === chunk.id && run.startedIndex < chunk.count
        return isAbandoned(chunk, run) && (!isItem || isMeant(run.startedIndex))
      })
    }, graceMs)
    timers.add(timer)
  }
}

/** The places of the job's items in the chunk that have no outcome, or `undefined` when that is all of them. */
function indexesOf(chunk: Chunk, job: Job): number[] | undefined {
  const indexes: number[] = []
  let before = 0
  let isAll = true
  for (const part of chunk.parts) {
    if (part.job !== job) isAll = false
    else for (let at = 0; at < part.count && chunk.parts.length > 1; at++) indexes.push(before + at)
    before += part.count
  }
  return isAll ? undefined : indexes.filter(index => index >= chunk.received)
}

/** Whether nobody wants the outcome of anything that the worker can be running. */
function isAbandoned(chunk: Chunk, run: RunningMark | undefined): boolean {
  const isKnown = run !== undefined
  if (isKnown && run.chunkId !== chunk.id) return false
  const isAll = !isKnown || run.startedIndex === loadingFunction
  const from = isAll ? chunk.received : Math.max(run.startedIndex, chunk.received)
  const end = isAll ? chunk.count : Math.min(run.startedIndex + run.startedCount, chunk.count)
  // One of several items of a map is as cancelled as the others.
  if (from < end && chunk.parts.length === 1 && chunk.parts[0]!.job.isCancelled) return true
  for (let index = from; index < end; index++) {
    if (chunk.givenUp?.has(index) === true) continue
    const { job, first } = chunk.at(index)
    if (!job.isCalledOff(first)) return false
  }
  return from < end
}
