/**
 * What a pool and its workers do at this moment, as plain data for those who watch from outside. It is read from counts
 * that the pool keeps anyway. Invariant: a look asks the system nothing about workers, and its answer is bounded whatever the pool has.
 */
import { type Progress, ProgressMeter } from '../insights/progress-meter.ts'
import type { LongTask } from '../insights/longest-tasks.ts'
import { monotonicMs } from '../platform/journal.ts'
import type { Job } from './job.ts'
import type { PoolCore, PoolState } from './pool-core.ts'
import type { WorkerStats } from './pool-stats.ts'
import { type TaskSpan, TaskActivity } from './task-activity.ts'
import { countsOf } from './watch-job.ts'

/** One worker. */
export interface WorkerSnapshot {
  name: string
  pid: number | undefined
  threadId: number | undefined
  state: WorkerStats['state']
  isSpare: boolean
  done: number
  failed: number
  /** Items that it was given and has not finished. */
  items: number
  /** In tasks so far, the one that runs included. */
  workingMs: number
  /** When the pool last looked. */
  memoryBytes: number | undefined
  /** The function that it runs, and since when it has given no result. */
  running: { functionName: string; forMs: number } | undefined
}

/** A call of several items that has not ended. */
export interface CallSnapshot extends Progress {
  number: number
  functionName: string
}

/** A pool. Counts are those since it was opened. */
export interface PoolSnapshot {
  number: number
  name: string
  method: 'spawn' | 'thread'
  state: PoolState
  processes: number
  /** Of a pool on a cluster: how many of these have work, as far as is known here. Its only worker stands for all. */
  busyElsewhere: number | undefined
  /** Calls that have not ended. */
  jobs: number
  /** Items that no worker has. Of an input whose length is not known none are counted. */
  waiting: number
  done: number
  failed: number
  workersEnded: number
  bytesSent: number
  bytesReceived: number
  workers: WorkerSnapshot[]
  /** The oldest calls of several items; `callsLeftOut` counts the others. */
  calls: CallSnapshot[]
  callsLeftOut: number
  longestTasks: LongTask[]
  /** Since the last look: tasks by the step of their time (`msOfStep`), and when workers worked. */
  times: [step: number, tasks: number][]
  spans: Map<string, TaskSpan[]>
}

const callsMax = 32
/** More calls than this are not looked at one by one: each of the others counts as one item that waits. */
const countedJobsMax = 2000
const workersMax = 1000

/** Looks at one pool again and again. While it is there, the pool notes when its workers work. */
export class PoolProbe {
  readonly #core: PoolCore
  readonly #number: number
  readonly #meters = new WeakMap<Job, { number: number; meter: ProgressMeter }>()
  #callCount = 0

  /** Ended by `end()`. */
  constructor(core: PoolCore, number: number) {
    this.#core = core
    this.#number = number
    core.activity = new TaskActivity()
  }

  look(): PoolSnapshot {
    const { ended, runners, state, jobs, options, processes, activity } = this.#core
    const stats = ended.statsWith(runners, { state, jobs: jobs.size }, { looksAtMemory: false })
    const running = new Map<string, WorkerSnapshot['running']>()
    let inWorkers = 0
    let busyElsewhere: number | undefined
    for (const { name, firstChunk, insights, chunks, chunkCount, elsewhere } of runners) {
      // What is more than they are waits there.
      if (elsewhere) busyElsewhere = Math.min(chunkCount, processes)
      for (const chunk of chunks) inWorkers += chunk.count - chunk.received
      if (!firstChunk) continue
      const times = insights.times(monotonicMs() - firstChunk.firstSinceMs)
      running.set(name, {
        functionName: firstChunk.task.name,
        forMs: Math.max(0, times.workingMs - insights.workedMs),
      })
    }
    const calls = this.#calls()
    return {
      number: this.#number,
      name: options.name,
      method: options.method,
      state,
      processes,
      busyElsewhere,
      jobs: jobs.size,
      waiting: Math.max(0, itemsOf(jobs) - inWorkers),
      done: stats.total.done,
      failed: stats.total.failed,
      workersEnded: stats.total.workers - stats.workers.length,
      bytesSent: stats.total.bytesSent,
      bytesReceived: stats.total.bytesReceived,
      workers: stats.workers.slice(0, workersMax).map(worker => ({
        name: worker.name,
        pid: worker.pid,
        threadId: worker.threadId,
        state: worker.state,
        isSpare: worker.isSpare,
        done: worker.done,
        failed: worker.failed,
        items: worker.items,
        workingMs: worker.times.workingMs,
        memoryBytes: worker.memoryBytes,
        running: running.get(worker.name),
      })),
      ...calls,
      longestTasks: stats.longestTasks,
      ...(activity?.take() ?? { spans: new Map<string, TaskSpan[]>(), times: [] }),
    }
  }

  /** Nobody watches any more. */
  end(): void {
    this.#core.activity = undefined
  }

  #calls(): Pick<PoolSnapshot, 'calls' | 'callsLeftOut'> {
    const calls: CallSnapshot[] = []
    let callsLeftOut = 0
    let seen = 0
    for (const job of this.#core.jobs) {
      if (++seen > countedJobsMax) break
      if (job.isSingle) continue
      if (calls.length >= callsMax) {
        callsLeftOut++
        continue
      }
      let known = this.#meters.get(job)
      if (!known) {
        const read = (): ReturnType<typeof countsOf> => countsOf(job, job.expectedTotal, this.#core)
        known = {
          number: ++this.#callCount,
          meter: new ProgressMeter(read, undefined, job.startedAtMs),
        }
        this.#meters.set(job, known)
      }
      calls.push({ number: known.number, functionName: job.task.name, ...known.meter.measure() })
    }
    return { calls, callsLeftOut }
  }
}

/** How many items of these calls have no outcome, as far as that is known. */
function itemsOf(jobs: ReadonlySet<Job>): number {
  let items = 0
  let seen = 0
  for (const job of jobs) {
    if (++seen > countedJobsMax) return items + jobs.size - countedJobsMax
    if (job.isSingle) items++
    else {
      const { total, done } = job.counts
      // What an endless input still has nobody knows; what waits of it is next to nothing, because it is read lazily.
      items += total === undefined ? 0 : total - done
    }
  }
  return items
}
