/**
 * Runs a map with which other programs can go on, by a core of its own: here from the beginning, or after another program.
 * Invariant: each item that has a result keeps it, and what another program has sent is not sent again while it may still
 * be answered.
 */
import { terminated } from './death-report.ts'
import { type AsyncResult, makeCancellable, rejectResult } from './async-result.ts'
import { type CallGuards, guardCall } from './call-guards.ts'
import { Chunk, slicePart } from './chunk.ts'
import type { ClusterSettings } from './cluster-option.ts'
import type { ShippedFunction } from './function-table.ts'
import { Job, type JobCounts, type Part } from './job.ts'
import { type KeptCall, type KeptJob, type KnownChunk, claimJob, createJob } from './kept-call.ts'
import { MapJob } from './map-job.ts'
import { openClusterCore } from './open-core.ts'
import type { PoolCore } from './pool-core.ts'
import type { ReportListener, Watch } from './progress-options.ts'
import { encodeBody } from './protocol.ts'
import { requirementsIn } from './requirements.ts'
import type { Retries } from './retry-policy.ts'
import { NO_LIMITS_ON_CLUSTER, type TaskLimits } from './task-limits.ts'
import { watchJob } from './watch-job.ts'
import { decode, prepare } from '../serialize/codec.ts'

/** What is done with the job here, and not kept. */
export interface KeptMapHooks {
  guards?: CallGuards | undefined
  watch?: Watch | undefined
  onReport?: ReportListener | undefined
  caller: { stack?: string }
  deathsMax: number | undefined
}

/** What is kept of a call beside its function. */
interface KeptContent {
  items: unknown[]
  timeoutMs: number | undefined
  graceMs: number
  priority: number
  requires: string | undefined
  retries: Retries | undefined
}

/** The items and limits of a call as they are kept. @throws SerializeError. */
export function encodeContent(items: unknown[], limits: TaskLimits): Uint8Array {
  const { timeoutMs, graceMs, priority, requires, retries } = limits
  const content: KeptContent = { items, timeoutMs, graceMs, priority, requires: requires?.key, retries }
  return encodeBody(content, { canAttach: false, isElsewhere: true }, { rootName: 'call' }).bytes
}

/** A map of this program, or one that it has taken over. It ends with its result. */
export class KeptMap {
  readonly #settings: ClusterSettings
  readonly #result: AsyncResult<unknown>
  readonly #hooks: KeptMapHooks
  #core: PoolCore | undefined
  #job: MapJob | undefined
  /** Set when it is over before it has begun. */
  #early: { reason: unknown; isCalledOff: boolean } | undefined
  readonly #beganMs = performance.now()
  /** Resolves when nothing of it is left here. */
  readonly ended: Promise<void>

  private constructor(
    settings: ClusterSettings,
    result: AsyncResult<unknown>,
    { hooks, run }: { hooks: KeptMapHooks; run: (map: KeptMap) => Promise<void> },
  ) {
    this.#settings = settings
    this.#result = result
    this.#hooks = hooks
    makeCancellable(result, this)
    this.ended = (async () => {
      try {
        await run(this)
      } catch (error) {
        rejectResult(result, this.#early?.reason ?? error)
      }
      await this.#core?.join()
    })()
  }

  /** Stores the call, and runs it. */
  static submit(
    settings: ClusterSettings,
    { jobId, call, items, limits }: { jobId: string; call: KeptCall; items: unknown[]; limits: TaskLimits },
    { result, hooks, source }: Started & { source: (...args: never[]) => unknown },
  ): KeptMap {
    const run = async (map: KeptMap): Promise<void> => {
      const kept = await createJob(settings, jobId, call)
      map.#begin(kept, call, {
        items,
        limits,
        taskOf: core => core.functions.ship(source, { bytes: call.task }),
      })
    }
    return new KeptMap(settings, result, { hooks, run })
  }

  /** Takes a call over, and goes on with it. */
  static attach(settings: ClusterSettings, jobId: string, { result, hooks }: Started): KeptMap {
    const run = async (map: KeptMap): Promise<void> => {
      const { job: kept, call } = await claimJob(settings, jobId)
      await prepare(call.content)
      const { items, requires, ...limits } = decode(call.content) as KeptContent
      const required = requires === undefined ? undefined : requirementsIn(requires)
      map.#begin(kept, call, {
        items,
        limits: { ...NO_LIMITS_ON_CLUSTER, ...limits, ...(required ? { requires: required } : {}) },
        taskOf: core => {
          const task = core.functions.shipBytes(call.head.taskName, { bytes: call.task })
          if (call.taskByValue.length > 0) task.byValue = { bytes: call.taskByValue }
          return task
        },
      })
    }
    return new KeptMap(settings, result, { hooks, run })
  }

  /** For `AsyncResult.cancel()`. */
  callOff(reason: unknown): boolean {
    const [core, job] = [this.#core, this.#job]
    if (core && job) return core.cancelJob(job, reason)
    return this.#endEarly(reason, { isCalledOff: true })
  }

  /** This program does not go on with it. */
  terminate(): void {
    if (this.#core) this.#core.terminate()
    else this.#endEarly(terminated(this.#settings.poolName), { isCalledOff: false })
  }

  #endEarly(reason: unknown, { isCalledOff }: { isCalledOff: boolean }): boolean {
    if (this.#early || this.#result.ready()) return false
    this.#early = { reason, isCalledOff }
    rejectResult(this.#result, reason)
    return true
  }

  #begin(
    kept: KeptJob,
    { head, stores }: KeptCall,
    {
      items,
      limits,
      taskOf,
    }: { items: unknown[]; limits: TaskLimits; taskOf: (core: PoolCore) => ShippedFunction },
  ): void {
    const hooks = this.#hooks
    // Who made the call has stored them.
    const bundles = this.#settings.bundles ?? head.bundles.map(each => ({ ...each, bytes: undefined }))
    const settings = { ...this.#settings, kept, bundles }
    const core = (this.#core = openClusterCore(settings, {
      name: settings.poolName,
      deathsMax: hooks.deathsMax,
    }))
    if (this.#early && !this.#early.isCalledOff) {
      core.terminate()
      return
    }
    const { mode, isSettled, chunkSize } = head
    const task = taskOf(core)
    const { caller, watch, onReport, guards = {} } = hooks
    const job = (this.#job = new MapJob(
      { task, mode, chunkSize, caller, limits, input: items, isSettled, into: undefined },
      this.#result,
    ))
    job.onReport = onReport
    if (stores.length > 0) job.carried = { bytes: stores }
    if (watch) watchJob(job, watch, core)
    const { onDone } = job
    job.onDone = () => {
      onDone?.()
      kept.isCalledOff = job.isCancelled
      core.close()
    }
    // submitKept() listens to the signal, from the call on; of the time, what it took to store the call is gone.
    const { totalTimeoutMs } = guards
    const elapsedMs = performance.now() - this.#beganMs
    guardCall(job, { totalTimeoutMs, elapsedMs }, (guarded, reason) => core.cancelJob(guarded, reason))
    submitWithout(core, job, kept.known)
    makeCancellable(this.#result, this)
    if (this.#early) core.cancelJob(job, this.#early.reason)
  }
}

interface Started {
  result: AsyncResult<unknown>
  hooks: KeptMapHooks
}

/**
 * Submits a job of which some chunks are under way, or have their results, already. An item may be in several of these:
 * what came of it first (it failed and ran again, or was given back) no longer counts, so the newest has it.
 */
function submitWithout(core: PoolCore, job: MapJob, known: readonly KnownChunk[]): void {
  const total = job.remaining ?? 0
  const all = job.take(Infinity)
  if (!all) {
    core.close()
    return
  }
  core.submit(job)
  const inRange = known.filter(({ first, count }) => first >= 0 && count > 0 && first + count <= total)
  const newest = new Map<number, number>()
  for (const { chunkId, first, count } of inRange)
    for (let index = first; index < first + count; index++) newest.set(index, chunkId)
  const superseded = new SupersededItems(job)
  const [runner] = core.runners
  for (const { chunkId, first, count, attempt, deaths, isSolo } of inRange) {
    const runs = runsOf(first, first + count, index => newest.get(index) === chunkId)
    const parts = runs.map(([from, to, isOwn]): Part => {
      const part = slicePart(all, from, to, isSolo)
      return { ...part, job: isOwn ? job : superseded, attempt, deaths }
    })
    runner!.adopt(new Chunk(chunkId, parts, { bodies: [], isPacked: true }))
  }
  const rest = runsOf(0, total, index => !newest.has(index)).filter(([, , isRest]) => isRest)
  core.giveBack(rest.map(([from, to]) => slicePart(all, from, to, false)))
}

/** Neighbours that are alike. */
function runsOf(
  from: number,
  to: number,
  isIn: (index: number) => boolean,
): [from: number, to: number, isIn: boolean][] {
  const runs: [from: number, to: number, isIn: boolean][] = []
  for (let index = from; index < to; index++) {
    const last = runs.at(-1)
    if (last?.[2] === isIn(index)) last[1] = index + 1
    else runs.push([index, index + 1, isIn(index)])
  }
  return runs
}

/** Stands in a chunk for items that are in a newer one: whatever becomes of them here, nobody is told. */
class SupersededItems extends Job {
  constructor({ task, mode, limits }: MapJob) {
    super({ task, mode, caller: {}, limits: { ...limits, retries: undefined } })
    this.done()
  }

  get remaining(): number {
    return 0
  }

  get counts(): JobCounts {
    return { done: 0, failed: 0, total: 0 }
  }

  take(): undefined {
    return undefined
  }

  succeed(): void {}
  fail(): void {}
  abort(): void {}
  discard(): void {}
}
