/**
 * What a pool tells of itself and its workers. Invariant: of workers that have ended the last 32 are kept each, and all
 * of them in the sum, so that a pool that replaces workers for ever does not grow.
 */
import { type LongTask, LongestTasks } from '../insights/longest-tasks.ts'
import { monotonicMs } from '../platform/journal.ts'
import type { PoolCore, PoolState } from './pool-core.ts'
import type { WorkerTimes } from './worker-insights.ts'
import type { WorkerRunner } from './worker-runner.ts'

/** What was done, by one worker or by all. */
export interface WorkStats {
  /** Items that ran, failed ones included. */
  done: number
  /** Items of them that threw, each run that was repeated included. */
  failed: number
  times: WorkerTimes
  /** Arguments and functions of the user that were sent, encoded. */
  bytesSent: number
  /** Results and errors that came back, encoded. */
  bytesReceived: number
}

/** What `Pool.stats()` tells of one worker. */
export interface WorkerStats extends WorkStats {
  name: string
  pid: number | undefined
  /** Set for threads. */
  threadId: number | undefined
  state: 'starting' | 'ready' | 'stopping' | 'ended'
  /** Whether it waits to take the place of another; see the option `spares`. */
  isSpare: boolean
  /** Items that it was given and has not finished. */
  items: number
  /** Its memory when it was last looked at: of a process all of it, of a thread its JavaScript heap. */
  memoryBytes: number | undefined
}

/** What `Pool.stats()` tells. */
export interface PoolStats {
  state: PoolState
  /** Calls that have not ended. */
  jobs: number
  workers: WorkerStats[]
  /** The workers that ended last, 32 at most, the last one at the end. */
  ended: WorkerStats[]
  /** All workers together that the pool has ever had. */
  total: WorkStats & { workers: number }
  /** The five tasks that took longest, the longest first, if they took more than 1 ms. */
  longestTasks: LongTask[]
}

const endedMax = 32

/** The answer of `Pool.stats()`. */
export function statsOf({ ended, runners, state, jobs }: PoolCore): PoolStats {
  return ended.statsWith(runners, { state, jobs: jobs.size })
}

export class EndedWorkers {
  readonly #last: WorkerStats[] = []
  readonly #sum = emptyTotal()
  readonly #longest = new LongestTasks()

  add(runner: WorkerRunner): void {
    const stats = statsOfWorker(runner)
    this.#last.push(stats)
    if (this.#last.length > endedMax) this.#last.shift()
    addTo(this.#sum, stats)
    for (const task of runner.insights.longest.tasks) this.#longest.add(task)
  }

  /** The answer of `Pool.stats()`. `looksAtMemory`: else it is that of the last look, which costs no system call. */
  statsWith(
    runners: Iterable<WorkerRunner>,
    { state, jobs }: Pick<PoolStats, 'state' | 'jobs'>,
    { looksAtMemory = true }: { looksAtMemory?: boolean } = {},
  ): PoolStats {
    const total = { ...this.#sum, times: { ...this.#sum.times } }
    const longest = new LongestTasks()
    for (const task of this.#longest.tasks) longest.add(task)
    const workers: WorkerStats[] = []
    for (const runner of runners) {
      if (runner.state === 'dead') continue
      if (looksAtMemory) runner.inspect()
      const stats = statsOfWorker(runner)
      workers.push(stats)
      addTo(total, stats)
      for (const task of runner.insights.longest.tasks) longest.add(task)
    }
    return { state, jobs, workers, ended: [...this.#last], total, longestTasks: [...longest.tasks] }
  }
}

function statsOfWorker(runner: WorkerRunner): WorkerStats {
  const { name, pid, threadId, state, isSpare, insights, firstChunk, memoryBytes } = runner
  let items = 0
  for (const chunk of runner.chunks) items += chunk.count - chunk.received
  return {
    name,
    pid,
    threadId,
    state: state === 'dead' ? 'ended' : state,
    isSpare,
    items,
    done: insights.done,
    failed: insights.failed,
    times: insights.times(firstChunk && monotonicMs() - firstChunk.firstSinceMs),
    bytesSent: insights.sentBytes,
    bytesReceived: insights.receivedBytes,
    memoryBytes,
  }
}

function emptyTotal(): PoolStats['total'] {
  const times = { startMs: 0, initMs: 0, waitingMs: 0, workingMs: 0, exitMs: 0 }
  return { workers: 0, done: 0, failed: 0, times, bytesSent: 0, bytesReceived: 0 }
}

function addTo(
  total: PoolStats['total'],
  { done, failed, times, bytesSent, bytesReceived }: WorkStats,
): void {
  total.workers++
  total.done += done
  total.failed += failed
  total.bytesSent += bytesSent
  total.bytesReceived += bytesReceived
  for (const key of Object.keys(times) as (keyof WorkerTimes)[]) total.times[key] += times[key]
}
