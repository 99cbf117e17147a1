/**
 * What is known of one watched program: rates over time, made of the counts in its snapshots, and the last spans and
 * failures. Invariant: it is bounded, however long the program runs and however many pools it opens.
 */
import { processorMs, residentBytes } from '../platform/process-facts.ts'
import type { InspectedPool, ProgramSnapshot, TaskFailure, WorkerSnapshot } from './inspection-protocol.ts'
import type { HistoryMessage, Point, PoolRow, PoolSpan, UpdateMessage, WorkerRow } from './live-messages.ts'
import { percentile } from './percentile.ts'

/** At two looks a second: five minutes. */
const pointsMax = 600
const timelineMs = 60_000
const spansMax = 20_000
const failuresMax = 100
const endedPoolsMax = 8
/** Snapshots that follow each other faster (a pool ended) make one point of the charts. */
const pointMsMin = 100

/** Counts of a worker at the last point. */
interface Counted {
  done: number
  workingMs: number
  processorMs: number | undefined
}

export class ProgramView {
  readonly #points: Point[] = []
  #spans: PoolSpan[] = []
  readonly #failures: TaskFailure[] = []
  readonly #ended: PoolRow[] = []
  readonly #donePerPool = new Map<number, { done: number; failed: number }>()
  readonly #endedTotals = { done: 0, failed: 0 }
  #workers = new Map<string, Counted>()
  #last: ProgramSnapshot | undefined
  #latest: UpdateMessage | undefined
  /** What has happened since the last point. */
  #perPool = new Map<number, number>()
  #failedSince = 0
  #times = new Map<number, number>()

  /** The number of the last failure that is known. */
  get failureNumber(): number {
    return this.#last?.failureCount ?? 0
  }

  get latest(): UpdateMessage | undefined {
    return this.#latest
  }

  /** For a page that begins now. */
  history(): HistoryMessage {
    return {
      points: this.#points,
      spans: this.#spans,
      failures: this.#failures,
      pointsMax,
      timelineMs,
      failuresMax,
    }
  }

  /** Takes a snapshot, and gives what is new. */
  add(snapshot: ProgramSnapshot): UpdateMessage {
    const isFirst = this.#last === undefined
    for (const pool of [...snapshot.endedPools, ...snapshot.pools]) this.#count(pool, { isFirst })
    const spans = this.#addSpans(snapshot)
    const known = this.#failures.at(-1)?.number ?? 0
    const failures = snapshot.failures.filter(({ number }) => number > known)
    this.#failures.push(...failures)
    this.#failures.splice(0, this.#failures.length - failuresMax)
    const elapsedMs = this.#last ? snapshot.atMs - this.#last.atMs : 0
    const isPoint = isFirst || elapsedMs >= pointMsMin
    // A snapshot that comes too soon after another has rates that mean nothing: those of the last one stay.
    const before = this.#latest
    const pools = snapshot.pools.map(pool => this.#poolRow(pool, { elapsedMs, isPoint, before }))
    for (const pool of snapshot.endedPools) this.#end(pool)
    const point = isPoint ? this.#point(snapshot, { elapsedMs, pools }) : null
    if (isPoint) {
      this.#last = snapshot
      this.#forgetGone(snapshot)
    } else this.#last = { ...this.#last!, failureCount: snapshot.failureCount }
    const sum = (key: 'done' | 'failed'): number =>
      this.#endedTotals[key] + snapshot.pools.reduce((total, pool) => total + pool[key], 0)
    this.#latest = {
      point,
      pools: [...pools, ...this.#ended],
      spans,
      failures,
      failureCount: snapshot.failureCount,
      tables: snapshot.tables,
      done: sum('done'),
      failed: sum('failed'),
    }
    return this.#latest
  }

  /** Adds what a pool has done since the last snapshot. At the first one nobody knows when that was. */
  #count({ number, done, failed, times }: InspectedPool, { isFirst }: { isFirst: boolean }): void {
    const before = this.#donePerPool.get(number) ?? { done: 0, failed: 0 }
    this.#donePerPool.set(number, { done, failed })
    for (const [step, tasks] of times) this.#times.set(step, (this.#times.get(step) ?? 0) + tasks)
    if (isFirst) return
    this.#perPool.set(number, (this.#perPool.get(number) ?? 0) + Math.max(0, done - before.done))
    this.#failedSince += Math.max(0, failed - before.failed)
  }

  #addSpans({ atMs, pools, endedPools }: ProgramSnapshot): PoolSpan[] {
    const fresh: PoolSpan[] = []
    for (const { number, spans } of [...endedPools, ...pools]) {
      for (const span of spans) fresh.push([number, ...span])
    }
    this.#spans.push(...fresh.slice(-spansMax))
    const isKept = (span: PoolSpan): boolean => span[3] + span[4] > atMs - timelineMs
    // They come roughly in their order: most of the time one look says that all are kept.
    if (this.#spans.length > spansMax) this.#spans = this.#spans.slice(-spansMax)
    else if (this.#spans[0] && !isKept(this.#spans[0])) this.#spans = this.#spans.filter(isKept)
    return fresh
  }

  #point(
    snapshot: ProgramSnapshot,
    { elapsedMs, pools }: { elapsedMs: number; pools: readonly PoolRow[] },
  ): Point {
    const seconds = elapsedMs / 1000
    const workers = pools.flatMap(pool => pool.workers)
    const last = this.#last
    const loopMs = last ? snapshot.loopActiveMs - last.loopActiveMs : 0
    const loopAllMs = last ? loopMs + snapshot.loopIdleMs - last.loopIdleMs : 0
    const own = last && seconds > 0 ? (snapshot.processorMs - last.processorMs) / 10 / seconds : 0
    const isOfProcess = ({ threadId }: WorkerRow): boolean => threadId === null
    const processes = workers.filter(isOfProcess)
    const isKnown = processes.every(({ processorPercent }) => processorPercent !== null)
    const point: Point = {
      atMs: snapshot.atMs,
      perSecond: Object.fromEntries(
        [...this.#perPool].map(([number, done]) => [number, seconds > 0 ? done / seconds : 0]),
      ),
      failedPerSecond: seconds > 0 ? this.#failedSince / seconds : 0,
      p50Ms: percentile(this.#times, 0.5),
      p99Ms: percentile(this.#times, 0.99),
      waiting: pools.reduce((sum, { waiting }) => sum + waiting, 0),
      workers: pools.reduce((sum, pool) => sum + workersOf(pool), 0),
      busyWorkers: pools.reduce((sum, pool) => sum + busyOf(pool), 0),
      memoryBytes: processes.reduce((sum, { memoryBytes }) => sum + (memoryBytes ?? 0), snapshot.memoryBytes),
      processorPercent: isKnown
        ? processes.reduce((sum, { processorPercent }) => sum + processorPercent!, own)
        : null,
      loopPercent: loopAllMs > 0 ? (loopMs / loopAllMs) * 100 : 0,
    }
    this.#perPool = new Map()
    this.#failedSince = 0
    this.#times = new Map()
    this.#points.push(point)
    if (this.#points.length > pointsMax) this.#points.shift()
    return point
  }

  #poolRow(
    pool: InspectedPool,
    {
      elapsedMs,
      isPoint,
      before,
    }: { elapsedMs: number; isPoint: boolean; before: UpdateMessage | undefined },
  ): PoolRow {
    const { number, spans: _spans, times: _times, longestTasks, busyElsewhere = null, ...same } = pool
    const old = isPoint ? undefined : before?.pools.find(row => row.number === number)
    const done = this.#perPool.get(number) ?? 0
    return {
      ...same,
      number,
      busyElsewhere,
      perSecond: old?.perSecond ?? (elapsedMs > 0 ? (done / elapsedMs) * 1000 : 0),
      longestTasks: longestTasks.map(({ index = null, ...task }) => ({ ...task, index })),
      workers: pool.workers.map(worker => {
        const row = this.#workerRow(`${number} ${worker.name}`, worker, { elapsedMs, isPoint })
        const oldRow = old?.workers.find(({ name }) => name === worker.name)
        if (!oldRow) return row
        const { perSecond, busyPercent, processorPercent } = oldRow
        return { ...row, perSecond, busyPercent, processorPercent }
      }),
    }
  }

  #workerRow(
    key: string,
    worker: WorkerSnapshot,
    { elapsedMs, isPoint }: { elapsedMs: number; isPoint: boolean },
  ): WorkerRow {
    const { pid, threadId, running, state } = worker
    const before = this.#workers.get(key)
    // Asked for here, and not by the program, which has better things to do.
    const isProcess = pid !== undefined && threadId === undefined
    const usedMs = isProcess && isPoint ? processorMs(pid) : undefined
    if (isPoint) {
      this.#workers.set(key, { done: worker.done, workingMs: worker.workingMs, processorMs: usedMs })
    }
    const perMs = before && elapsedMs > 0 ? 1 / elapsedMs : 0
    const usedBefore = before?.processorMs
    return {
      name: worker.name,
      pid: pid ?? null,
      threadId: threadId ?? null,
      state: state === 'ready' ? (running ? 'working' : 'idle') : state,
      isSpare: worker.isSpare,
      functionName: running?.functionName ?? null,
      runningMs: running?.forMs ?? 0,
      perSecond: before ? Math.max(0, worker.done - before.done) * perMs * 1000 : 0,
      busyPercent: before
        ? Math.min(100, Math.max(0, (worker.workingMs - before.workingMs) * perMs * 100))
        : 0,
      processorPercent:
        usedMs === undefined || usedBefore === undefined ? null : (usedMs - usedBefore) * perMs * 100,
      memoryBytes: (isProcess ? residentBytes(pid) : undefined) ?? worker.memoryBytes ?? null,
      items: worker.items,
      done: worker.done,
      failed: worker.failed,
    }
  }

  /** A pool has ended: its numbers stay for a while, its workers do not. */
  #end(pool: InspectedPool): void {
    this.#endedTotals.done += pool.done
    this.#endedTotals.failed += pool.failed
    this.#donePerPool.delete(pool.number)
    const row = this.#poolRow(
      { ...pool, workers: [], calls: [] },
      { elapsedMs: 0, isPoint: false, before: undefined },
    )
    this.#ended.unshift({ ...row, state: 'ended', perSecond: 0 })
    this.#ended.splice(endedPoolsMax)
  }

  #forgetGone({ pools }: ProgramSnapshot): void {
    const there = new Set(
      pools.flatMap(({ number, workers }) => workers.map(({ name }) => `${number} ${name}`)),
    )
    for (const key of this.#workers.keys()) if (!there.has(key)) this.#workers.delete(key)
    const numbers = new Set(pools.map(({ number }) => number))
    for (const number of this.#donePerPool.keys()) if (!numbers.has(number)) this.#donePerPool.delete(number)
  }
}

/** One that is on a cluster has the processes of all agents. */
function workersOf({ busyElsewhere, processes, workers }: PoolRow): number {
  return busyElsewhere === null ? workers.length : workers.length && processes
}

function busyOf({ busyElsewhere, workers }: PoolRow): number {
  return busyElsewhere ?? workers.filter(({ state }) => state === 'working').length
}
