/**
 * The parent's view of one worker: starts it, gives it chunks, and tells the pool what comes back. Invariant:
 * every chunk given to `run` comes back exactly once, by `onReceived` until it is done, by `onReturned`, or by
 * `onDeath`. The protocol is in README.md.
 */
import { type Journal, type JournalEntry, type RunningMark, monotonicMs } from '../platform/journal.ts'
import { isRunnable, residentBytes } from '../platform/process-facts.ts'
import type { FollowedProcess } from '../process/followed-process.ts'
import type { ExitStatus, Popen } from '../process/popen.ts'
import type { Chunk } from './chunk.ts'
import type { Elsewhere } from './elsewhere.ts'
import type { StopReason } from './current-task.ts'
import { chunkMessage } from './chunk-message.ts'
import { FollowedChunk } from './followed-chunk.ts'
import type { Heartbeat } from './heartbeat.ts'
import { StderrTail } from './stderr-tail.ts'
import type { Job, Part } from './job.ts'
import {
  type Body,
  type FromWorker,
  MessageReader,
  type SetupStage,
  type ToWorker,
  type WorkerIdentity,
  type WorkerSetup,
  sendMessage,
} from './protocol.ts'
import type { Death, Sentence } from './worker-death.ts'
import { traceChunk, traceEnd, traceReady, traceTasks } from './pool-trace.ts'
import { WorkerInsights } from './worker-insights.ts'
import type { WorkerStart } from './workforce.ts'
import { LongTimer } from '../platform/long-timer.ts'

export type { Death } from './worker-death.ts'

/** In the order of life. */
export type RunnerState = 'starting' | 'ready' | 'stopping' | 'dead'

/** So many functions stay loaded in a worker; the one that was used longest ago is forgotten first. */
const functionsMax = 1000

/** A worker that does not end within this time after it was asked to is killed. */
const terminateGraceMs = 1000

export interface RunnerEvents {
  /** `memoryBytes`: what it has before its first item, where that is limited. */
  onReady(memoryBytes: number | undefined): void
  onSetupFailed(stage: SetupStage, body: Body): void
  /** It is to be replaced, because it has become too large. */
  onRetire(): void
  /** Of a worker that was told to end; it goes on to do so. */
  onFinalizerFailed(body: Body): void
  /** Outcomes of some items. `isDone`: the chunk has no more, and there is room for another. */
  onResults(run: { chunk: Chunk; count: number; elapsedMs: number; isPacked: boolean; bodies: Body[] }): void
  onFailure(run: { chunk: Chunk; elapsedMs: number; body: Body; worker: WorkerIdentity | undefined }): void
  /** What an item that runs has to say before its result. */
  onReport(chunk: Chunk, report: { index: number; dropped: number; body: Body }): void
  /** Nothing of the chunk was run. */
  onReturned(run: { chunk: Chunk; why: 'undecodable' | 'unloadable'; body: Body | undefined }): void
  /** These were recalled in time, and not run. */
  onRecalled(run: { chunk: Chunk; parts: Part[] }): void
  /** So many items of the chunk were called off and never began. */
  onSkipped(run: { chunk: Chunk; count: number }): void
  onDeath(death: Death): void
  /** A worker of another machine died of the next item of the chunk. */
  onDiedElsewhere(run: { chunk: Chunk; body: Body }): void
  /** An item that runs on another machine has used up its time. */
  onTimedOutElsewhere(run: { chunk: Chunk; index: number; body: Body }): void
  /** The next items of the chunk are to be sent to another machine again. */
  onAgain(run: { chunk: Chunk; count: number; isSolo: boolean; deaths: number }): void
}

export class WorkerRunner {
  readonly name: string
  readonly #popen: Popen
  readonly #journal: Journal | undefined
  readonly #events: RunnerEvents
  readonly #followed: FollowedProcess | undefined
  readonly #chunks = new Map<number, Chunk>()
  /** The version of each function that the worker has, by id; the one used last is the last. */
  readonly #functions = new Map<number, number>()
  #state: RunnerState = 'starting'
  #lastWords: Body | undefined
  #sentence: Sentence | undefined
  /** Cleared when it has ended. */
  #killTimer: NodeJS.Timeout | undefined
  #notices = 0
  #sampledBytes: number | undefined
  readonly #stderr = new StderrTail()
  readonly #heartbeat: Heartbeat | undefined
  /** Of the kernel, for want of memory; see KernelKills. */
  readonly kernelKillsAtStart: number | undefined
  readonly #finalizerMsMax: number
  #finalizer: 'running' | 'failed' | 'timedOut' | undefined
  /** Cleared when it has ended. */
  #finalizerTimer: LongTimer | undefined
  #isRetiring = false
  /** How many times in a row workers had died uselessly when it began to be needed; see RestartGuard. */
  generation: number
  /** Whether it only waits to take the place of another. */
  isSpare: boolean
  /** Its place among the workers that are no spares. */
  place: number | undefined
  /** Set when it stands for the workers of other machines. */
  readonly elsewhere: Elsewhere | undefined
  readonly insights = new WorkerInsights()
  readonly startedAtMs = performance.now()
  /** Since when it has had nothing to do, if it has nothing. */
  idleSinceMs = this.startedAtMs
  /** Whether it has settled an item. */
  isUseful = false
  /** Items it may still get before it is replaced. */
  tasksLeft: number

  constructor(options: {
    name: string
    popen: Popen
    journal: Journal | undefined
    heartbeat: Heartbeat | undefined
    tasksMax: number
    kernelKillsAtStart: number | undefined
    finalizerMsMax: number
    start: WorkerStart
    events: RunnerEvents
    /** Of the process or thread, while somebody looks on. */
    followed: FollowedProcess | undefined
    elsewhere?: Elsewhere | undefined
  }) {
    this.name = options.name
    this.#popen = options.popen
    this.elsewhere = options.elsewhere
    this.#journal = options.journal
    this.#events = options.events
    this.tasksLeft = options.tasksMax
    this.kernelKillsAtStart = options.kernelKillsAtStart
    this.#finalizerMsMax = options.finalizerMsMax
    this.generation = options.start.generation
    this.isSpare = options.start.isSpare
    this.place = options.start.place
    this.#heartbeat = options.heartbeat
    this.#followed = options.followed
    this.#stderr.follow(this.#popen.stderr)
    const reader = new MessageReader<FromWorker>((head, bodies) => this.#receive(head, bodies))
    const { connection } = this.#popen
    connection.onMessage = (bytes, attachments) => {
      try {
        reader.push(bytes, attachments)
      } catch (error) {
        // What came is not ours: somebody wrote into the worker's channel. It cannot be trusted any more.
        connection.abort(error instanceof Error ? error : new Error(String(error)))
        this.#popen.kill('SIGKILL')
      }
    }
    this.#popen.onExit = status => this.#die(status)
  }

  get state(): RunnerState {
    return this.#state
  }

  get pid(): number | undefined {
    return this.#popen.pid
  }

  /** Chunks it was given and has not finished. */
  get chunks(): Iterable<Chunk> {
    return this.#chunks.values()
  }

  /** The oldest of them, which is the only one that can have been started. */
  get firstChunk(): Chunk | undefined {
    for (const chunk of this.#chunks.values()) return chunk
    return undefined
  }

  get chunkCount(): number {
    return this.#chunks.size
  }

  get bufferedBytes(): number {
    return this.#popen.connection.bufferedBytes
  }

  /** What it was given last takes next to no time. */
  expectAnswer(): void {
    this.#popen.connection.expectSoon()
  }

  get threadId(): number | undefined {
    return this.#popen.threadId
  }

  get canAttach(): boolean {
    return this.#popen.connection.canAttach
  }

  get isElsewhere(): boolean {
    return this.elsewhere !== undefined
  }

  /** Whether it may get more items. */
  get takesWork(): boolean {
    return this.#state === 'ready' && !this.isSpare && !this.#isRetiring && this.tasksLeft > 0
  }

  /** Whether it has run all that it may run, so that another is to take its place. */
  get isUsedUp(): boolean {
    return this.#state === 'ready' && this.#chunks.size === 0 && (this.#isRetiring || this.tasksLeft <= 0)
  }

  /** First message, with the encoded hooks. */
  initialize(setup: WorkerSetup, bodies: Body[]): void {
    this.#send({ type: 'initialize', bodies: bodies.length, setup }, bodies)
  }

  /** From a spare it becomes one that works. */
  promote({ place, generation, cpus }: Omit<WorkerStart, 'isSpare'>): void {
    this.isSpare = false
    this.place = place
    this.generation = generation
    this.idleSinceMs = performance.now()
    if (cpus) this.#send({ type: 'pin', bodies: 0, cpus }, [])
  }

  /** Sends a chunk, after its function if the worker does not have it. Throws when it cannot be sent; it is not here then. */
  run(chunk: Chunk): void {
    const { task, id } = chunk
    if (this.#functions.get(task.id) !== task.version) {
      this.#send({ type: 'function', bodies: 1, functionId: task.id }, [task.body])
      if (this.#functions.size >= functionsMax) this.#forgetOldest()
    }
    this.#functions.delete(task.id)
    this.#functions.set(task.id, task.version)
    this.#chunks.set(id, chunk)
    chunk.parts[0]!.job.relay?.entered()
    if (this.#chunks.size === 1) chunk.firstSinceMs = monotonicMs()
    this.tasksLeft -= chunk.count
    traceChunk(chunk, this)
    chunk.followed = FollowedChunk.begin(chunk, this)
    const { head, bodies } = chunkMessage(chunk, { isElsewhere: this.isElsewhere })
    // Who has nothing to do is not kept waiting for the end of the tick.
    const isAwaited = this.#chunks.size === 1
    if (isAwaited) this.#popen.connection.cork()
    try {
      this.#send(head, bodies)
    } catch (error) {
      this.#forget(chunk, { lost: chunk.count })
      this.tasksLeft += chunk.count
      throw error
    } finally {
      if (isAwaited) this.#popen.connection.flush()
    }
  }

  /** Takes over a chunk that another program has sent to where this one's workers are. */
  adopt(chunk: Chunk): void {
    this.#chunks.set(chunk.id, chunk)
  }

  /** Asks for what of a chunk has not been started, so that another worker can have it. */
  recall(chunk: Chunk): void {
    if (chunk.isRecalled || this.#state === 'dead') return
    chunk.isRecalled = true
    this.#sendNoticed(notice => ({ type: 'recall', bodies: 0, chunkId: chunk.id, notice }))
  }

  /** Calls items off, counted within the chunk; without `indexes` all of them. */
  cancel(
    chunk: Chunk,
    {
      indexes,
      why,
      graceMs,
    }: { indexes: number[] | undefined; why: StopReason; graceMs?: number | undefined },
  ): void {
    if (this.#state === 'dead') return
    this.#sendNoticed(notice => ({
      type: 'cancel',
      bodies: 0,
      chunkId: chunk.id,
      ...(indexes ? { indexes } : {}),
      why,
      notice,
      ...(graceMs === undefined ? {} : { graceMs }),
    }))
  }

  /** Sends what the worker reads before it starts another item. */
  #sendNoticed(head: (notice: number) => ToWorker): void {
    const notice = ++this.#notices
    this.#send(head(notice), [])
    // The message is on its way before the worker is told to wait for it.
    this.#popen.connection.flush()
    this.#journal?.notice(notice)
  }

  /** What it runs now. Without a journal nobody knows. */
  get running(): RunningMark | undefined {
    return this.#state === 'dead' ? undefined : this.#journal?.running()
  }

  get hasJournal(): boolean {
    return this.#journal !== undefined
  }

  /**
   * Kills it if `isDeserved` says so of what it runs. It starts nothing between that answer and its end, so nobody else
   * is hit. See "Stopping what runs" in README.md.
   */
  condemn(why: Sentence['why'], isDeserved: (run: RunningMark | undefined) => boolean): boolean {
    if (this.#state === 'dead' || this.#sentence) return false
    this.#journal?.hold(true)
    const run = this.#journal?.running()
    if (!isDeserved(run)) {
      this.#journal?.hold(false)
      return false
    }
    this.#sentence = { why, run }
    this.kill('SIGKILL')
    return true
  }

  /** Its memory when it was last looked at. */
  get memoryBytes(): number | undefined {
    return this.#sampledBytes ?? (this.#state === 'dead' ? undefined : this.#journal?.memoryBytes())
  }

  /** Looks at its memory, and whether it is alive if there is a heart-beat. */
  inspect(): void {
    if (this.#state === 'dead') return
    if (this.#popen.method === 'spawn' && this.pid !== undefined) {
      this.#sampledBytes = residentBytes(this.pid) ?? this.#sampledBytes
    }
  }

  /** Kills it when it has shown no sign of life for too long. */
  checkHeartbeat(): void {
    if (this.#heartbeat?.hasStopped() !== true) return
    // On a machine that is too busy, a process that computes can be kept waiting for longer than its heart-beat.
    if (this.pid !== undefined && isRunnable(this.pid) === true) return
    this.condemn('frozen', () => true)
  }

  /** Lets it finish what it has, then end. */
  stop(): void {
    if (this.#state === 'stopping' || this.#state === 'dead') return
    this.#state = 'stopping'
    this.insights.stopped()
    this.#send({ type: 'stop', bodies: 0 }, [])
  }

  /** It is not needed any more: it finishes what it runs, and others get what it has not begun. */
  dismiss(): void {
    if (this.#state === 'starting') {
      // It would have nothing to do once it is ready.
      this.kill('SIGTERM')
      return
    }
    this.#recallWaiting()
    this.stop()
  }

  /** Other machines give nothing back: what is there is run, or has been called off. */
  #recallWaiting(): void {
    if (this.elsewhere) return
    const [, ...waiting] = this.#chunks.values()
    for (const chunk of waiting) this.recall(chunk)
  }

  /** Ends it now. By another signal than SIGKILL it is asked to, and killed when it does not. */
  kill(signal: NodeJS.Signals): void {
    if (this.#state === 'dead') return
    if (signal !== 'SIGKILL') {
      this.#killTimer ??= setTimeout(() => this.kill('SIGKILL'), terminateGraceMs).unref()
    }
    if (this.#state === 'starting' && this.#popen.method === 'thread' && signal !== 'SIGKILL') {
      // A thread that is terminated while it loads its modules leaves the files open that it was reading: Node.js
      // does not close them. It is asked to end as soon as it has started, and terminated if it does not.
      this.stop()
      return
    }
    this.#state = 'stopping'
    this.insights.stopped()
    this.#popen.kill(signal)
  }

  #send(head: Parameters<typeof sendMessage>[1], bodies: readonly Body[]): void {
    // Between a worker's last message and its exit there is nobody to send to; onDeath gives everything back.
    try {
      sendMessage(this.#popen.connection, head, ...bodies)
    } catch (error) {
      if (!isClosed(error)) throw error
    }
  }

  #forgetOldest(): void {
    const inUse = new Set([...this.#chunks.values()].map(chunk => chunk.task.id))
    for (const functionId of this.#functions.keys()) {
      if (inUse.has(functionId)) continue
      this.#functions.delete(functionId)
      this.#send({ type: 'forget', bodies: 0, functionId }, [])
      return
    }
  }

  #receive(head: FromWorker, bodies: Body[]): void {
    switch (head.type) {
      case 'ready':
        if (this.#state !== 'starting') return
        this.#state = 'ready'
        this.idleSinceMs = performance.now()
        this.insights.ready(head.initMs)
        traceReady(this, head.initMs)
        this.#followed?.ready()
        this.#events.onReady(head.memoryBytes)
        return
      case 'setupFailed':
        this.#events.onSetupFailed(head.stage, bodies[0]!)
        return
      case 'retire':
        this.#isRetiring = true
        this.#recallWaiting()
        this.#events.onRetire()
        return
      case 'finalizing':
        this.#startFinalizer()
        return
      case 'finalizerFailed':
        this.#finalizer = 'failed'
        this.#events.onFinalizerFailed(bodies[0]!)
        return
      case 'results': {
        const { count, elapsedMs, isPacked } = head
        this.#events.onResults({ chunk: this.#chunk(head.chunkId), count, elapsedMs, isPacked, bodies })
        return
      }
      case 'spans':
        this.#noteSpans(head)
        return
      case 'longTask': {
        const { index, count, durationMs, args } = head
        const { task, parts } = this.#chunk(head.chunkId)
        this.insights.longest.add({ name: task.name, index, count, durationMs, arguments: args })
        parts[0]!.job.relay?.tookLong(head)
        return
      }
      case 'report':
        this.#events.onReport(this.#chunk(head.chunkId), { ...head, body: bodies[0]! })
        return
      case 'failure':
        this.#events.onFailure({
          chunk: this.#chunk(head.chunkId),
          elapsedMs: head.elapsedMs,
          body: bodies[0]!,
          worker: head.worker,
        })
        return
      case 'skipped':
        this.#events.onSkipped({ chunk: this.#chunk(head.chunkId), count: head.count })
        return
      case 'undecodable':
        this.#return(head.chunkId, 'undecodable', undefined)
        return
      case 'returned':
        this.#recalled(head.chunkId, head.from)
        return
      case 'unloadable':
        this.#return(head.chunkId, 'unloadable', bodies[0])
        return
      case 'dying':
        this.#lastWords = bodies[0]!
        return
      case 'died':
        this.#events.onDiedElsewhere({ chunk: this.#chunk(head.chunkId), body: bodies[0]! })
        return
      case 'timedOut':
        this.#events.onTimedOutElsewhere({
          chunk: this.#chunk(head.chunkId),
          index: head.index,
          body: bodies[0]!,
        })
        return
      case 'again':
        this.#events.onAgain({ ...head, chunk: this.#chunk(head.chunkId) })
        return
    }
  }

  #noteSpans({ chunkId, spans, isTold, errors = [], waits = [], lostWaits = 0 }: Told<'spans'>): void {
    const chunk = this.#chunk(chunkId)
    traceTasks(chunk, this, { spans, waits, lostWaits })
    if (!isTold) chunk.followed?.noteTimes(spans, errors)
  }

  #chunk(id: number): Chunk {
    const chunk = this.#chunks.get(id)
    if (!chunk) throw new Error(`The worker ${this.name} answered for chunk ${id}, which it does not have`)
    return chunk
  }

  /** Takes the outcomes of `count` items off a chunk. The chunk is forgotten with its last item. */
  *take(chunk: Chunk, count: number): Generator<{ job: Job; index: number; count: number; offset: number }> {
    yield* chunk.receive(count)
    if (!chunk.isDone) return
    this.#forget(chunk)
    chunk.release()
  }

  #forget(chunk: Chunk, ending?: { lost: number }): void {
    this.#chunks.delete(chunk.id)
    chunk.parts[0]?.job.relay?.left()
    chunk.endTrace?.(ending)
    chunk.followed?.end(ending)
    if (this.#chunks.size === 0) this.idleSinceMs = performance.now()
    const next = this.firstChunk
    if (next && next.firstSinceMs === 0) next.firstSinceMs = monotonicMs()
  }

  #recalled(chunkId: number, from: number): void {
    const chunk = this.#chunk(chunkId)
    if (from < chunk.received || from >= chunk.count) {
      throw new Error(`The worker ${this.name} gave back items of chunk ${chunkId} that it does not have`)
    }
    const parts = chunk.cut(from)
    this.tasksLeft += parts.reduce((sum, part) => sum + part.count, 0)
    if (chunk.isDone) {
      this.#forget(chunk)
      chunk.release(parts)
    }
    this.#events.onRecalled({ chunk, parts })
  }

  #return(chunkId: number, why: 'undecodable' | 'unloadable', body: Body | undefined): void {
    const chunk = this.#chunk(chunkId)
    this.#forget(chunk, { lost: chunk.count })
    this.tasksLeft += chunk.count
    this.#events.onReturned({ chunk, why, body })
  }

  /** To those who look on. */
  #tellEnd(status: ExitStatus, chunks: readonly Chunk[], journal: JournalEntry | undefined): void {
    const { signal, exitCode } = status
    traceEnd(this, { chunks, how: `ended by ${signal ?? `exit code ${exitCode}`}` })
    const end = signal ? `was ended by ${signal}` : `ended with exit code ${exitCode}`
    for (const [place, chunk] of chunks.entries()) {
      const hasRun = this.#journal ? journal?.chunkId === chunk.id : place === 0
      const error = hasRun
        ? new Error(`The worker ${this.name} ${end} before all of the chunk was back`)
        : undefined
      const lostAt = journal?.startedCount === 1 ? journal.startedIndex : undefined
      chunk.followed?.end({ lost: chunk.count - chunk.received, error, lostAt })
    }
    this.#followed?.ended(status)
  }

  /** It tells of itself that it runs it; how long it may is decided here, since it may be in an endless loop. */
  #startFinalizer(): void {
    this.#finalizer = 'running'
    this.#finalizerTimer = new LongTimer(() => {
      this.#finalizer = 'timedOut'
      this.kill('SIGKILL')
    }, this.#finalizerMsMax)
  }

  /** A finalizer that calls `process.exit(0)` has ended its worker as it should. */
  #finalizerEnd({ exitCode }: ExitStatus): Death['finalizerEnd'] {
    if (this.#finalizer === 'timedOut') return 'timedOut'
    return this.#finalizer === 'running' && exitCode !== 0 ? 'died' : undefined
  }

  #die(status: ExitStatus): void {
    const wasStarting = this.#state === 'starting'
    const wasAsked = this.#state === 'stopping'
    this.#sampledBytes ??= this.#journal?.memoryBytes()
    this.#state = 'dead'
    clearTimeout(this.#killTimer)
    this.#finalizerTimer?.stop()
    this.insights.ended()
    let journal = this.#journal?.read()
    const memoryBytes = this.#sampledBytes
    this.#journal?.close()
    this.#heartbeat?.close()
    const sentence = this.#sentence
    // What it marked after the sentence it did not start.
    if (sentence && journal) journal = sentence.run ? { ...journal, ...sentence.run } : undefined
    const chunks = [...this.#chunks.values()]
    this.#chunks.clear()
    for (const { parts } of chunks) parts[0]?.job.relay?.left()
    this.#tellEnd(status, chunks, journal)
    const stderr = this.#stderr.text
    this.#events.onDeath({
      status,
      lastWords: this.#lastWords,
      wasStarting,
      wasAsked,
      chunks,
      journal,
      sentence,
      stderr,
      memoryBytes,
      finalizerEnd: this.#finalizerEnd(status),
    })
  }
}

type Told<Type extends FromWorker['type']> = Extract<FromWorker, { type: Type }>

function isClosed(error: unknown): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === 'ERR_CLOSED'
}
