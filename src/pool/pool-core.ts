/**
 * The pool behind the public `Pool`: keeps its workers, feeds them, and settles every item exactly once whatever
 * dies. It does not know the public object, so that a pool that is dropped without being closed can be collected.
 * The life of a worker, and what happens when it dies, are told step by step in README.md.
 */
import type { ResourceLimits } from 'node:worker_threads'
import { BrokenPoolError, ClosedError, ModuleLoadError, type ProcessError, TimeoutError } from '../errors.ts'
import { dropMessage } from '../platform/in-flight.ts'
import { Journal } from '../platform/journal.ts'
import type { StartMethod } from '../process/child-boot.ts'
import { childEntry } from '../platform/child-entry.ts'
import { popen } from '../process/popen.ts'
import { newChildBoot, nextChildIdentity } from '../process/process-state.ts'
import { unchangingBytes } from '../serialize/codec.ts'
import { Chunk } from './chunk.ts'
import { ChunkRecall } from './chunk-recall.ts'
import { allowsPrefetch, learnSize, learnTime } from './chunk-policy.ts'
import { FunctionTable } from './function-table.ts'
import { type End, fatalFunction, restartLimit, startFailure } from './death-report.ts'
import { Heartbeat } from './heartbeat.ts'
import type { Job, JobOwner, Part } from './job.ts'
import { KernelKills } from './kernel-kills.ts'
import { type Body, encodeBody, releaseBodies, sizeOf } from './protocol.ts'
import { RestartGuard } from './restart-guard.ts'
import { RunSupervisor } from './run-supervisor.ts'
import { Scheduler, settleCharge } from './scheduler.ts'
import { TaskOutcomes, rebuild } from './task-outcomes.ts'
import { journalPlace } from './worker-journal.ts'
import { type Death, WorkerRunner, encodeParts } from './worker-runner.ts'

/** In the order of life. */
export type PoolState = 'running' | 'closed' | 'terminated' | 'broken'

export interface PoolCoreOptions {
  method: StartMethod
  processes: number
  maxTasksPerChild: number | undefined
  /** The encoded initializer and its arguments, or nothing. */
  initializer: Body[]
  /** How long an initializer may take. */
  initializerTimeoutMs: number | undefined
  /** A worker without a sign of life for so long is killed. */
  heartbeatMs: number | undefined
  /** An item is not run again when so many workers have died while they ran it. */
  deathsMax: number
  resourceLimits: ResourceLimits | undefined
  name: string
}

/** Workers that die one after the other before any of them is ready: the next ones would too. */
const startDeathsMax = 3
/** Above this many bytes that a worker has not taken yet, it gets nothing more. */
const bufferedBytesMax = 4 << 20
/** A function that so many workers died of loading is not sent again. */
const fatalLoadsMax = 3
/** Workers are looked at this often, and with them what keeps the program alive while somebody waits. */
const tickMs = 20
/** The memory of workers is looked at this often: it costs a system call for each. */
const inspectEveryMs = 500

const live = new Set<PoolCore>()

export class PoolCore implements JobOwner {
  readonly options: PoolCoreOptions
  readonly functions = new FunctionTable()
  readonly #scheduler = new Scheduler()
  readonly #runners = new Set<WorkerRunner>()
  readonly #jobs = new Set<Job>()
  /** Modules that workers could not load. */
  readonly #byValue = new Set<string>()
  readonly #joiners: (() => void)[] = []
  /** Called when the last worker of a pool that takes no more work has ended. */
  onEnded: (() => void) | undefined
  #state: PoolState = 'running'
  #broken: ProcessError | undefined
  #workerCount = 0
  #lastChunkId = 0
  #startDeaths = 0
  readonly #restarts = new RestartGuard()
  #restartTimer: NodeJS.Timeout | undefined
  readonly #kernelKills = new KernelKills()
  #inspectedAtMs = 0
  #isDispatchScheduled = false
  readonly #outcomes: TaskOutcomes
  readonly #recall = new ChunkRecall({
    runners: this.#runners,
    highestWaiting: () => this.#scheduler.highestPriority,
  })
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
    this.#outcomes = new TaskOutcomes({
      deathsMax: options.deathsMax,
      giveBack: parts => this.#scheduler.giveBack(parts),
      onDelayed: () => this.#scheduleDispatch(),
    })
    if (live.size === 0) process.on('exit', killAll)
    live.add(this)
    while (this.#runners.size < options.processes && this.#state === 'running') this.#startWorker()
  }

  get state(): PoolState {
    return this.#state
  }

  /** A function as this pool's workers can load it. */
  encodeFunction(fn: (...args: never[]) => unknown): Body {
    const unchanging = this.#byValue.size === 0 ? unchangingBytes(fn) : undefined
    if (unchanging) return { bytes: unchanging }
    const byValue = this.#byValue.size > 0 ? (url: string) => this.#byValue.has(url) : undefined
    const rootName = `function ${fn.name || 'anonymous'}`
    return encodeBody(fn, this, { rootName, byValue, isReadOften: true })
  }

  get canAttach(): boolean {
    return this.options.method === 'thread'
  }

  /** Process ids of the workers, and thread ids where they are threads. */
  get runners(): ReadonlySet<WorkerRunner> {
    return this.#runners
  }

  /** Throws unless new work is accepted. */
  assertRunning(): void {
    if (this.#state === 'running') return
    if (this.#broken) throw this.#broken
    throw new ClosedError(
      `Cannot submit work: the pool "${this.options.name}" was ${this.#state}\nTo fix: submit before close() or terminate(), or make a new pool`,
    )
  }

  submit(job: Job): void {
    this.#jobs.add(job)
    job.owner = this
    this.#updateKeepAlive()
    // An empty input is done at once, whether or not there is a worker.
    if (job.remaining === 0) job.take(1)
    if (!job.isDone) this.jobHasMore(job)
  }

  jobHasMore(job: Job): void {
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

  close(): void {
    if (this.#state !== 'running') return
    this.#state = 'closed'
    this.#afterChange()
  }

  /** Stops the workers now. Whatever is not done fails with a ClosedError. */
  terminate(): void {
    if (this.#state === 'terminated') return
    this.#state = 'terminated'
    this.#abortJobs(
      new ClosedError(`The pool "${this.options.name}" was terminated before the task was done`, {
        code: 'ERR_TERMINATED',
      }),
    )
    this.#killWorkers()
  }

  /** Resolves when the last worker has ended. */
  async join(): Promise<void> {
    this.#afterChange()
    // During a pause before a restart there is no worker, and work may be left.
    if (this.#runners.size > 0 || this.#restartTimer) {
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

  #updateKeepAlive(): void {
    const isEnding = this.#runners.size > 0 || this.#restartTimer !== undefined
    if (this.#jobs.size > 0 || (this.#joiners.length > 0 && isEnding)) this.#keepAlive.ref()
    else this.#keepAlive.unref()
  }

  /** Ends workers that a closed pool needs no more, and tells those who wait for the end. */
  #afterChange(): void {
    if (this.#state === 'closed' && this.#jobs.size === 0) {
      clearTimeout(this.#restartTimer)
      this.#restartTimer = undefined
      // One that is still starting would have nothing to do once it is ready.
      for (const runner of this.#runners) {
        if (runner.state === 'starting') runner.kill('SIGTERM')
        else runner.stop()
      }
    }
    if (this.#state !== 'running' && this.#runners.size === 0 && !this.#restartTimer) {
      clearInterval(this.#keepAlive)
      this.onEnded?.()
      live.delete(this)
      if (live.size === 0) process.removeListener('exit', killAll)
      this.functions.end()
      for (const { bytes } of this.options.initializer) dropMessage(bytes)
      for (const joined of this.#joiners.splice(0)) joined()
    } else {
      this.#updateKeepAlive()
    }
  }

  #abortJobs(reason: unknown): void {
    this.#scheduler.clear()
    this.#outcomes.clear()
    this.#recall.clear()
    clearTimeout(this.#restartTimer)
    this.#restartTimer = undefined
    for (const job of Array.from(this.#jobs)) job.abort(reason)
    this.#jobs.clear()
  }

  #killWorkers(): void {
    for (const runner of Array.from(this.#runners)) runner.kill('SIGTERM')
    this.#afterChange()
  }

  /** Nothing can be run any more. Pending and later work fails with `error`. */
  #break(error: ProcessError): void {
    if (this.#state === 'terminated' || this.#state === 'broken') return
    this.#state = 'broken'
    this.#broken = error
    this.#abortJobs(error)
    this.#killWorkers()
  }

  #startWorker(): void {
    const { method, maxTasksPerChild, initializer, resourceLimits, heartbeatMs } = this.options
    const journal = method === 'thread' ? Journal.inMemory() : Journal.forProcess()
    const heartbeat = heartbeatMs === undefined ? undefined : Heartbeat.open(heartbeatMs)
    const name = `PoolWorker-${++this.#workerCount}`
    const { roleData, extraFds } = journalPlace(journal, heartbeat)
    const kernelKillsAtStart = method === 'thread' ? undefined : this.#kernelKills.count()
    let child
    try {
      child = popen(method, {
        entry: childEntry('worker-main', import.meta.url),
        boot: newChildBoot({
          name,
          identity: nextChildIdentity(),
          isDaemon: true,
          startMethod: method,
          roleData,
        }),
        // What it writes there passes through this process, so that its last lines can be told when it dies.
        stdio: { stderr: 'pipe' },
        resourceLimits,
        extraFds,
        sharedBuffers: journal?.memory === undefined ? [] : [journal.memory],
      })
    } catch (error) {
      journal?.close()
      heartbeat?.close()
      throw error
    }
    child.unref()
    const runner: WorkerRunner = new WorkerRunner({
      name,
      popen: child,
      journal,
      heartbeat,
      tasksMax: maxTasksPerChild ?? Infinity,
      generation: this.#restarts.generation,
      kernelKillsAtStart,
      events: {
        onReady: () => {
          this.#startDeaths = 0
          this.#scheduleDispatch()
        },
        onInitializerFailed: body => this.#initializerFailed(runner, body),
        onResults: ({ chunk, count, elapsedMs, isPacked, bodies }) => {
          // What could be loaded once is not to blame when workers are killed, now and then, while they load it.
          chunk.task.fatalLoads = 0
          learnTime(chunk.task, count, elapsedMs)
          settleCharge(chunk.parts[0]!, count, elapsedMs)
          learnSize(chunk.task, count, totalBytes(bodies))
          this.#outcomes.received(runner, { chunk, count, isPacked, bodies })
          this.#afterOutcome(runner)
        },
        onFailure: ({ chunk, elapsedMs, body }) => {
          learnTime(chunk.task, 1, elapsedMs)
          settleCharge(chunk.parts[0]!, 1, elapsedMs)
          this.#outcomes.failed(runner, { chunk, body })
          this.#afterOutcome(runner)
        },
        onSkipped: ({ chunk, count }) => {
          this.#outcomes.skipped(runner, { chunk, count })
          this.#afterOutcome(runner)
        },
        onReturned: ({ chunk, why, body }) => this.#returned(runner, chunk, why, body),
        onRecalled: ({ parts }) => {
          this.#scheduler.giveBack(parts)
          this.#afterOutcome(runner)
        },
        onDeath: death => this.#died(runner, death),
      },
    })
    this.#runners.add(runner)
    runner.initialize(initializer)
  }

  // ---- Giving work out ----

  /** Work that is submitted in one turn goes out together. */
  #scheduleDispatch(): void {
    if (this.#isDispatchScheduled) return
    this.#isDispatchScheduled = true
    queueMicrotask(() => {
      this.#isDispatchScheduled = false
      this.#dispatch()
    })
  }

  #dispatch(): void {
    for (let runner = this.#freeRunner(); runner; runner = this.#freeRunner()) {
      const parts = this.#scheduler.next({ workers: this.options.processes, countMax: runner.tasksLeft })
      if (!parts) break
      this.#send(runner, parts)
    }
    this.#recall.consider()
  }

  /** An idle worker, or one whose running chunk is so short that the next may wait behind it. */
  #freeRunner(): WorkerRunner | undefined {
    let best: WorkerRunner | undefined
    for (const runner of this.#runners) {
      if (runner.state !== 'ready' || runner.tasksLeft <= 0) continue
      if (runner.chunkCount === 0) return runner
      if (runner.chunkCount > 1 || runner.bufferedBytes > bufferedBytesMax) continue
      const [running] = runner.chunks
      if (!best && allowsPrefetch(running!.task, running!.count)) best = runner
    }
    return best
  }

  #send(runner: WorkerRunner, taken: Part[]): void {
    const { task } = taken[0]!.job
    if (task.fatalLoads >= fatalLoadsMax) {
      for (const part of taken) {
        releaseBodies(part.bodies)
        for (let at = 0; at < part.count; at++) part.job.fail(part.first + at, fatalFunction(task))
      }
      return
    }
    const encoded = encodeParts(taken, runner, (job, index, error) => job.fail(index, error))
    if (encoded.parts.length === 0) return
    const chunk = new Chunk(++this.#lastChunkId, encoded.parts, encoded)
    learnSize(chunk.task, chunk.count, totalBytes(encoded.bodies))
    runner.run(chunk)
    this.#supervisor.watch(runner)
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
  }

  /** An initializer that never ends would have everybody wait for ever, if it was given a time. */
  #checkStart(runner: WorkerRunner, nowMs: number): void {
    const limitMs = this.options.initializerTimeoutMs
    if (limitMs === undefined || nowMs - runner.startedAtMs <= limitMs) return
    const cause = new TimeoutError(`It took longer than ${limitMs} ms`)
    this.#break(
      new BrokenPoolError(
        'ERR_INITIALIZER_FAILED',
        `The pool "${this.options.name}" cannot work: its initializer did not end within ${limitMs} ms in ${runner.name} (pid ${runner.pid})\nTo fix: raise "initializerTimeout", or find out what the initializer waits for`,
        { cause },
      ),
    )
  }

  // ---- Taking results ----

  #returned(
    runner: WorkerRunner,
    chunk: Chunk,
    why: 'undecodable' | 'unloadable',
    body: Body | undefined,
  ): void {
    const all = chunk.slice(0, chunk.count, { isSolo: why === 'undecodable' })
    if (why === 'unloadable') {
      const settle = (reason: unknown): void => {
        const parts = this.#outcomes.withoutGivenUp(chunk, all)
        if (this.#sendByValue(chunk, reason)) {
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

  /**
   * A worker could not load a module that the function was to be imported from: it runs under other loader hooks,
   * say. What the function needs of that module is then sent by value. Returns whether that can help.
   */
  #sendByValue(chunk: Chunk, reason: unknown): boolean {
    const { task } = chunk
    // Another worker said the same before, and the function has been encoded anew since.
    if (chunk.taskVersion < task.version) return true
    const source = task.source.deref()
    if (!(reason instanceof ModuleLoadError) || !reason.canSendByValue || !source) return false
    if (this.#byValue.has(reason.url)) return false
    this.#byValue.add(reason.url)
    try {
      task.body = this.encodeFunction(source)
    } catch {
      // Why the module could not be loaded says more than why the function cannot be sent without it.
      return false
    }
    task.version++
    return true
  }

  #afterOutcome(runner: WorkerRunner): void {
    if (!runner.isUseful) {
      runner.isUseful = true
      this.#restarts.noteOutcome()
    }
    this.#supervisor.watch(runner)
    if (runner.chunkCount === 0 && runner.tasksLeft <= 0 && runner.state === 'ready') {
      runner.stop()
      this.#replaceWorkers()
    }
    this.#dispatch()
  }

  // ---- Deaths ----

  #initializerFailed(runner: WorkerRunner, body: Body): void {
    const fail = (cause: unknown): void =>
      this.#break(
        new BrokenPoolError(
          'ERR_INITIALIZER_FAILED',
          `The pool "${this.options.name}" cannot work: its initializer failed in ${runner.name} (pid ${runner.pid}): ${cause instanceof Error ? cause.message : String(cause)}\nTo fix: see the cause`,
          { cause },
        ),
      )
    rebuild(body, fail, fail, bytes => this.#outcomes.thrown(runner, bytes, undefined))
  }

  #died(runner: WorkerRunner, death: Death): void {
    this.#runners.delete(runner)
    this.#supervisor.forget(runner)
    if (this.#state === 'running' || this.#state === 'closed') {
      const end = this.#endOf(runner, death)
      const { isUseful } = this.#outcomes.recover(runner, death, end)
      if (isUseful) this.#restarts.noteOutcome()
      if (death.wasStarting && (this.#state !== 'closed' || this.#jobs.size > 0)) {
        this.#startDeaths++
        if (death.status.error?.name === 'ProcessError' || this.#startDeaths >= startDeathsMax) {
          this.#break(startFailure(this.options.name, runner, end))
        }
      } else if (!isUseful && !runner.isUseful && !death.wasAsked) {
        this.#restarts.noteUselessDeath(runner.generation)
        if (this.#restarts.isExhausted) {
          const generations = this.#restarts.generation
          this.#break(restartLimit(this.options.name, runner, { end, generations }))
        }
      }
      this.#replaceWorkers()
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

  get #isInNeed(): boolean {
    return this.#state === 'running' || (this.#state === 'closed' && this.#jobs.size > 0)
  }

  #replaceWorkers(): void {
    if (this.#restartTimer || !this.#isInNeed) return
    const { delayMs } = this.#restarts
    if (delayMs === 0) {
      this.#startMissing()
      return
    }
    this.#restartTimer = setTimeout(() => {
      this.#restartTimer = undefined
      this.#startMissing()
      this.#afterChange()
    }, delayMs)
    // The pool keeps the program alive while somebody waits for its work.
    this.#restartTimer.unref()
  }

  #startMissing(): void {
    // One that is about to end is replaced already, so that the next one starts meanwhile.
    const active = (): number => [...this.#runners].filter(runner => runner.state !== 'stopping').length
    while (this.#isInNeed && active() < this.options.processes) {
      try {
        this.#startWorker()
      } catch (error) {
        this.#break(
          new BrokenPoolError('ERR_START_FAILED', `The pool "${this.options.name}" cannot start a worker`, {
            cause: error,
          }),
        )
      }
    }
  }
}

function totalBytes(bodies: readonly Body[]): number {
  let sum = 0
  for (const body of bodies) sum += sizeOf(body)
  return sum
}

function killAll(): void {
  for (const core of live) core.killNow()
}
