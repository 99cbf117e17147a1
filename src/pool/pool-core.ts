/**
 * The pool behind the public `Pool`: keeps its workers, feeds them, and settles every item exactly once whatever
 * dies. It does not know the public object, so that a pool that is dropped without being closed can be collected.
 * The life of a worker, and what happens when it dies, are told step by step in README.md.
 */
import { type BrokenPoolError, ClosedError, ClusterError } from '../errors.ts'
import { dropMessage } from '../platform/in-flight.ts'
import { microtask } from '../platform/microtask.ts'
import { Chunk } from './chunk.ts'
import { ChunkRecall } from './chunk-recall.ts'
import { allowsPrefetch, isAnsweredSoon, learnSize } from './chunk-policy.ts'
import { type EncodedParts, contiguousRuns, encodeParts } from './encode-parts.ts'
import { FunctionEncoder } from './function-encoder.ts'
import { FunctionTable, fatalLoadsMax } from './function-table.ts'
import {
  type End,
  brokenByDeath,
  fatalFunction,
  cannotStart,
  initializerTimeout,
  notResized,
  notSentAgain,
  restartLimit,
  setupFailure,
  startFailure,
  terminated,
} from './death-report.ts'
import { failureLog } from './failure-log.ts'
import { finalizerDied, finalizerThrew } from './finalizer-warning.ts'
import { type Job, type JobOwner, type Part, failAll } from './job.ts'
import { KernelKills } from './kernel-kills.ts'
import { type LivePool, addLivePool, assertNotEnding, removeLivePool } from './live-pools.ts'
import { MemoryLimit } from './memory-limit.ts'
import { outcomeEvents } from './outcome-events.ts'
import { EndedWorkers } from './pool-stats.ts'
import { type Body, type SetupStage, totalBytes } from './protocol.ts'
import { RunSupervisor } from './run-supervisor.ts'
import { workOrder } from './requirement-lanes.ts'
import type { WorkOrder } from './scheduler.ts'
import { TaskOutcomes, rebuild } from './task-outcomes.ts'
import type { TaskActivity } from './task-activity.ts'
import { type LaunchOptions, type WorkerOptions, launchElsewhere, launchWorker } from './worker-launch.ts'
import type { Death, WorkerRunner } from './worker-runner.ts'
import { type WorkerStart, Workforce, type WorkforceOwner } from './workforce.ts'

/** In the order of life. */
export type PoolState = 'running' | 'closed' | 'terminated' | 'broken'

export interface PoolCoreOptions extends WorkerOptions {
  processes: number
  /** How long a worker may take from its start until it is ready. */
  initializerTimeoutMs: number | undefined
  /** An item is not run again when so many workers have died while they ran it. */
  deathsMax: number
  name: string
  /** What the worker with this number, from 1, is called. */
  workerName: (number: number) => string
  /** Whether the death of any worker breaks the pool, as in Python's executors; else it is replaced. */
  breaksOnDeath: boolean
}

/** Workers that die one after the other before any of them is ready: the next ones would too. */
const startDeathsMax = 3
/** Above this many bytes that a worker has not taken yet, it gets nothing more. */
const bufferedBytesMax = 4 << 20
/** Workers are looked at this often, and with them what keeps the program alive while somebody waits. */
const tickMs = 20
/** The memory of workers is looked at this often: it costs a system call for each. */
const inspectEveryMs = 500

export class PoolCore implements JobOwner, LivePool {
  readonly options: PoolCoreOptions
  readonly functions = new FunctionTable()
  readonly ended = new EndedWorkers()
  readonly #scheduler: WorkOrder
  readonly #workforce: Workforce
  readonly #runners: Set<WorkerRunner>
  readonly #jobs = new Set<Job>()
  readonly #encoder: FunctionEncoder
  readonly #joiners: (() => void)[] = []
  /** Called when the last worker of a pool that takes no more work has ended. */
  onEnded: (() => void) | undefined
  /** Set while somebody watches the pool. */
  activity: TaskActivity | undefined
  /** Called once, when it can run nothing any more. */
  onBroken: ((error: BrokenPoolError) => void) | undefined
  #state: PoolState = 'running'
  #broken: BrokenPoolError | undefined
  #workerCount = 0
  #lastChunkId: number
  #startDeaths = 0
  readonly #memory: MemoryLimit
  readonly #kernelKills = new KernelKills()
  #inspectedAtMs = 0
  #isDispatchScheduled = false
  readonly #outcomes: TaskOutcomes
  readonly #recall: ChunkRecall
  readonly #supervisor = new RunSupervisor({
    giveUp: (chunk, index) => {
      this.#outcomes.giveUp(chunk, index)
      this.#scheduleDispatch()
    },
  })
  // The workers' own handles never keep the program alive; this one does, while somebody waits for something.
  readonly #keepAlive: NodeJS.Timeout = setInterval(() => this.#tick(), tickMs).unref()

  constructor(options: PoolCoreOptions) {
    this.options = options
    this.#lastChunkId = options.elsewhere?.chunksBefore ?? 0
    this.#encoder = new FunctionEncoder(this)
    this.#outcomes = new TaskOutcomes({
      deathsMax: options.deathsMax,
      giveBack: parts => this.#scheduler.giveBack(parts),
      onDelayed: () => this.#scheduleDispatch(),
      onFailed: failure => failureLog.note(options.name, failure),
    })
    this.#memory = new MemoryLimit(options.name, options.life.memoryBytesMax)
    this.#workforce = new Workforce(this.#asOwner(), options)
    this.#runners = this.#workforce.runners
    this.#scheduler = workOrder(options.elsewhere, this.#workforce)
    this.#recall = new ChunkRecall({
      runners: this.#runners,
      highestWaiting: () => this.#scheduler.highestPriority,
    })
    addLivePool(this)
    this.#workforce.begin()
  }

  #asOwner(): WorkforceOwner {
    return {
      name: this.options.name,
      isInNeed: () => this.#state === 'running' || (this.#state === 'closed' && this.#jobs.size > 0),
      isOpen: () => this.#state === 'running',
      startWorker: start => this.#startWorker(start),
      onStartFailed: error => this.#break(cannotStart(this.options.name, error)),
      onPromoted: () => this.#scheduleDispatch(),
      onChange: () => this.#afterChange(),
    }
  }

  /** How many workers it is to have; how many other machines have for it. */
  get processes(): number {
    return this.options.elsewhere?.processes ?? this.#workforce.processes
  }

  /** Resolves when it has so many workers. */
  async resize(processes: number): Promise<void> {
    this.assertRunning()
    if (this.isElsewhere) throw notResized(this.options.name)
    const resized = this.#workforce.resize(processes)
    // Of workers that start on demand, none was started for it.
    this.#scheduleDispatch()
    await resized
  }

  get state(): PoolState {
    return this.#state
  }

  /** A function as this pool's workers can load it. */
  encodeFunction(fn: (...args: never[]) => unknown): Body {
    return this.#encoder.encode(fn)
  }

  get canAttach(): boolean {
    return this.options.method === 'thread'
  }

  /** Whether its workers are on other machines. */
  get isElsewhere(): boolean {
    return this.options.elsewhere !== undefined
  }

  /** Process ids of the workers, and thread ids where they are threads. */
  get runners(): ReadonlySet<WorkerRunner> {
    return this.#runners
  }

  /** With spares. */
  get workersMax(): number {
    if (this.isElsewhere) return 0
    return this.processes + this.options.life.spares
  }

  /** How many workers have nothing to do, those included that would be started if there were something. */
  get vacancies(): number {
    let busy = 0
    for (const runner of this.#runners) if (runner.chunkCount > 0) busy++
    return Math.max(0, this.processes - busy)
  }

  /** Throws unless new work is accepted. */
  assertRunning(): void {
    assertNotEnding()
    if (this.#state === 'running') return
    if (this.#broken) throw this.#broken
    throw new ClosedError(
      `Cannot submit work: the pool "${this.options.name}" was ${this.#state}\nTo fix: submit before close() or terminate(), or make a new pool`,
    )
  }

  submit(job: Job): void {
    this.#jobs.add(job)
    job.owner = this
    // An empty input is done at once, whether or not there is a worker.
    if (job.remaining === 0) job.take(1)
    if (!job.isDone) this.jobHasMore(job)
  }

  jobHasMore(job: Job): void {
    this.#updateKeepAlive()
    this.#scheduler.offer(job)
    this.#scheduleDispatch()
  }

  jobIsDone(job: Job): void {
    this.#jobs.delete(job)
    if (this.#jobs.size === 0) this.#afterChange()
  }

  jobIsDropped(job: Job): void {
    this.#supervisor.cancel(this.#runners, job, { isHard: false })
  }

  /** Calls a job off: it fails with `reason` now. Returns whether there was anything to call off. */
  cancelJob(job: Job, reason: unknown): boolean {
    if (job.isDone) return false
    // What was never taken is in no worker. (A thousand calls may be cancelled together.)
    const isTaken = job.remaining !== 1 || !job.isSingle
    job.cancel(reason)
    if (isTaken) this.#supervisor.cancel(this.#runners, job, { isHard: true })
    return true
  }

  /** Calls off items of a job that came from another machine; what runs of it may run on without `graceMs`. */
  cancelItems(job: Job, cancelled: { indexes: readonly number[]; graceMs: number | undefined }): void {
    this.#supervisor.cancelItems(this.#runners, job, cancelled)
  }

  /** These were not run. */
  giveBack(parts: Part[]): void {
    this.#scheduler.giveBack(parts)
    this.#scheduleDispatch()
  }

  close(): void {
    if (this.#state !== 'running') return
    this.#state = 'closed'
    this.#afterChange()
  }

  /** Stops the workers now, by asking them first unless it is SIGKILL. Whatever is not done fails with a ClosedError. */
  terminate(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): void {
    if (this.#state === 'terminated') {
      // They were asked to end, and now somebody does not want to wait for that.
      if (signal === 'SIGKILL') this.#killWorkers(signal)
      return
    }
    this.#state = 'terminated'
    this.#abortJobs(terminated(this.options.name))
    this.#killWorkers(signal)
  }

  /** Resolves when the last worker has ended. */
  async join(): Promise<void> {
    this.#afterChange()
    if (!this.#hasEnded) {
      const ended = new Promise<void>(resolve => {
        this.#joiners.push(resolve)
      })
      this.#updateKeepAlive()
      await ended
    }
  }

  get jobs(): ReadonlySet<Job> {
    return this.#jobs
  }

  /** Part of the program's end: nothing can be waited for any more. */
  killNow(): void {
    for (const runner of this.#runners) runner.kill('SIGKILL')
  }

  /**
   * Whether no worker is left, and none will come. During a pause before a restart there is none, and work may be left;
   * nor has one been started yet for work that was submitted just before the pool was closed.
   */
  get #hasEnded(): boolean {
    return this.#runners.size === 0 && this.#jobs.size === 0 && !this.#workforce.isPausing
  }

  /** Whether something of its work goes on by itself. */
  #isWorking(): boolean {
    for (const job of this.#jobs) if (!job.isWaitingForConsumer) return true
    return false
  }

  #updateKeepAlive(): void {
    const isAwaited = this.#workforce.isResizing || (this.#joiners.length > 0 && !this.#hasEnded)
    if (isAwaited || this.#isWorking()) this.#keepAlive.ref()
    else this.#keepAlive.unref()
  }

  /** Ends workers that a closed pool needs no more, and tells those who wait for the end. */
  #afterChange(): void {
    if (this.#state === 'closed' && this.#jobs.size === 0) {
      this.#workforce.cancelPause()
      for (const runner of this.#runners) runner.dismiss()
    }
    if (this.#state !== 'running' && this.#hasEnded) {
      clearInterval(this.#keepAlive)
      this.#workforce.end(this.#broken)
      this.onEnded?.()
      removeLivePool(this)
      this.functions.end()
      for (const { bytes } of this.options.hooks.bodies) dropMessage(bytes)
      for (const joined of this.#joiners.splice(0)) joined()
    } else {
      this.#updateKeepAlive()
    }
  }

  #abortJobs(reason: unknown): void {
    this.#scheduler.clear()
    this.#outcomes.clear()
    this.#recall.clear()
    this.#workforce.cancelPause()
    for (const job of Array.from(this.#jobs)) job.abort(reason)
    this.#jobs.clear()
  }

  #killWorkers(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): void {
    for (const runner of Array.from(this.#runners)) runner.kill(signal)
    this.#afterChange()
  }

  /** Nothing can be run any more. Pending and later work fails with `error`. */
  #break(error: BrokenPoolError): void {
    if (this.#state === 'terminated' || this.#state === 'broken') return
    this.#state = 'broken'
    this.#broken = error
    this.#abortJobs(error)
    this.#killWorkers()
    this.onBroken?.(error)
  }

  #startWorker(start: WorkerStart): WorkerRunner {
    const name = this.options.workerName(++this.#workerCount)
    const workers = this.workersMax
    const launch: LaunchOptions = {
      name,
      workers,
      start,
      kernelKillsAtStart: this.options.method === 'thread' ? undefined : this.#kernelKills.count(),
      events: {
        onReady: memoryBytes => this.#ready(runner, memoryBytes),
        onSetupFailed: (stage, body) => this.#setupFailed(runner, stage, body),
        onRetire: () => this.#replaceIfUsedUp(runner),
        onFinalizerFailed: body => this.#finalizerFailed(runner, body),
        ...outcomeEvents(() => runner, {
          outcomes: this.#outcomes,
          activityOf: () => this.activity,
          giveBack: parts => this.#scheduler.giveBack(parts),
          afterOutcome: worker => this.#afterOutcome(worker),
        }),
        onReturned: ({ chunk, why, body }) => this.#returned(runner, chunk, why, body),
        onDeath: death => this.#died(runner, death),
      },
    }
    const { elsewhere } = this.options
    const runner: WorkerRunner = elsewhere
      ? launchElsewhere(elsewhere, launch, () => this.#scheduleDispatch())
      : launchWorker(this.options, launch)
    return runner
  }

  #ready(runner: WorkerRunner, memoryBytes: number | undefined): void {
    this.#startDeaths = 0
    this.#memory.noteFresh(memoryBytes)
    this.#workforce.noteReady(runner)
    this.#scheduleDispatch()
  }

  // ---- Giving work out ----

  /** Work that is submitted in one turn goes out together. */
  #scheduleDispatch(): void {
    if (this.#isDispatchScheduled) return
    this.#isDispatchScheduled = true
    microtask(() => this.#dispatch())
  }

  #dispatch(): void {
    this.#isDispatchScheduled = false
    for (;;) {
      const runner = this.#freeRunner()
      if (!runner) {
        const { canGrow, processes } = this.#workforce
        if (canGrow) this.#workforce.demand(this.#scheduler.waiting(processes))
        break
      }
      const parts = this.#scheduler.next({
        workers: this.processes,
        countMax: runner.tasksLeft,
        target: this.options.elsewhere?.target,
      })
      if (!parts) break
      this.#send(runner, parts)
    }
    this.#recall.consider()
  }

  /**
   * An idle worker, or one whose running chunk is so short that the next may wait behind it. (A pool that has shrunk
   * starts a worker for that instead: nothing can be asked back from the midst of synchronous code. For the same reason
   * chunks of other machines wait here, where an agent can give them back at any time.)
   */
  #freeRunner(): WorkerRunner | undefined {
    const { canGrow } = this.#workforce
    let best: WorkerRunner | undefined
    for (const runner of this.#runners) {
      if (!runner.takesWork) continue
      if (runner.elsewhere) {
        // How many of what it takes is known where the work waits.
        if (runner.chunkCount === 0 || runner.bufferedBytes <= bufferedBytesMax) return runner
        continue
      }
      if (runner.chunkCount === 0) return runner
      if (runner.chunkCount > 1 || runner.bufferedBytes > bufferedBytesMax) continue
      const [running] = runner.chunks
      const isRelayed = running!.parts[0]!.job.relay !== undefined
      if (!best && !canGrow && !isRelayed && allowsPrefetch(running!.task, running!.count)) best = runner
    }
    return best
  }

  #send(runner: WorkerRunner, taken: Part[]): void {
    const { task } = taken[0]!.job
    if (task.fatalLoads >= fatalLoadsMax) {
      failAll(taken, () => fatalFunction(task))
      return
    }
    const encoded = encodeParts(taken, runner, (job, index, error) => job.fail(index, error))
    if (encoded.parts.length === 0) return
    // Of what is sent to other machines the first place says all of them.
    for (const run of runner.isElsewhere ? contiguousRuns(encoded) : [encoded]) this.#sendEncoded(runner, run)
  }

  #sendEncoded(runner: WorkerRunner, encoded: EncodedParts): void {
    const chunk = new Chunk(++this.#lastChunkId, encoded.parts, encoded)
    const { task } = chunk
    const bytes = totalBytes(encoded.bodies)
    learnSize(task, chunk.count, bytes)
    runner.insights.sentBytes += bytes
    try {
      runner.run(chunk)
    } catch (error) {
      this.#cannotBeSent(chunk, error)
      return
    }
    if (isAnsweredSoon(task, chunk.count)) runner.expectAnswer()
    this.#supervisor.watch(runner)
  }

  /** Something of it cannot be sent a second time: whose it is is found by sending each item alone. */
  #cannotBeSent(chunk: Chunk, cause: unknown): void {
    if (chunk.count > 1) {
      const parts = chunk.slice(0, chunk.count, { isSolo: true })
      chunk.release(parts)
      this.#scheduler.giveBack(parts)
      return
    }
    chunk.release()
    chunk.parts[0]!.job.fail(chunk.parts[0]!.first, notSentAgain(chunk.task, cause))
  }

  /** Called again and again while the pool lives. */
  #tick(): void {
    const now = performance.now()
    const isInspection = now - this.#inspectedAtMs >= inspectEveryMs
    if (isInspection) this.#inspectedAtMs = now
    for (const runner of this.#runners) {
      if (isInspection && runner.chunkCount > 0) runner.inspect()
      runner.checkHeartbeat()
      if (runner.state === 'starting') this.#checkStart(runner, now)
    }
    this.#workforce.endIdle(now)
    // All that is left may wait for consumers who will not come.
    if (isInspection && this.#jobs.size > 0) this.#updateKeepAlive()
  }

  /** An initializer that never ends would have everybody wait for ever, if it was given a time. */
  #checkStart(runner: WorkerRunner, nowMs: number): void {
    const limitMs = this.options.initializerTimeoutMs
    if (limitMs === undefined || nowMs - runner.startedAtMs <= limitMs) return
    this.#break(initializerTimeout(this.options.name, runner, limitMs))
  }

  // ---- Taking results ----

  #returned(
    runner: WorkerRunner,
    chunk: Chunk,
    why: 'undecodable' | 'unloadable',
    body: Body | undefined,
  ): void {
    const relay = chunk.parts[0]!.job.relay
    if (relay) {
      chunk.release()
      relay.refused(why, body)
      this.#afterOutcome(runner)
      return
    }
    const all = chunk.slice(0, chunk.count, { isSolo: why === 'undecodable' })
    if (why === 'unloadable') {
      const settle = (reason: unknown): void => {
        const parts = this.#outcomes.withoutGivenUp(chunk, all)
        if (this.#encoder.sendByValue(chunk, reason)) {
          chunk.release(parts)
          this.#scheduler.giveBack(parts)
        } else {
          chunk.release()
          for (const part of parts) {
            for (let at = 0; at < part.count; at++) part.job.fail(part.first + at, reason)
          }
        }
        this.#afterOutcome(runner)
      }
      rebuild(body!, settle, settle, bytes => this.#outcomes.thrown(runner, bytes, chunk.parts[0]?.job))
      return
    }
    // An item can be timed out while its argument is decoded: its job has been told.
    const parts = this.#outcomes.withoutGivenUp(chunk, all)
    chunk.release(parts)
    this.#scheduler.giveBack(parts)
    this.#afterOutcome(runner)
  }

  #afterOutcome(runner: WorkerRunner): void {
    if (!runner.isUseful) {
      runner.isUseful = true
      this.#workforce.restarts.noteOutcome()
    }
    this.#supervisor.watch(runner)
    this.#replaceIfUsedUp(runner)
    // Without a job there is nothing to give out or to ask back.
    if (this.#jobs.size > 0) this.#dispatch()
  }

  #replaceIfUsedUp(runner: WorkerRunner): void {
    if (!runner.isUsedUp) return
    runner.stop()
    this.#workforce.replace()
  }

  // ---- Deaths ----

  #setupFailed(runner: WorkerRunner, stage: SetupStage, body: Body): void {
    const fail = (cause: unknown): void =>
      this.#break(setupFailure(this.options.name, runner, { stage, cause }))
    rebuild(body, fail, fail, bytes => this.#outcomes.thrown(runner, bytes, undefined))
  }

  #finalizerFailed(runner: WorkerRunner, body: Body): void {
    const warn = (cause: unknown): void =>
      process.emitWarning(finalizerThrew(this.options.name, runner, cause))
    rebuild(body, warn, warn, bytes => this.#outcomes.thrown(runner, bytes, undefined))
  }

  /** A finalizer that was stopped together with everything else was not meant to end. */
  #reportFinalizer(runner: WorkerRunner, { finalizerEnd }: Death, end: End): void {
    if (!finalizerEnd) return
    const { name, life } = this.options
    const limitMs = finalizerEnd === 'timedOut' ? life.finalizerMsMax : undefined
    process.emitWarning(finalizerDied(name, runner, { end, limitMs }))
  }

  #died(runner: WorkerRunner, death: Death): void {
    this.#workforce.remove(runner)
    this.ended.add(runner)
    this.#supervisor.forget(runner)
    const { restarts } = this.#workforce
    if (this.#state === 'running' || this.#state === 'closed') {
      const end = this.#endOf(runner, death)
      const { isUseful } = this.#outcomes.recover(runner, death, end)
      this.#reportFinalizer(runner, death, end)
      if (isUseful) restarts.noteOutcome()
      if (death.status.error instanceof ClusterError) {
        this.#break(death.status.error)
      } else if (this.options.breaksOnDeath && !death.wasAsked) {
        this.#break(brokenByDeath(this.options.name, runner, end))
      } else if (death.wasStarting && (this.#state !== 'closed' || this.#jobs.size > 0)) {
        this.#startDeaths++
        if (death.status.error?.name === 'ProcessError' || this.#startDeaths >= startDeathsMax) {
          this.#break(startFailure(this.options.name, runner, end))
        }
      } else if (!isUseful && !runner.isUseful && !death.wasAsked) {
        restarts.noteUselessDeath(runner.generation)
        if (restarts.isExhausted) {
          const generations = restarts.generation
          this.#break(restartLimit(this.options.name, runner, { end, generations }))
        }
      }
      this.#workforce.replace()
    } else for (const chunk of death.chunks) chunk.release()
    this.#afterChange()
    this.#scheduleDispatch()
  }

  #endOf(runner: WorkerRunner, { status, lastWords, sentence, stderr, memoryBytes }: Death): End {
    const isUnexplained = status.signal === 'SIGKILL' && sentence === undefined
    const isKernelShort = isUnexplained && this.#kernelKills.claim(runner.kernelKillsAtStart)
    const cause = lastWords && this.#outcomes.thrown(runner, lastWords.bytes, undefined)
    return { status, cause, stderr, memoryBytes, isFrozen: sentence?.why === 'frozen', isKernelShort }
  }
}
