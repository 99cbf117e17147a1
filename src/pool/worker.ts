/**
 * The worker's side of a pool: runs the items of one chunk after another, and reports each result or failure
 * exactly once. Invariant: an item is marked in the journal before its function is called, so that the parent can
 * tell after this process's death which item was running (see Journal in README.md).
 */
import { exitWhenLoaded } from '../platform/module-loading.ts'
import { unsendMessage } from '../platform/in-flight.ts'
import { microtask } from '../platform/microtask.ts'
import { RunningTask, setTaskSource } from './current-task.ts'
import { type JournalWriter, keptResultsMax } from '../platform/journal.ts'
import { pinTo } from '../platform/scheduling.ts'
import type { Connection } from '../transport/connection.ts'
import { dependsOnReceiver, encodeThrown, prepare, type ClassScope } from '../serialize/codec.ts'
import { argumentsIn } from './item-arguments.ts'
import { LongTasks, indexInMap } from './long-task.ts'
import { LoadedFunctions, rebuild, type Task } from './loaded-functions.ts'
import { loadingFunction } from './recover-chunk.ts'
import { endByError } from './worker-crash.ts'
import { TaskSpans } from './task-spans.ts'
import { TaskSurroundings } from './task-surroundings.ts'
import { WorkerLife } from './worker-life.ts'
import {
  type Body,
  type CancelHead,
  MessageReader,
  type ToWorker,
  encodeBody,
  releaseBodies,
  sendMessage,
} from './protocol.ts'
import { isInstance, isThenable } from './result-kinds.ts'
import { type WaitingChunk, skippedFrom } from './waiting-chunk.ts'
import { unsendableResult } from './unsendable-result.ts'

/** An item that took longer may have done something outside of this process (a write takes 0.6 µs): its end is recorded. */
const effectlessMs = 0.0004
/** Items, alone or timed together, that took longer are marked and timed one by one. */
const quickMs = 0.002
/** After so many quick ones in a row, items are marked in groups where that is a system call, else timed in groups. */
const quickStreakMin = 16
const quickStreakMax = 64
const timedItems = 32
const groupedItems = 512
/** Results wait at most this long for more results to travel with them. */
const flushAfterMs = 8
/** A report is dropped while the parent has not taken so much. */
const untakenBytesMax = 1 << 20
/** A larger result goes on its way at once instead of into the journal. */
const journaledBytesMax = 64 * 1024
/** Where it takes a system call, it is looked for what was called off at most this often. */
const lookEveryMs = 1

export class Worker {
  readonly #connection: Connection
  readonly #journal: JournalWriter | undefined
  readonly #life: WorkerLife
  readonly #functions = new LoadedFunctions()
  readonly #chunks: WaitingChunk[] = []
  /** The chunk that runs, and its item that does; -1 between items. */
  #running: WaitingChunk | undefined
  #runningIndex = -1
  /** The task that runs, once it has asked about itself or was called off. */
  #task: RunningTask | undefined
  /** Messages of the parent that call something off are numbered: the last one that was read, and who waits for more. */
  #noticed = 0
  #onNoticed: (() => void) | undefined
  readonly #longTasks: LongTasks
  #lookedAtMs = 0
  #isRunning = false
  #isStopping = false
  #quickStreak = 0

  // What was computed of the running chunk and not yet sent: either plain values, or bodies that are encoded.
  #chunkId = 0
  #first = 0
  #countMax = 0
  // The values have room for more than there are: an array that grows while items are timed makes them seem slow.
  #values: unknown[] = []
  #valueCount = 0
  #encoded: Body[] = []
  /** The item from which on simple results are in the journal. */
  #keptFrom = 0
  /** Of a chunk that is traced. */
  #spans: TaskSpans | undefined
  #elapsedMs = 0
  #flushedAt = 0
  #isFlushScheduled = false

  constructor(connection: Connection, journal: JournalWriter | undefined) {
    this.#connection = connection
    this.#journal = journal
    this.#life = new WorkerLife(connection)
    this.#longTasks = new LongTasks(connection)
  }

  /** Begins to listen to the pool. */
  start(): void {
    const connection = this.#connection
    const reader = new MessageReader<ToWorker>((head, bodies) => this.#receive(head, bodies))
    connection.onMessage = (bytes, attachments) => reader.push(bytes, attachments)
    // An error outside of any task's own call, say in a timer that a task left behind: as everywhere in Node.js
    // it ends the process, and the parent is told why.
    process.on('uncaughtException', error => endByError(error, connection, () => this.#flush()))
    setTaskSource(() => this.#currentTask())
  }

  #receive(head: ToWorker, bodies: Body[]): void {
    switch (head.type) {
      case 'initialize':
        void this.#life.begin(head.setup, bodies)
        return
      case 'pin':
        pinTo(head.cpus)
        return
      case 'function':
        this.#functions.set(head.functionId, bodies[0]!)
        return
      case 'forget':
        this.#functions.delete(head.functionId)
        return
      case 'chunk':
        this.#chunks.push({ head, bodies, count: head.count, skipped: undefined })
        this.#wake()
        return
      case 'recall':
        this.#giveBack(head.chunkId)
        this.#read(head.notice)
        return
      case 'cancel':
        this.#cancel(head)
        return
      case 'stop':
        this.#isStopping = true
        this.#wake()
        return
    }
  }

  /** Starts the loop once the frames that came together have all been read. */
  #wake(): void {
    if (this.#isRunning) return
    this.#isRunning = true
    microtask(() => void this.#runAll())
  }

  async #runAll(): Promise<void> {
    for (let next = this.#chunks.shift(); next; next = this.#chunks.shift()) {
      this.#running = next
      const { head, bodies } = next
      const around = TaskSurroundings.areNeeded(head)
        ? await TaskSurroundings.prepare(head, bodies)
        : undefined
      await (around?.run(() => this.#runChunk(next, around)) ?? this.#runChunk(next, undefined))
      this.#running = undefined
    }
    this.#isRunning = false
    if (this.#isStopping) await this.#stop()
    // Who waits for each answer before the next call makes it at once.
    else this.#connection.expectSoon()
  }

  async #stop(): Promise<void> {
    await this.#life.end()
    // Whatever handles the tasks left open must not keep a worker that its pool wants to end.
    this.#connection.onClose = () => exitWhenLoaded(0)
    this.#connection.close()
  }

  // ---- What is called off ----

  /** Only who is named is hit: a chunk that is done is unknown here, and an item that has ended is not running. */
  #cancel({ chunkId, indexes, why, notice }: CancelHead): void {
    const chunk =
      this.#running?.head.chunkId === chunkId
        ? this.#running
        : this.#chunks.find(waiting => waiting.head.chunkId === chunkId)
    if (chunk) {
      const isRunning = chunk === this.#running && this.#runningIndex >= 0
      if (isRunning && (!indexes || indexes.includes(this.#runningIndex))) this.#taskNow().stop(why)
      if (!indexes) {
        chunk.skipped = 'all'
      } else if (chunk.skipped !== 'all') {
        chunk.skipped ??= new Set()
        for (const index of indexes) chunk.skipped.add(index)
      }
    }
    this.#read(notice)
  }

  #read(notice: number): void {
    this.#noticed = notice
    this.#onNoticed?.()
  }

  /** Gives back what of a chunk has not been started. Of the chunk that runs, the next item stays: it goes on with that. */
  #giveBack(chunkId: number): void {
    let from = 0
    if (this.#running?.head.chunkId === chunkId) {
      const ended = this.#first + this.#valueCount + this.#encoded.length
      from = ended + 1
      if (from >= this.#running.count) return
      this.#running.count = from
    } else {
      const at = this.#chunks.findIndex(chunk => chunk.head.chunkId === chunkId)
      // It has been answered.
      if (at < 0) return
      this.#chunks.splice(at, 1)
    }
    sendMessage(this.#connection, { type: 'returned', bodies: 0, chunkId, from })
    // The next item may keep the event loop for long.
    this.#connection.flush()
  }

  /**
   * The parent has sent a message that must be read before anything more is started. Where no task gives the event loop
   * a turn, this does.
   */
  async #readNotices(notice: number): Promise<void> {
    this.#flush()
    while (this.#noticed < notice) {
      await new Promise<void>(resolve => {
        this.#onNoticed = resolve
      })
    }
    this.#onNoticed = undefined
  }

  #skip(index: number, count: number): void {
    this.#flush()
    this.#first = index + count
    sendMessage(this.#connection, { type: 'skipped', bodies: 0, chunkId: this.#chunkId, count })
  }

  #currentTask(): RunningTask | undefined {
    return this.#runningIndex < 0 ? undefined : this.#taskNow()
  }

  #taskNow(): RunningTask {
    const { head } = this.#running!
    const { attempt = 1, wantsReports, resources } = head
    const index = indexInMap(head, this.#runningIndex)
    const report = wantsReports && ((task: RunningTask, value: unknown) => this.#report(task, value))
    return (this.#task ??= new RunningTask({ index, attempt, report, resources }))
  }

  /** Sends what the task that runs reports, behind the results of those before it. */
  #report(task: RunningTask, value: unknown): boolean {
    // What a task leaves behind reports nothing: its result is on its way.
    if (task !== this.#task) return false
    const [connection, index] = [this.#connection, this.#runningIndex]
    if (connection.bufferedBytes > untakenBytesMax) {
      task.dropped++
      return false
    }
    const body = encodeBody(value, connection, { rootName: 'report' })
    // A report is seen outside: should this process die, the item must not run again as one of a marked group.
    if (this.#journal?.isMemory === false && !this.#running!.head.isExact)
      this.#journal.start(this.#chunkId, index, 1)
    this.#flushValues()
    this.#flushEncoded()
    const { dropped } = task
    sendMessage(connection, { type: 'report', bodies: 1, chunkId: this.#chunkId, index, dropped }, body)
    connection.flush()
    releaseBodies([body])
    return true
  }

  // ---- Running ----

  async #runChunk(chunk: WaitingChunk, around: TaskSurroundings | undefined): Promise<void> {
    const { head, bodies } = chunk
    const { chunkId, functionId, mode, isPacked, isExact = false } = head
    const journal = this.#journal
    if (this.#connection.losableBytes === 0) journal?.clear()
    this.#flushedAt = performance.now()
    this.#life.tellMemory(journal, this.#flushedAt)
    this.#chunkId = chunkId
    const longTasks = this.#longTasks
    longTasks.begin(head)
    this.#first = 0
    this.#keepFrom(0)
    // Whoever wants to stop the chunk before this one, and kill this worker for it, sees that it is over.
    journal?.begin(chunkId, 0, 0)
    if (journal && journal.notice > this.#noticed) await this.#readNotices(journal.notice)
    if (chunk.skipped === 'all') {
      this.#skip(0, chunk.count)
      this.#connection.flush()
      return
    }
    let task: Task
    let classes: ClassScope
    try {
      ;({ task, classes } = await this.#functions.get(head, () =>
        journal?.begin(chunkId, loadingFunction, 0),
      ))
    } catch (error) {
      sendMessage(
        this.#connection,
        { type: 'unloadable', bodies: 1, chunkId, functionId },
        { bytes: encodeThrown(error) },
      )
      return
    }
    if (around) task = around.around(task, () => this.#runningIndex)
    let items: readonly unknown[] = []
    if (isPacked) {
      // Should the decoding itself kill this process, the items come again one by one.
      if (isExact) journal?.begin(chunkId, 0, chunk.count)
      else journal?.start(chunkId, 0, chunk.count)
      try {
        const loading = prepare(bodies[0]!.bytes)
        if (loading) await loading
        items = rebuild(bodies[0]!, { classes }) as unknown[]
      } catch {
        // They come again one by one, and the one at fault then says what is wrong with it.
        sendMessage(this.#connection, { type: 'undecodable', bodies: 0, chunkId })
        return
      }
    }

    const spans = (this.#spans = head.times && new TaskSpans(chunkId, head.times, around))
    this.#countMax = chunk.count
    this.#makeRoom(chunk.count)
    let markedUntil = 0
    let timedFrom = 0
    let timedUntil = 0
    let startedMs = 0
    // Whenever the event loop has its turn, the chunk may become shorter.
    for (let index = 0; index < chunk.count; index++) {
      if (index >= markedUntil) {
        // Between items that are timed together there is no time for anything to be called off.
        if (journal && index >= timedUntil && journal.notice > this.#noticed)
          await this.#readNotices(journal.notice)
        const skipped = skippedFrom(index, chunk)
        if (skipped > 0) {
          this.#skip(index, skipped)
          index += skipped - 1
          markedUntil = timedUntil = index + 1
          continue
        }
        if (index - this.#keptFrom >= keptResultsMax) await this.#keepAnew(index)
        markedUntil = this.#mark(chunkId, index, { count: chunk.count, isExact })
      }
      this.#runningIndex = index
      let nowMs: number
      let isKept: boolean
      let isForeign: boolean
      let item: unknown
      try {
        const loading = isPacked ? undefined : prepare(bodies[index]!.bytes)
        if (loading) await loading
        item = isPacked ? items[index] : rebuild(bodies[index]!, { classes })
        if (index >= timedUntil) {
          timedFrom = index
          timedUntil = isPacked ? this.#timedTogether(index, chunk.count) : index + 1
          this.#spans?.begin()
          startedMs = performance.now()
        }
        let value = mode === 'item' ? task(item) : task(...argumentsIn(item))
        if (isThenable(value)) {
          // What waits is not quick: its end is recorded before anything else begins.
          timedUntil = index + 1
          // What is finished must not wait for it: the loop turns while it is awaited.
          this.#scheduleFlush()
          value = await value
        }
        this.#runningIndex = -1
        this.#task = undefined
        this.#values[this.#valueCount++] = value
        isKept = journal !== undefined && journal.keep(index - this.#keptFrom, value)
        if (isKept && index + 1 < timedUntil && index + 1 < chunk.count) continue
        isForeign = typeof value === 'object' && value !== null && isInstance(value)
        nowMs = performance.now()
      } catch (thrown) {
        this.#runningIndex = -1
        this.#task = undefined
        this.#spans?.threw(index, thrown)
        around?.threw(index, thrown)
        const failedAfterMs = performance.now() - startedMs
        this.#elapsedMs += failedAfterMs
        if (failedAfterMs > longTasks.thresholdMs)
          longTasks.tell(head, { from: timedFrom, index, durationMs: failedAfterMs, item })
        this.#flush()
        this.#fail(index, thrown)
        if (this.#connection.losableBytes > 0) await this.#untilKept(index)
        this.#quickStreak = 0
        markedUntil = timedUntil = index + 1
        continue
      }
      this.#spans?.end(index)
      const tookMs = nowMs - startedMs
      this.#elapsedMs += tookMs
      if (tookMs > longTasks.thresholdMs)
        longTasks.tell(head, { from: timedFrom, index, durationMs: tookMs, item })
      timedUntil = index + 1
      if (tookMs <= (isKept ? quickMs : effectlessMs) && !isForeign) {
        this.#quickStreak = Math.min(this.#quickStreak + 1, quickStreakMax)
      } else {
        // Halved and not forgotten: a pause of the machine among quick items must not make the next ones slow.
        this.#quickStreak >>= 1
        if (!isKept) {
          markedUntil = index + 1
          if (!this.#record(index) && this.#connection.losableBytes > 0) await this.#untilKept(index)
        }
      }
      if (nowMs - this.#flushedAt > flushAfterMs && index + 1 < chunk.count) {
        this.#flush()
        this.#flushedAt = nowMs
      }
      if (nowMs - this.#lookedAtMs > lookEveryMs) {
        this.#lookedAtMs = nowMs
        journal?.look()
      }
    }
    this.#life.checkMemory()
    around?.end()
    this.#flush()
    spans?.close()
    // A limit of the last item does not hit what comes behind it.
    if (isExact) journal?.begin(chunkId, chunk.count, 0)
    // The next chunk is about to take the place of what the journal keeps of this one.
    if (journal?.isMemory && this.#connection.losableBytes > 0) {
      if (!isExact) journal.start(chunkId, chunk.count, 0)
      await this.#connection.untilKept()
    }
  }

  /**
   * Reading the clock takes as long as a small function. Where each item has its mark and the journal keeps its result,
   * quick ones are timed in groups, because nothing is lost of one that was slow after all.
   */
  #timedTogether(index: number, count: number): number {
    const isAlone =
      this.#quickStreak < quickStreakMin || this.#journal?.isMemory !== true || this.#spans?.isEach
    if (isAlone) return index + 1
    return Math.min(index + timedItems, count)
  }

  #keepFrom(index: number): void {
    this.#keptFrom = index
    this.#journal?.keepFrom(index)
  }

  /** The journal has no room for more simple results: what it has is put on its way first. */
  async #keepAnew(index: number): Promise<void> {
    this.#flush()
    if (this.#journal?.isMemory && this.#connection.losableBytes > 0) await this.#connection.untilKept()
    this.#keepFrom(index)
  }

  /**
   * An item has ended whose outcome is too large for the journal, and the other side has not made room for all of it.
   * Were the next one to end this process, the item would be run again, and do twice what it does.
   */
  async #untilKept(index: number): Promise<void> {
    this.#journal?.markEnded(this.#chunkId, index)
    await this.#connection.untilKept()
    this.#journal?.clearEnded()
  }

  /**
   * Marks that the item starts. A mark in a file takes about as long as a small function runs, so after many
   * quick items in a row one mark stands for the next few: if the worker dies among them, the parent runs them
   * again one by one to find the one that kills. Returns the index that needs the next mark.
   */
  #mark(chunkId: number, index: number, { count, isExact }: { count: number; isExact: boolean }): number {
    const journal = this.#journal
    if (!journal) return count
    if (isExact) {
      journal.begin(chunkId, index, 1)
      return index + 1
    }
    const isGrouped = !journal.isMemory && this.#quickStreak >= quickStreakMin
    const marked = isGrouped ? Math.min(groupedItems, count - index) : 1
    journal.start(chunkId, index, marked)
    return index + marked
  }

  /**
   * Takes the last value out of the plain ones, encodes it, and writes it down before anything else starts. Returns false
   * when it was sent instead.
   */
  #record(index: number): boolean {
    const value = this.#values[--this.#valueCount]
    // The items that were timed together with it are sent.
    this.#flushValues()
    const body = this.#encode(index, value)
    if (!body) return false
    this.#encoded.push(body)
    const isRecorded =
      body.attachments === undefined &&
      body.bytes.byteLength <= journaledBytesMax &&
      this.#journal?.finish(this.#chunkId, index, body.bytes)
    if (isRecorded) return true
    this.#flush()
    return false
  }

  /** Encodes one result, or reports that it cannot be sent: then the item has failed, and the worker is well. */
  #encode(index: number, value: unknown): Body | undefined {
    try {
      return encodeBody(value, this.#connection, {})
    } catch (error) {
      this.#flush()
      this.#fail(index, unsendableResult(value, error))
      return undefined
    }
  }

  #fail(index: number, thrown: unknown): void {
    const elapsedMs = this.#takeElapsed()
    sendMessage(
      this.#connection,
      { type: 'failure', bodies: 1, chunkId: this.#chunkId, index, elapsedMs },
      { bytes: encodeThrown(thrown) },
    )
    // The next item may end this process.
    this.#connection.flush()
    this.#first = index + 1
  }

  #flush(): void {
    this.#connection.cork()
    try {
      this.#spans?.send(this.#connection)
      this.#flushValues()
      this.#flushEncoded()
    } finally {
      this.#connection.flush()
    }
  }

  #flushValues(): void {
    const count = this.#valueCount
    if (count === 0) return
    // The encoded ones are older: they are sent first.
    this.#flushEncoded()
    const values = this.#values
    values.length = count
    this.#makeRoom(Math.min(2 * count, this.#countMax - this.#first))
    let body: Body | undefined
    try {
      body = encodeBody(values, this.#connection, {})
    } catch {
      // One of them cannot be sent. It fails alone, below.
    }
    if (!body || dependsOnReceiver(body.bytes)) {
      if (body) {
        unsendMessage(body.bytes)
        releaseBodies([body])
      }
      const first = this.#first
      for (const [offset, value] of values.entries()) {
        const single = this.#encode(first + offset, value)
        if (single) this.#encoded.push(single)
      }
      return
    }
    this.#sendResults(true, count, [body])
  }

  #makeRoom(count: number): void {
    // oxlint-disable-next-line unicorn/no-new-array
    this.#values = new Array<unknown>(count)
    this.#valueCount = 0
  }

  #flushEncoded(): void {
    const bodies = this.#encoded
    if (bodies.length === 0) return
    this.#encoded = []
    this.#sendResults(false, bodies.length, bodies)
  }

  #sendResults(isPacked: boolean, count: number, bodies: Body[]): void {
    const first = this.#first
    this.#first += count
    sendMessage(
      this.#connection,
      {
        type: 'results',
        bodies: bodies.length,
        chunkId: this.#chunkId,
        first,
        count,
        isPacked,
        elapsedMs: this.#takeElapsed(),
      },
      ...bodies,
    )
    releaseBodies(bodies)
  }

  #takeElapsed(): number {
    const elapsedMs = this.#elapsedMs
    this.#elapsedMs = 0
    return elapsedMs
  }

  #scheduleFlush(): void {
    if (this.#isFlushScheduled || (this.#valueCount === 0 && this.#encoded.length === 0)) return
    this.#isFlushScheduled = true
    setImmediate(() => {
      this.#isFlushScheduled = false
      this.#flush()
    })
  }
}
