/**
 * The pool behind the public `Pool`: keeps its workers, feeds them, and settles every item exactly once whatever
 * dies. It does not know the public object, so that a pool that is dropped without being closed can be collected.
 * The life of a worker, and what happens when it dies, are told step by step in README.md.
 */
import type { ResourceLimits } from 'node:worker_threads'
import { BrokenPoolError, ClosedError, ModuleLoadError, type ProcessError } from '../errors.ts'
import { dropMessage } from '../platform/in-flight.ts'
import { Journal } from '../platform/journal.ts'
import type { StartMethod } from '../process/child-boot.ts'
import { childEntry } from '../platform/child-entry.ts'
import { popen } from '../process/popen.ts'
import { newChildBoot, nextChildIdentity } from '../process/process-state.ts'
import { decode, decodeThrown, prepare } from '../serialize/codec.ts'
import { Chunk } from './chunk.ts'
import { allowsPrefetch, learnSize, learnTime } from './chunk-policy.ts'
import { FunctionTable } from './function-table.ts'
import type { Job, JobOwner, Part } from './job.ts'
import { type Body, encodeBody, releaseBodies, sizeOf } from './protocol.ts'
import { recoverChunk } from './recover-chunk.ts'
import { journalPlace } from './worker-journal.ts'
import { Scheduler } from './scheduler.ts'
import { fatalFunction, startFailure, workerDied } from './death-report.ts'
import { type Death, WorkerRunner, encodeParts } from './worker-runner.ts'

/** In the order of life. */
export type PoolState = 'running' | 'closed' | 'terminated' | 'broken'

export interface PoolCoreOptions {
  method: StartMethod
  processes: number
  maxTasksPerChild: number | undefined
  /** The encoded initializer and its arguments, or nothing. */
  initializer: Body[]
  resourceLimits: ResourceLimits | undefined
  name: string
}

/** Workers that die one after the other before any of them is ready: the next ones would too. */
const startDeathsMax = 3
/** A terminated worker that does not end within this time is killed. */
const terminateGraceMs = 1000
/** Above this many bytes that a worker has not taken yet, it gets nothing more. */
const bufferedBytesMax = 4 << 20
/** A function that so many workers died of loading is not sent again. */
const fatalLoadsMax = 3
/** A chunk that waits this long behind another is given to a worker that is idle. */
const recallAfterMs = 20

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
  #state: PoolState = 'running'
  #broken: ProcessError | undefined
  #workerCount = 0
  #lastChunkId = 0
  #startDeaths = 0
  #isDispatchScheduled = false
  // The workers' own handles never keep the program alive; this one does, while somebody waits for something.
  readonly #keepAlive: NodeJS.Timeout = setInterval(() => this.#recallWaiting(), recallAfterMs).unref()

  constructor(options: PoolCoreOptions) {
    this.options = options
    if (live.size === 0) process.on('exit', killAll)
    live.add(this)
    while (this.#runners.size < options.processes && this.#state === 'running') this.#startWorker()
  }

  get state(): PoolState {
    return this.#state
  }

  /** A function as this pool's workers can load it. */
  encodeFunction(fn: (...args: never[]) => unknown): Body {
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
    if (this.#runners.size > 0) {
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
    if (this.#jobs.size > 0 || (this.#joiners.length > 0 && this.#runners.size > 0)) this.#keepAlive.ref()
    else this.#keepAlive.unref()
  }

  /** Ends workers that a closed pool needs no more, and tells those who wait for the end. */
  #afterChange(): void {
    if (this.#state === 'closed' && this.#jobs.size === 0) {
      // One that is still starting would have nothing to do once it is ready.
      for (const runner of this.#runners) {
        if (runner.state === 'starting') runner.kill('SIGTERM')
        else runner.stop()
      }
    }
    if (this.#state !== 'running' && this.#runners.size === 0) {
      clearInterval(this.#keepAlive)
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
    for (const job of Array.from(this.#jobs)) job.abort(reason)
    this.#jobs.clear()
  }

  #killWorkers(): void {
    for (const runner of Array.from(this.#runners)) runner.kill('SIGTERM')
    const timer = setTimeout(() => this.killNow(), terminateGraceMs)
    timer.unref()
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
    const { method, maxTasksPerChild, initializer, resourceLimits } = this.options
    const journal = method === 'thread' ? Journal.inMemory() : Journal.forProcess()
    const name = `PoolWorker-${++this.#workerCount}`
    let child
    try {
      child = popen(method, {
        entry: childEntry('worker-main', import.meta.url),
        boot: newChildBoot({
          name,
          identity: nextChildIdentity(),
          isDaemon: true,
          startMethod: method,
          roleData: journalPlace(journal),
        }),
        resourceLimits,
        extraFds: journal?.fd === undefined ? [] : [journal.fd],
        sharedBuffers: journal?.memory === undefined ? [] : [journal.memory],
      })
    } catch (error) {
      journal?.close()
      throw error
    }
    child.unref()
    const runner: WorkerRunner = new WorkerRunner({
      name,
      popen: child,
      journal,
      tasksMax: maxTasksPerChild ?? Infinity,
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
          learnSize(chunk.task, count, totalBytes(bodies))
          this.#received(runner, chunk, count, isPacked, bodies)
        },
        onFailure: ({ chunk, elapsedMs, body }) => {
          learnTime(chunk.task, 1, elapsedMs)
          this.#failed(runner, chunk, body)
        },
        onReturned: ({ chunk, why, body }) => this.#returned(runner, chunk, why, body),
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
    for (;;) {
      const runner = this.#freeRunner()
      if (!runner) return
      const parts = this.#scheduler.next({ workers: this.options.processes, countMax: runner.tasksLeft })
      if (!parts) return
      this.#send(runner, parts)
    }
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
  }

  /**
   * A second chunk was put behind one that was expected to be short. If that one takes long after all while
   * another worker is idle, the second is asked back. A worker in synchronous code answers only after it.
   */
  #recallWaiting(): void {
    const isAnyIdle = [...this.#runners].some(runner => runner.state === 'ready' && runner.chunkCount === 0)
    if (!isAnyIdle) return
    const now = performance.now()
    for (const runner of this.#runners) {
      const [, waiting] = runner.chunks
      if (waiting && now - waiting.sentAtMs > recallAfterMs) runner.recall(waiting)
    }
  }

  // ---- Taking results ----

  #received(runner: WorkerRunner, chunk: Chunk, count: number, isPacked: boolean, bodies: Body[]): void {
    const runs = [...runner.take(chunk, count)]
    if (!isPacked) {
      for (const { job, index, count: length, offset } of runs) {
        for (let at = 0; at < length; at++) {
          rebuild(
            bodies[offset + at]!,
            value => job.succeed(index + at, value),
            error => job.fail(index + at, error),
          )
        }
      }
    } else {
      const deliver = (decoded: unknown): void => {
        const values = decoded as unknown[]
        for (const { job, index, count: length, offset } of runs) {
          job.succeedAll(index, length === count ? values : values.slice(offset, offset + length))
        }
      }
      const refuse = (error: unknown): void => {
        for (const { job, index, count: length } of runs) {
          for (let at = 0; at < length; at++) job.fail(index + at, error)
        }
      }
      rebuild(bodies[0]!, deliver, refuse)
    }
    this.#afterOutcome(runner)
  }

  #failed(runner: WorkerRunner, chunk: Chunk, body: Body): void {
    for (const { job, index } of Array.from(runner.take(chunk, 1))) {
      rebuild(
        body,
        reason => job.fail(index, reason),
        error => job.fail(index, error),
        bytes => this.#thrown(runner, bytes, job),
      )
    }
    this.#afterOutcome(runner)
  }

  #thrown(runner: WorkerRunner, bytes: Uint8Array, job: Job | undefined): unknown {
    const callerStack = job?.caller.stack
    return decodeThrown(bytes, {
      pid: runner.pid,
      workerName: runner.name,
      ...(callerStack === undefined ? {} : { callerStack }),
    })
  }

  #returned(
    runner: WorkerRunner,
    chunk: Chunk,
    why: 'recalled' | 'undecodable' | 'unloadable',
    body: Body | undefined,
  ): void {
    const parts = chunk.slice(0, chunk.count, { isSolo: why === 'undecodable' })
    if (why === 'unloadable') {
      const settle = (reason: unknown): void => {
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
      rebuild(body!, settle, settle, bytes => this.#thrown(runner, bytes, chunk.parts[0]?.job))
      return
    }
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
    rebuild(body, fail, fail, bytes => this.#thrown(runner, bytes, undefined))
  }

  #died(runner: WorkerRunner, death: Death): void {
    this.#runners.delete(runner)
    if (this.#state === 'running' || this.#state === 'closed') {
      this.#recover(runner, death)
      if (death.wasStarting && (this.#state !== 'closed' || this.#jobs.size > 0)) {
        this.#startDeaths++
        if (death.status.error?.name === 'ProcessError' || this.#startDeaths >= startDeathsMax) {
          this.#break(startFailure(this.options.name, runner, death.status))
        }
      }
      this.#replaceWorkers()
    } else for (const chunk of death.chunks) chunk.release()
    this.#afterChange()
    this.#scheduleDispatch()
  }

  #replaceWorkers(): void {
    const isNeeded = (): boolean =>
      this.#state === 'running' || (this.#state === 'closed' && this.#jobs.size > 0)
    // One that is about to end is replaced already, so that the next one starts meanwhile.
    const active = (): number => [...this.#runners].filter(runner => runner.state !== 'stopping').length
    while (isNeeded() && active() < this.options.processes) {
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

  /** Settles what was running, keeps what was finished, and gives the rest back, in its old order. */
  #recover(runner: WorkerRunner, { status, journal, chunks, lastWords }: Death): void {
    const cause = lastWords && this.#thrown(runner, lastWords.bytes, undefined)
    const back: Part[] = []
    for (const [position, chunk] of chunks.entries()) {
      const recovery = recoverChunk(chunk, journal, { isFirst: position === 0 })
      if (recovery.isFunctionFatal) chunk.task.fatalLoads++
      for (const { index, result } of recovery.finished) {
        const part = chunk.at(index)
        rebuild(
          { bytes: result },
          value => part.job.succeed(part.first, value),
          error => part.job.fail(part.first, error),
        )
      }
      for (const index of recovery.failed) {
        const part = chunk.at(index)
        part.job.fail(part.first, workerDied(runner, { task: chunk.task, part, status, cause }))
      }
      chunk.release(recovery.back)
      back.push(...recovery.back)
    }
    this.#scheduler.giveBack(back)
  }
}

/** Decodes a body now, or, when it refers to modules that are not loaded yet, as soon as they are. */
function rebuild(
  body: Body,
  deliver: (value: unknown) => void,
  refuse: (error: unknown) => void,
  read: (bytes: Uint8Array) => unknown = bytes =>
    decode(bytes, body.attachments ? { attachments: body.attachments } : undefined),
): void {
  const finish = (): void => {
    let value: unknown
    try {
      value = read(body.bytes)
    } catch (error) {
      refuse(error)
      return
    }
    deliver(value)
  }
  let loading: Promise<void> | undefined
  try {
    loading = prepare(body.bytes)
  } catch (error) {
    refuse(error)
    return
  }
  if (loading) loading.then(finish, refuse)
  else finish()
}

function totalBytes(bodies: readonly Body[]): number {
  let sum = 0
  for (const body of bodies) sum += sizeOf(body)
  return sum
}

function killAll(): void {
  for (const core of live) core.killNow()
}
