/**
 * What one worker has done, as its parent sees it: where its time went, what was sent, and which tasks took longest.
 * Always on, so it is counted once for a message and never for an item.
 */
import { LongestTasks } from '../insights/longest-tasks.ts'

/** Where the time of a worker went, in milliseconds. */
export interface WorkerTimes {
  /** From the start of the process or thread until it did what the pool asked of it. */
  startMs: number
  /** Scheduling, `preload` and `initializer`. */
  initMs: number
  /** Since it was ready, without `workingMs`: it had nothing to do, or sent and received. */
  waitingMs: number
  /** In tasks. Of a task that runs, what has passed since the last result. */
  workingMs: number
  /** From when it was told to end until it had ended, with its `finalizer`. */
  exitMs: number
}

export class WorkerInsights {
  readonly longest = new LongestTasks()
  done = 0
  failed = 0
  sentBytes = 0
  receivedBytes = 0
  workedMs = 0
  readonly #startedAtMs = performance.now()
  #initMs = 0
  #readyAtMs: number | undefined
  #lastOutcomeAtMs = 0
  #stoppedAtMs: number | undefined
  #endedAtMs: number | undefined

  ready(initMs: number): void {
    this.#readyAtMs = performance.now()
    this.#initMs = initMs
  }

  /** So many items returned. */
  returned(count: number, elapsedMs: number, bytes: number): void {
    this.done += count
    this.#worked(elapsedMs, bytes)
  }

  /** One item threw. */
  threw(elapsedMs: number, bytes: number): void {
    this.done++
    this.failed++
    this.#worked(elapsedMs, bytes)
  }

  #worked(elapsedMs: number, bytes: number): void {
    this.workedMs += elapsedMs
    this.receivedBytes += bytes
    this.#lastOutcomeAtMs = performance.now()
  }

  /** It was told to end. Only the first time counts. */
  stopped(): void {
    this.#stoppedAtMs ??= performance.now()
  }

  ended(): void {
    this.#endedAtMs = performance.now()
  }

  /** `chunkMs`: how long the chunk that it runs has been its first, if it runs one. */
  times(chunkMs: number | undefined): WorkerTimes {
    const nowMs = this.#endedAtMs ?? performance.now()
    const readyAtMs = this.#readyAtMs
    const startMs = (readyAtMs ?? nowMs) - this.#startedAtMs - this.#initMs
    if (readyAtMs === undefined) return { startMs, initMs: 0, waitingMs: 0, workingMs: 0, exitMs: 0 }
    const servedMs = (this.#stoppedAtMs ?? nowMs) - readyAtMs
    const runningMs = chunkMs === undefined ? 0 : Math.min(chunkMs, nowMs - this.#lastOutcomeAtMs)
    const workingMs = this.workedMs + runningMs
    return {
      startMs,
      initMs: this.#initMs,
      waitingMs: Math.max(0, servedMs - workingMs),
      workingMs,
      exitMs: this.#stoppedAtMs === undefined ? 0 : nowMs - this.#stoppedAtMs,
    }
  }
}
