/**
 * One pool that an agent serves: fetches its chunks, holds their leases while the agent's workers run them, and writes
 * what comes of them. Invariant: a chunk is acknowledged after its result is in the stream and not before, so that whoever
 * is killed between the two, it is run again or its result is there. See "Agents" in README.md.
 */
import type { Subscription } from '@nats-io/transport-node'
import type { ClusterSettings } from '../pool/cluster-option.ts'
import type { PoolCore } from '../pool/pool-core.ts'
import { requirementsIn, type Requirements } from '../pool/requirements.ts'
import { AgentWarnings } from './agent-warnings.ts'
import type { AgentResources, ResourceWait } from './agent-resources.ts'
import type { BundlePlace } from '../serialize/bundles.ts'
import type { BundleFolder } from './bundle-folder.ts'
import type { CodeCache } from './code-cache.ts'
import type { Delivery } from './delivery.ts'
import { LEVELS, type ChunkName, PoolNames, chunkNameIn } from './names.ts'
import { lastWords } from './last-words.ts'
import { type Nats, newInbox } from './nats-client.ts'
import { PayloadStore } from './payload-store.ts'
import { type PoolRules, isNotFound, openStreams } from './pool-streams.ts'
import { Post } from './post.ts'
import { type Answer, RelayJob } from './relay-job.ts'
import { classesMax, classesOf, laneOf } from './requirement-classes.ts'
import { StrangerPause } from './stranger-pause.ts'
import { TaskPuller } from './task-puller.ts'
import { isForbidden } from './until-answered.ts'
import {
  type AgentFacts,
  type ChunkPlace,
  type ClassNews,
  type ControlHead,
  type NamedBundle,
  type ReportHead,
  type ResultHead,
  type WorkHead,
  announceEveryMs,
  heldShownMax,
  placeOf,
} from './work-message.ts'

/** The agent, as its pools see it. */
export interface PoolHost {
  readonly core: PoolCore
  readonly code: CodeCache
  readonly bundles: BundleFolder
  readonly resources: AgentResources
  /** How many more chunks it takes now. */
  room(): number
  /** A chunk has ended, and there is room. */
  onRoom(elapsedMs: number): void
  facts(): Omit<AgentFacts, 'chunks'>
}

/** A chunk that the agent has. */
interface Held {
  name: ChunkName
  delivery: Delivery
  /** Once it was opened. */
  place: ChunkPlace | undefined
  /** Set once it runs, or waits for a worker. */
  job: RelayJob | undefined
  /** When it was given to the agent's workers, or began to wait for resources, by `performance.now()`. */
  submittedAtMs: number
  /** Set while it waits for resources that others have. */
  wait: ResourceWait | undefined
}

const sessions = /^[0-9a-f]{24}$/
/** A chunk whose seal is wrong may be meant for another agent, which has the key. */
const strangerDelayMs = 500
const betweenPublishesMs = 250
/** So many chunks are remembered whose acknowledgement may have been lost. */
const finishedMax = 2000
/** So often it is looked whether there is work of kinds of which the news was lost. */
const lookForClassesEveryMs = 60_000
/** Chunks that nobody could answer are kept up to this length. */
const deadBytesMax = 256 * 1024
/** So much later an agent may hear a signal that was sent to its worker at the same time. */
const signalMsMax = 500

export class ServedPool {
  readonly names: PoolNames
  readonly #nats: Nats
  readonly #host: PoolHost
  readonly #post: Post
  readonly #rules: PoolRules
  readonly #held = new Map<string, Held>()
  #heldBytes = 0
  readonly #inbox: string
  #pullers: TaskPuller[]
  /** The kinds of work with requirements that it fetches. */
  readonly #classes = new Map<string, TaskPuller[]>()
  readonly #subscriptions: Subscription[] = []
  readonly #timers: NodeJS.Timeout[]
  readonly #strangers = new StrangerPause(() => this.pull())
  /** Chunks by their place in the stream, the oldest first. */
  readonly #finished = new Set<number>()
  #isLeaving = false
  #isClosed = false
  readonly #warnings: AgentWarnings
  #onEmpty: (() => void) | undefined

  private constructor(
    nats: Nats,
    settings: ClusterSettings,
    { names, rules, host }: { names: PoolNames; rules: PoolRules; host: PoolHost },
  ) {
    this.#nats = nats
    this.#host = host
    this.#rules = rules
    this.names = names
    this.#warnings = new AgentWarnings(names)
    this.#post = new Post(settings.key, nats, new PayloadStore(nats, names))
    this.#inbox = newInbox(settings)
    this.#pullers = this.#newPullers(undefined)
    this.#listen(names.control, bytes => this.#control(bytes))
    this.#listen(names.rollCall, bytes => this.announce(Buffer.from(bytes).toString('latin1')))
    // Stopped in close().
    this.#timers = [
      setInterval(() => this.#renew(), rules.leaseMs / 3),
      setInterval(() => this.announce(), announceEveryMs),
      setInterval(() => void this.#findClasses(), lookForClassesEveryMs),
    ]
    this.announce()
    this.pull()
    void this.#findClasses()
  }

  /** @throws ClusterError. */
  static async open(nats: Nats, settings: ClusterSettings, host: PoolHost): Promise<ServedPool> {
    const names = new PoolNames(settings.poolName)
    const rules = await openStreams(nats, names, settings)
    return new ServedPool(nats, settings, { names, rules, host })
  }

  get heldCount(): number {
    return this.#held.size
  }

  /** How long the messages of its chunks are together. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  /** How many chunks have come that may take resources as soon as they are opened. */
  get #arrivingCount(): number {
    let count = 0
    for (const { job, delivery } of this.#held.values())
      if (!job && !this.names.isPlain(delivery.subject)) count++
    return count
  }

  /** How many of its chunks a worker has been given. */
  get begunCount(): number {
    let count = 0
    for (const { job } of this.#held.values()) if (job && !job.isUntouched) count++
    return count
  }

  /**
   * Gives back what has waited since before `beforeMs` for a worker, if all are busy, or for resources; returns whether
   * there was anything for a worker. Its program
   * sends it anew: that it was here is no sign that it ends agents, as a delivery more would be. What agents have died of
   * is counted on, and is given back so often at most.
   */
  giveBackWaiting(beforeMs: number, { isBusy }: { isBusy: boolean }): boolean {
    let hasGivenBack = false
    for (const { job, delivery, submittedAtMs, wait } of Array.from(this.#held.values())) {
      if (job?.isUntouched !== true || submittedAtMs > beforeMs || !(isBusy || wait)) continue
      const deaths = job.deaths + delivery.deliveries - 1
      if (deaths >= this.#rules.deliveriesMax) continue
      job.withdraw({ deaths })
      if (!wait) hasGivenBack = true
    }
    return hasGivenBack
  }

  /** There is room, or a connection again. */
  pull(): void {
    for (const puller of this.#pullers) puller.pull()
  }

  reconnected(): void {
    for (const puller of this.#pullers) puller.restart()
    this.announce()
    void this.#findClasses()
  }

  /** Says that this agent is here; to a program that asks by its session also which chunks of it are. */
  announce(session = ''): void {
    if (this.#isClosed || this.#nats.connection.isClosed()) return
    const facts: AgentFacts = {
      ...this.#host.facts(),
      chunks: this.#held.size,
      ...(sessions.test(session) ? { held: { session, chunkIds: this.#heldOf(session) } } : {}),
      ...(this.#isLeaving ? { isLeaving: true as const } : {}),
    }
    this.#nats.connection.publish(this.names.agents, this.#post.note(this.names.agents, facts))
  }

  #heldOf(session: string): number[] {
    const own = Array.from(this.#held.values()).filter(({ name }) => name.session === session)
    return own.slice(0, heldShownMax).map(({ name }) => name.chunkId)
  }

  /** Takes no more work. Resolves when what it has is done. */
  async drain(): Promise<void> {
    this.#isLeaving = true
    for (const puller of this.#pullers) puller.stop()
    this.announce()
    if (this.#held.size === 0) return
    await new Promise<void>(resolve => {
      this.#onEmpty = resolve
    })
  }

  /** Gives back what is not done. */
  close(): void {
    if (this.#isClosed) return
    this.#isLeaving = true
    this.announce()
    this.#isClosed = true
    for (const timer of this.#timers) clearInterval(timer)
    this.#strangers.close()
    for (const puller of this.#pullers) puller.close()
    for (const subscription of this.#subscriptions) subscription.unsubscribe()
    const all = [...this.#held.values()]
    this.#held.clear()
    this.#heldBytes = 0
    for (const { delivery, wait } of all) {
      delivery.giveBack()
      wait?.cancel()
    }
    this.#onEmpty?.()
  }

  #listen(subject: string, hear: (bytes: Uint8Array) => void): void {
    const subscription = this.#nats.connection.subscribe(subject, {
      callback: (error, message) => {
        if (!error) hear(message.data)
      },
    })
    this.#subscriptions.push(subscription)
  }

  #renew(): void {
    for (const { delivery } of this.#held.values()) delivery.renew()
  }

  // ---- Which work ----

  /** Of work that requires nothing, or this. */
  #newPullers(requires: Requirements | undefined): TaskPuller[] {
    const room = (): number => {
      if (this.#isLeaving) return 0
      const { resources } = this.#host
      const own = this.#host.room()
      return this.#strangers.limit(
        requires ? Math.min(own, resources.room(requires) - this.#arrivingCount) : own,
        this.#held.size,
      )
    }
    return LEVELS.map(level => {
      const lane = laneOf(level, requires?.key)
      const onDelivery = (delivery: Delivery): void => void this.#take(delivery)
      const pullerCount = (): number => this.#pullers.length
      return new TaskPuller(
        this.#nats,
        this.names,
        { lane, room, onDelivery, pullerCount },
        `${this.#inbox}.${lane}`,
      )
    })
  }

  /** What the server says is as true as who may write there. Chunks are looked at whether they ask for what is here. */
  #learnClass(key: string): void {
    const { resources } = this.#host
    if (this.#isLeaving || this.#classes.has(key) || this.#classes.size >= classesMax) return
    const requires = requirementsIn(key)
    if (!requires || !resources.canDo(requires)) return
    const pullers = this.#newPullers(requires)
    this.#classes.set(key, pullers)
    this.#pullers.push(...pullers)
    for (const puller of pullers) puller.pull()
  }

  /** Nobody asks the server for such work any more, so that it forgets the kind; whoever has some tells of it anew. */
  #dropClass(key: string): void {
    const pullers = this.#classes.get(key)
    if (!pullers) return
    this.#classes.delete(key)
    this.#pullers = this.#pullers.filter(puller => !pullers.includes(puller))
    for (const puller of pullers) puller.close()
  }

  /** An agent that has nothing special does not look. */
  async #findClasses(): Promise<void> {
    if (this.#host.resources.isPlain) return
    try {
      for (const [key, { isUsed }] of await classesOf(this.#nats, this.names)) {
        if (isUsed) this.#learnClass(key)
        else this.#dropClass(key)
      }
    } catch (error) {
      if (this.#isClosed || this.#nats.connection.isClosed()) return
      this.#warnings.ofClasses(error as Error)
    }
  }

  // ---- Taking work ----

  async #take(delivery: Delivery): Promise<void> {
    const name = chunkNameIn(delivery.subject)
    if (!name || this.#isLeaving) {
      delivery.giveBack()
      return
    }
    if (this.#finished.has(delivery.sequence)) {
      // Its result is in the stream: only the acknowledgement was lost.
      delivery.ack()
      return
    }
    const id = `${name.session}.${name.chunkId}`
    const known = this.#held.get(id)
    if (known) {
      // The server has not heard that it is being worked on.
      known.delivery = delivery
      return
    }
    const held: Held = { name, delivery, place: undefined, job: undefined, submittedAtMs: 0, wait: undefined }
    this.#held.set(id, held)
    this.#heldBytes += delivery.bytes.length
    try {
      if (delivery.deliveries > this.#rules.deliveriesMax) await this.#bury(held, 'delivered')
      else await this.#start(held)
    } catch {
      // The server went away while something was fetched.
      this.#letGo(held, { delayMs: strangerDelayMs })
    }
  }

  async #start(held: Held): Promise<void> {
    const { delivery } = held
    const letter = await this.#post.read(delivery.subject, delivery.bytes)
    if (!this.#isHeld(held)) return
    if (letter === 'forged') {
      this.#warnings.ofStranger()
      this.#strangers.noteForged()
      if (delivery.deliveries >= this.#rules.deliveriesMax) await this.#bury(held, 'forged')
      else this.#letGo(held, { delayMs: strangerDelayMs })
      return
    }
    if (letter === 'gone') {
      // Its program sends it again when it finds that nobody has it.
      this.#end(held)
      return
    }
    this.#strangers.noteOpened()
    const { chunk: head, code, bundles: named = [] } = letter.head as WorkHead
    held.place = placeOf(head)
    if (!this.#canDo(head)) {
      // Who writes to the server has changed for whom the work of its kind is.
      this.#letGo(held, { delayMs: strangerDelayMs })
      return
    }
    const bytes = code.isInline
      ? letter.frames[0]
      : await this.#host.code.get(code, stored => this.#post.payloads.get(stored))
    const bundles = await this.#bundlesOf(named)
    if (!this.#isHeld(held)) return
    if (bytes === undefined || bundles === undefined) {
      const { chunkId, count } = head
      const message = { type: 'again', bodies: 0, chunkId, count, isSolo: false, deaths: 0 } as const
      await this.#answer(held, [{ message, bodies: [] }], { isCodeGone: true })
      return
    }
    const frames = code.isInline ? letter.frames.slice(1) : letter.frames
    const { core } = this.#host
    // What is to be done when no worker has it any more.
    let onGone: (() => void) | undefined
    const job = new RelayJob({
      task: core.functions.shipBytes(head.elsewhere?.taskName ?? 'anonymous', { bytes }),
      head,
      bodies: frames.map(frame => ({ bytes: frame })),
      onEnd: answers => void this.#ended(held, job, answers),
      onReport: answer => this.#report(held.name, answer),
      onGone: () => onGone?.(),
    })
    if (bundles.length > 0) job.bundles = bundles
    held.job = job
    held.submittedAtMs = performance.now()
    core.assertRunning()
    const { requires } = head.elsewhere ?? {}
    if (requires === undefined) {
      core.submit(job)
      return
    }
    const { resources } = this.#host
    const wait = resources.take(requirementsIn(requires)!, taken => {
      if (!this.#isHeld(held)) {
        taken.release()
        return
      }
      held.wait = undefined
      onGone = () => {
        taken.release()
        this.#host.onRoom(0)
      }
      job.resources = taken.shares
      core.submit(job)
    })
    if (onGone) return
    // Whatever becomes of it now, it does not get them any more.
    onGone = () => wait.cancel()
    held.wait = wait
  }

  /** Where they are here; `undefined` when one is not to be had any more. */
  async #bundlesOf(named: readonly NamedBundle[]): Promise<BundlePlace[] | undefined> {
    const found: BundlePlace[] = []
    for (const bundle of named) {
      const place = await this.#host.bundles.get(bundle, stored => this.#post.payloads.get(stored))
      if (place === 'gone') return undefined
      if (place !== undefined) found.push({ hash: bundle.hash, url: bundle.url, place })
    }
    return found
  }

  #canDo({ elsewhere }: WorkHead['chunk']): boolean {
    const key = elsewhere?.requires
    const requires = key === undefined ? undefined : requirementsIn(key)
    return key === undefined || (requires !== undefined && this.#host.resources.canDo(requires))
  }

  #control(bytes: Uint8Array): void {
    const control = this.#post.readNote(this.names.control, bytes)?.head as
      | ControlHead
      | ClassNews
      | undefined
    if (!control) return
    if ('requires' in control) {
      this.#learnClass(control.requires)
      return
    }
    const { session, chunkId, indexes, graceMs } = control
    for (const { name, job } of Array.from(this.#held.values())) {
      if (name.session !== session || (chunkId !== undefined && name.chunkId !== chunkId) || !job) continue
      const { core } = this.#host
      if (indexes) {
        job.noteCalledOff(indexes)
        core.cancelItems(job, { indexes, graceMs })
      } else if (graceMs === undefined) core.jobIsDropped(job)
      else core.cancelJob(job, undefined)
    }
  }

  // ---- Giving answers ----

  async #ended(held: Held, job: RelayJob, answers: Answer[] | undefined): Promise<void> {
    if (!this.#isHeld(held)) return
    if (answers === undefined) {
      // It was called off, and nobody waits for an answer; or the agent ends, and somebody else is to run it.
      if (job.isCancelled) this.#end(held)
      else this.#letGo(held, { delayMs: 0 })
    } else {
      await this.#answer(held, job.wasTerminated ? await this.#afterSignal(job, answers) : answers)
    }
    this.#host.onRoom(job.elapsedMs)
  }

  /**
   * Slurm, and a shell that kills a group, send SIGTERM to the agent and its processes alike, in any order. Then no task is
   * to blame for the end of a worker, and others get it. Who ends a worker alone ends its task.
   */
  async #afterSignal(job: RelayJob, answers: Answer[]): Promise<Answer[]> {
    if (!this.#isLeaving) {
      await new Promise(resolve => {
        setTimeout(resolve, signalMsMax)
      })
    }
    return this.#isLeaving ? job.withoutTerminated(answers) : answers
  }

  async #answer(held: Held, answers: Answer[], more: Pick<ResultHead, 'isCodeGone'> = {}): Promise<void> {
    const { name } = held
    const subject = this.names.result(name)
    const { head, frames } = this.#result(answers)
    Object.assign(head, more, held.place ? { place: held.place } : {})
    let letter: { bytes: Uint8Array } | undefined
    await this.#untilWritten(held, async () => {
      letter ??= await this.#post.write(subject, {
        name: `${name.session}-${name.chunkId}-r${held.delivery.sequence}`,
        head,
        frames,
      })
      await this.#nats.writer.write(subject, letter.bytes, {
        msgID: `${name.session}.${name.chunkId}.${held.delivery.sequence}`,
      })
    })
    this.#end(held)
  }

  #result(answers: readonly Answer[]): { head: ResultHead; frames: Uint8Array[] } {
    const { agent } = this.#host.facts()
    const attached: number[] = []
    const frames: Uint8Array[] = []
    for (const { bodies } of answers) {
      for (const { bytes, attachments = [] } of bodies) {
        // What got lost on its way here has no bytes; whoever decodes the body says so.
        const beside = attachments.map(
          item => new Uint8Array((item as ArrayBuffer | undefined) ?? new ArrayBuffer(0)),
        )
        attached.push(beside.length)
        frames.push(bytes, ...beside)
      }
    }
    return { head: { agent, messages: answers.map(({ message }) => message), attached }, frames }
  }

  #report({ session }: ChunkName, { message, bodies }: Answer): void {
    if (message.type !== 'report' || this.#nats.connection.isClosed()) return
    const { head, frames } = this.#result([{ message, bodies }])
    const note: ReportHead = { report: message, attached: head.attached }
    const subject = this.names.reports(session)
    const bytes = this.#post.note(subject, note, frames)
    // What is only looked at is never worth storing.
    if (bytes.length <= this.#nats.inlineBytesMax) this.#nats.connection.publish(subject, bytes)
  }

  /** Writes for as long as the lease is held: a server that is away comes back, or the agent ends. */
  async #untilWritten(held: Held, write: () => Promise<void>): Promise<void> {
    while (this.#isHeld(held)) {
      try {
        await write()
        return
      } catch (error) {
        // Nobody can take the result any more: the streams of the pool were deleted.
        if (isNotFound(error)) return
        if (isForbidden(error)) this.#warnings.ofRights(error as Error)
        await new Promise<void>(resolve => {
          setTimeout(resolve, betweenPublishesMs).unref()
        })
      }
    }
  }

  /** The chunk has used up its deliveries: what took it ended, or has another key. It is kept for people to look at. */
  async #bury(held: Held, why: 'delivered' | 'forged'): Promise<void> {
    const { name, delivery } = held
    const letter = why === 'delivered' ? await this.#post.read(delivery.subject, delivery.bytes) : 'forged'
    await this.#untilWritten(held, async () => {
      const bytes = delivery.bytes.length <= deadBytesMax ? delivery.bytes : new Uint8Array()
      await this.#nats.writer.write(this.names.deadLetter(name), bytes, {
        msgID: `dead.${delivery.sequence}`,
      })
    })
    if (typeof letter === 'object') {
      const { chunk } = letter.head as WorkHead
      held.place = placeOf(chunk)
      await this.#answer(held, lastWords(chunk, delivery.deliveries))
      return
    }
    await this.#untilWritten(held, async () => {
      const refusal = JSON.stringify({ refused: 'another key' })
      await this.#nats.writer.write(this.names.result(name), refusal, {
        msgID: `refused.${delivery.sequence}`,
      })
    })
    this.#end(held)
  }

  #isHeld(held: Held): boolean {
    const { session, chunkId } = held.name
    return this.#held.get(`${session}.${chunkId}`) === held
  }

  /** It is done. */
  #end(held: Held): void {
    if (!this.#isHeld(held)) return
    held.delivery.ack()
    this.#finished.add(held.delivery.sequence)
    if (this.#finished.size > finishedMax) this.#finished.delete(this.#finished.values().next().value!)
    this.#forget(held)
  }

  /** Somebody else is to have it. */
  #letGo(held: Held, { delayMs }: { delayMs: number }): void {
    if (!this.#isHeld(held)) return
    held.delivery.giveBack(delayMs)
    this.#forget(held)
  }

  #forget({ name, delivery }: Held): void {
    this.#held.delete(`${name.session}.${name.chunkId}`)
    this.#heldBytes -= delivery.bytes.length
    if (this.#held.size === 0) this.#onEmpty?.()
    this.#host.onRoom(0)
  }
}
