/**
 * A chunk of another machine as a job of the agent's own pool. Its bodies are passed on as they are, in both directions,
 * because the agent knows neither the modules nor the classes of those whose work it runs. Invariant: each item has
 * one outcome in the answer, in the order of the items, as "Chunks" of pool/README.md wants it.
 */
import { WorkerDiedError } from '../errors.ts'
import { LongestTasks } from '../insights/longest-tasks.ts'
import type { BundlePlace } from '../serialize/bundles.ts'
import { encodeThrown } from '../serialize/codec.ts'
import type { ShippedFunction } from '../pool/function-table.ts'
import { type ChunkContext, partOfContext } from '../pool/chunk-context.ts'
import { Job, type JobCounts, type Part, type Relay, firstPart } from '../pool/job.ts'
import type { Body, ChunkHead, FromWorker, LongTaskMessage } from '../pool/protocol.ts'
import type { ResourceShare } from '../pool/requirements.ts'

/** A message for the program that sent the chunk, with its bodies. */
export interface Answer {
  message: FromWorker
  bodies: Body[]
}

export interface RelayJobOptions {
  task: ShippedFunction
  head: ChunkHead
  bodies: Body[]
  /** Called once. Without answers: it was called off, or the pool of the agent has ended. */
  onEnd(answers: Answer[] | undefined): void
  onReport(answer: Answer): void
  /** Called once, when no worker has anything of it any more, and none will. */
  onGone?(): void
}

/** Where an outcome belongs; those that end no item come before it. */
interface Placed extends Answer {
  index: number
}

export class RelayJob extends Job implements Relay {
  override readonly relay = this
  readonly #head: ChunkHead
  /** Those of the items, and what travels beside them. */
  readonly #bodies: Body[]
  readonly #context: ChunkContext
  readonly #onEnd: RelayJobOptions['onEnd']
  readonly #onReport: RelayJobOptions['onReport']
  readonly #first: number
  readonly #calledOff = new Set<number>()
  readonly #placed: Placed[] = []
  readonly #longest = new LongestTasks<LongTaskMessage>()
  /** Of items whose worker was ended by SIGTERM. */
  readonly #terminated = new Set<FromWorker>()
  #isTaken = false
  /** How many workers have something of it. */
  #inWorkers = 0
  #onGone: (() => void) | undefined
  /** Both are set before it is submitted. */
  bundles: BundlePlace[] | undefined
  resources: Record<string, ResourceShare> | undefined
  #owed: number
  /** Time that its items took in workers. */
  elapsedMs = 0

  constructor({ task, head, bodies, onEnd, onReport, onGone }: RelayJobOptions) {
    const { timeoutMs, graceMs = 1000, priority = 0 } = head.elsewhere ?? {}
    super({
      task,
      mode: head.mode,
      caller: {},
      limits: { timeoutMs, graceMs, retries: undefined, priority },
    })
    this.#head = head
    const itemBodies = head.isPacked ? 1 : head.count
    this.#bodies = bodies.slice(0, itemBodies)
    this.#context = { contexts: head.contexts ?? [], stores: bodies.slice(itemBodies) }
    this.#onEnd = onEnd
    this.#onReport = onReport
    this.#onGone = onGone
    this.#first = head.first ?? 0
    this.#owed = head.count
    // What listens to reports is where the chunk came from.
    if (head.wantsReports) this.onReport = () => {}
  }

  /** Calls of `apply` have no place in a map, which their tasks can ask for. */
  override get isSingle(): boolean {
    return this.#head.first === undefined
  }

  override get hasContext(): boolean {
    return this.#context.contexts.length > 0
  }

  contextOf(index: number, count: number): ChunkContext {
    return partOfContext(this.#context, index - this.#first, count)
  }

  get remaining(): number {
    return this.#isTaken ? 0 : this.#head.count
  }

  get counts(): JobCounts {
    const total = this.#head.count
    return { done: total - this.#owed, failed: 0, total }
  }

  /** All of it, however many are asked for: its bodies are not taken apart. */
  take(): Part | undefined {
    if (this.#isTaken || this.isDone) return undefined
    this.#isTaken = true
    const { count, isPacked, attempt = 1, elsewhere } = this.#head
    const part = firstPart(this, { first: this.#first, count, ...(isPacked ? {} : { bodies: this.#bodies }) })
    return {
      ...part,
      ...(isPacked ? { packed: this.#bodies[0]! } : {}),
      attempt,
      deaths: elsewhere?.deaths ?? 0,
      isSolo: elsewhere?.isSolo ?? false,
    }
  }

  /** Whether no worker has been given any of it, so that it has certainly not begun. */
  get isUntouched(): boolean {
    return !this.#isTaken && !this.isDone
  }

  /** How often somebody died that had it, as far as its program knew. */
  get deaths(): number {
    return this.#head.elsewhere?.deaths ?? 0
  }

  /** Of an untouched chunk: no worker here will get it, and its program is to send it again. */
  withdraw({ deaths }: { deaths: number }): void {
    const { chunkId, count, elsewhere } = this.#head
    const isSolo = elsewhere?.isSolo ?? false
    this.#end([{ message: { type: 'again', bodies: 0, chunkId, count, isSolo, deaths }, bodies: [] }])
  }

  override isCalledOff(index: number): boolean {
    return this.isCancelled || this.#calledOff.has(index - this.#first)
  }

  get isExact(): boolean {
    return this.#head.isExact === true
  }

  /** Some of its items, counted within the chunk, are not wanted any more. */
  noteCalledOff(indexes: readonly number[]): void {
    for (const index of indexes) this.#calledOff.add(index)
  }

  entered(): void {
    this.#inWorkers++
  }

  left(): void {
    this.#inWorkers--
    this.#noteGone()
  }

  // ---- What becomes of its items ----

  received(index: number, { count, isPacked, bodies, elapsedMs }: Parameters<Relay['received']>[1]): void {
    const { chunkId } = this.#head
    const first = index - this.#first
    this.elapsedMs += elapsedMs
    this.#place(
      { type: 'results', bodies: bodies.length, chunkId, first, count, isPacked, elapsedMs },
      { index, count, bodies },
    )
  }

  failed(index: number, { body, elapsedMs, worker }: Parameters<Relay['failed']>[1]): void {
    const { chunkId } = this.#head
    this.elapsedMs += elapsedMs
    this.#place(
      {
        type: 'failure',
        bodies: 1,
        chunkId,
        index: index - this.#first,
        elapsedMs,
        ...(worker ? { worker } : {}),
      },
      { index, count: 1, bodies: [body] },
    )
  }

  override died(index: number, error: unknown): void {
    const { chunkId } = this.#head
    const message = { type: 'died', bodies: 1, chunkId } as const
    if (error instanceof WorkerDiedError && error.signal === 'SIGTERM') this.#terminated.add(message)
    this.#place(message, { index, count: 1, bodies: [thrown(error)] })
  }

  /** Whether a worker was ended by SIGTERM, which then may have been meant for the agent as a whole. */
  get wasTerminated(): boolean {
    return this.#terminated.size > 0
  }

  /** The answers, with such items to be sent again: it was not they that ended the worker. */
  withoutTerminated(answers: readonly Answer[]): Answer[] {
    const { chunkId } = this.#head
    const again = {
      message: { type: 'again', bodies: 0, chunkId, count: 1, isSolo: false, deaths: this.deaths },
      bodies: [],
    } as const satisfies Answer
    return answers.map(answer => (this.#terminated.has(answer.message) ? again : answer))
  }

  skipped(index: number, count: number): void {
    const { chunkId } = this.#head
    this.#place({ type: 'skipped', bodies: 0, chunkId, count }, { index, count, bodies: [] })
  }

  again(parts: readonly Part[]): void {
    const { chunkId } = this.#head
    for (const { first, count, isSolo, deaths } of parts) {
      this.#place(
        { type: 'again', bodies: 0, chunkId, count, isSolo, deaths },
        { index: first, count, bodies: [] },
      )
    }
  }

  timedOut(index: number, error: unknown): void {
    const { chunkId } = this.#head
    const place = index - this.#first
    this.#placed.push({
      message: { type: 'timedOut', bodies: 1, chunkId, index: place },
      bodies: [thrown(error)],
      // Before everything else: its own outcome may be in one message with that of others.
      index: -1,
    })
  }

  refused(why: 'undecodable' | 'unloadable', body: Body | undefined): void {
    const { chunkId, functionId } = this.#head
    const message: FromWorker =
      why === 'unloadable' ? { type: why, bodies: 1, chunkId, functionId } : { type: why, bodies: 0, chunkId }
    this.#end([{ message, bodies: body ? [body] : [] }])
  }

  reported(index: number, { dropped, body }: { dropped: number; body: Body }): void {
    const { chunkId } = this.#head
    const message: FromWorker = { type: 'report', bodies: 1, chunkId, index: index - this.#first, dropped }
    this.#onReport({ message, bodies: [body] })
  }

  tookLong(task: LongTaskMessage): void {
    this.#longest.add({ ...task, chunkId: this.#head.chunkId })
  }

  /** Nothing was run, because the pool would not. */
  fail(index: number, reason: unknown): void {
    this.failed(index, { body: thrown(reason), elapsedMs: 0 })
  }

  succeed(_index: number, _value: unknown): void {
    throw new Error('This is a bug in multiproc, please report it: a result was decoded by an agent')
  }

  abort(): void {
    this.#end(undefined)
  }

  discard(): void {}

  #place(
    message: FromWorker,
    { index, count, bodies }: { index: number; count: number; bodies: Body[] },
  ): void {
    if (this.isDone) return
    this.#placed.push({ message, bodies, index })
    this.#owed -= count
    if (this.#owed > 0) return
    const longest = this.#longest.tasks.map(task => ({ message: task, bodies: [] }))
    this.#end([...longest, ...this.#placed.toSorted((a, b) => a.index - b.index)])
  }

  #end(answers: Answer[] | undefined): void {
    if (this.isDone) return
    this.done()
    this.#onEnd(answers)
    this.#noteGone()
  }

  /** A task that was called off has ended for its caller, but may run on for its grace period. */
  #noteGone(): void {
    if (!this.isDone || this.#inWorkers > 0) return
    const onGone = this.#onGone
    this.#onGone = undefined
    onGone?.()
  }
}

function thrown(error: unknown): Body {
  return { bytes: encodeThrown(error) }
}
