/**
 * Carries the chunks of one program's pool to the streams of the cluster, and what agents answer back to the pool.
 * Invariant: each chunk that was taken is answered once, whatever happens to agents and servers, or the link ends with
 * an error that says why. The protocol is told step by step in README.md.
 */
import { randomBytes } from 'node:crypto'
import { AuthenticationError, ClusterError } from '../errors.ts'
import { type Link, type LinkEvents, type Machine, chunksPerProcessMin } from '../pool/elsewhere.ts'
import type { ClusterSettings } from '../pool/cluster-option.ts'
import type { Body, ChunkHead, FromWorker, ToWorker } from '../pool/protocol.ts'
import { encodeThrown } from '../serialize/codec.ts'
import { adoptedChunks, takenOver } from './adopted-chunks.ts'
import { AgentsView } from './agents-view.ts'
import { ChunkPublisher } from './chunk-publisher.ts'
import { ClusterTables } from './cluster-tables.ts'
import { ConnectionWatch } from './connection-watch.ts'
import { LookAhead } from './look-ahead.ts'
import { LostChunks } from './lost-chunks.ts'
import { type Nats, closeNats, connectionError, serverError } from './nats-client.ts'
import { PoolNames, levelOf } from './names.ts'
import type { KeptJob } from '../pool/kept-call.ts'
import { describeRequirements, requirementsIn } from '../pool/requirements.ts'
import { PayloadStore, hashOf } from './payload-store.ts'
import type { PoolRules } from './pool-streams.ts'
import { Post, bodiesIn } from './post.ts'
import { laneOf } from './requirement-classes.ts'
import { ResultFeed } from './result-feed.ts'
import type { SentChunk, SentCode } from './sent-chunk.ts'
import { UnmetRequirements } from './unmet-requirements.ts'
import { type ControlHead, type DriverHead, type ReportHead, type ResultHead } from './work-message.ts'

/** After so long without an agent a program is warned. */
const warnAfterMs = 10_000
const checkEveryMs = 1000
/** A chunk that so often was refused by agents with another key fails although others have the right one. */
const refusalsMax = 20
/** How many of the oldest chunks are looked for at once. */
const checkedMax = 16

type CancelHead = Extract<ToWorker, { type: 'cancel' }>

export class ClusterLink implements Link {
  readonly #settings: ClusterSettings
  readonly #events: LinkEvents
  readonly #nats: Nats
  readonly #names: PoolNames
  readonly #rules: PoolRules
  readonly #post: Post
  readonly #session: string
  readonly #agents: AgentsView
  readonly #watch: ConnectionWatch
  readonly #tables: ClusterTables
  readonly #publisher: ChunkPublisher
  /** Set when other programs can go on with what this one sends. */
  readonly #kept: KeptJob | undefined
  readonly #unmet: UnmetRequirements
  readonly #code = new Map<number, SentCode>()
  /** In the order in which they were taken. */
  readonly #open = new Map<number, SentChunk>()
  readonly #timer: NodeJS.Timeout
  #feed: ResultFeed | undefined
  #newest = 0
  /** What `#open` has, to be kept until it is answered. */
  #openBytes = 0
  readonly #ahead = new LookAhead({ longMs: Infinity })
  #perProcess = 0
  #aloneSinceMs: number | undefined
  #isStopping = false
  #isEnded = false
  #hasWarned = new Set<string>()
  #isChecking = false

  private constructor({
    settings,
    events,
    nats,
    rules,
    session,
  }: {
    settings: ClusterSettings
    events: LinkEvents
    nats: Nats
    rules: PoolRules
    session: string
  }) {
    this.#settings = settings
    this.#events = events
    this.#nats = nats
    this.#rules = rules
    this.#session = session
    this.#kept = settings.kept
    this.#names = new PoolNames(settings.poolName)
    this.#post = new Post(settings.key, nats, new PayloadStore(nats, this.#names))
    this.#publisher = this.#newPublisher()
    this.#unmet = new UnmetRequirements(settings.agentMsMax)
    this.#agents = new AgentsView(nats, this.#names, { post: this.#post, onChange: () => this.#noteAgents() })
    this.#watch = new ConnectionWatch(nats, {
      awayMsMax: settings.connectionMsMax,
      onBack: () => this.#back(),
      onLost: () =>
        this.#fail(
          connectionError(settings, `it has been away for ${settings.connectionMsMax} ms`, nats.refusal()),
        ),
    })
    this.#tables = this.#openTables()
    const reports = this.#names.reports(session)
    nats.connection.subscribe(reports, {
      callback: (error, message) => {
        if (!error) this.#report(reports, message.data)
      },
    })
    const { control } = this.#names
    nats.connection.subscribe(control, {
      callback: (error, message) => {
        if (!error) this.#control(message.data)
      },
    })
    // Stopped in #end().
    this.#timer = setInterval(() => void this.#check(), checkEveryMs).unref()
  }

  /** @throws when the server goes away meanwhile. */
  static async open(
    settings: ClusterSettings,
    events: LinkEvents,
    { nats, rules }: { nats: Nats; rules: PoolRules },
  ): Promise<ClusterLink> {
    const { kept } = settings
    const session = kept?.session ?? randomBytes(12).toString('hex')
    const link = new ClusterLink({ settings, events, nats, rules, session })
    try {
      if (kept) link.#adopt(kept)
      link.#feed = await ResultFeed.open(nats, link.#names, {
        session,
        settings,
        keptFrom: kept?.fromSequence,
        events: {
          onOther: (subject, bytes) => link.#hearDriver(subject, bytes),
          onResult: (chunkId, subject, bytes) => void link.#receive(chunkId, subject, bytes),
          oldestOpen: () => link.#open.keys().next().value,
          newest: () => link.#newest,
        },
      })
      // What was written before: results, and that yet another program goes on.
      if (kept) void link.#feed.replay()
      return link
    } catch (error) {
      link.#release()
      throw error
    }
  }

  get bufferedBytes(): number {
    return this.#publisher.bufferedBytes
  }

  take(head: ToWorker, bodies: Body[]): void {
    if (this.#isEnded) return
    switch (head.type) {
      case 'initialize':
        this.#events.emit({ type: 'ready', bodies: 0, initMs: 0 }, [])
        return
      case 'function': {
        const { bytes } = bodies[0]!
        const code = { bytes, hash: hashOf(bytes), storedAtMs: undefined, storing: undefined }
        this.#code.set(head.functionId, code)
        return
      }
      case 'forget':
        this.#code.delete(head.functionId)
        return
      case 'chunk':
        this.#takeChunk(head, bodies)
        return
      case 'cancel':
        this.#cancel(head)
        return
      case 'stop':
        this.#isStopping = true
        // What is left of a call that is done belongs to nobody.
        if (this.#kept) this.#end()
        else this.#endIfDone()
        return
      case 'pin':
      case 'recall':
        throw new Error(`This is a bug in multiproc, please report it: a cluster was asked to "${head.type}"`)
    }
  }

  kill({ isHard }: { isHard: boolean }): void {
    if (this.#isEnded) return
    if (!isHard && !this.#kept) this.#callOff({ session: this.#session, graceMs: 1000 })
    this.#end()
  }

  // ---- Sending ----

  #takeChunk(head: ChunkHead, bodies: Body[]): void {
    const level = levelOf(head.elsewhere?.priority ?? 0)
    const { chunkId } = head
    const key = head.elsewhere?.requires
    const requires = key === undefined ? undefined : requirementsIn(key)
    this.#newest = chunkId
    const chunk: SentChunk = {
      head,
      bodies,
      code: this.#code.get(head.functionId)!,
      level,
      requires,
      subject: this.#names.task(laneOf(level, key), { session: this.#session, chunkId }),
      isAdopted: false,
      isPublishing: false,
      byteLength: bodies.reduce((sum, { bytes }) => sum + bytes.length, 0),
      sentAtMs: performance.now(),
      sends: 0,
      storedName: undefined,
      refusals: 0,
      isArriving: false,
    }
    this.#open.set(chunkId, chunk)
    this.#openBytes += chunk.byteLength
    this.#noteRoom()
    if (this.#agents.processes === 0) this.#aloneSinceMs ??= performance.now()
    const failure = requires && this.#unmet.failureOf(chunk, this.#present)
    if (failure) {
      // Not at once: who is told sends more of the same.
      setImmediate(() => this.#failChunk(chunk, failure))
      return
    }
    this.#publish(chunk)
  }

  #newPublisher(): ChunkPublisher {
    return new ChunkPublisher(
      { nats: this.#nats, names: this.#names, post: this.#post, leaseMs: this.#rules.leaseMs },
      this.#settings,
      {
        session: this.#session,
        isAway: () => this.#watch.isAway,
        backSinceMs: () => this.#watch.backSinceMs,
        isOpen: chunk => this.#isOpen(chunk),
        withdraw: chunk => this.#withdraw(chunk),
        failed: (chunk, error) => this.#failChunk(chunk, error),
        onStuck: error => this.#fail(serverError('it takes no work', error)),
        onFull: () => this.#warn('full', 'the cluster has as much work as it takes, and this program waits'),
      },
    )
  }

  #publish(chunk: SentChunk): void {
    if (chunk.isAdopted) this.#sendAnew(chunk)
    else void this.#publisher.publish(chunk)
  }

  // ---- What programs before have sent of this call ----

  /** Takes over what another program has sent. Its results are read again from the first. */
  #adopt(kept: KeptJob): void {
    for (const chunk of adoptedChunks(kept, this.#names)) {
      this.#newest = chunk.head.chunkId
      this.#open.set(this.#newest, chunk)
    }
    if (this.#open.size > 0 && this.#agents.processes === 0) this.#aloneSinceMs = performance.now()
  }

  /** It is lost, and this program has other bodies for its items. */
  #sendAnew(chunk: SentChunk): void {
    if (!this.#isOpen(chunk)) return
    const { chunkId, count, elsewhere } = chunk.head
    this.#close(chunk)
    const { isSolo, deaths } = elsewhere!
    this.#events.emit({ type: 'again', bodies: 0, chunkId, count, isSolo, deaths }, [])
  }

  /** Another program goes on with the call. */
  #hearDriver(subject: string, bytes: Uint8Array): void {
    const kept = this.#kept
    if (!kept || subject !== this.#names.driver(this.#session)) return
    const driver = this.#post.readNote(subject, bytes)?.head as DriverHead | undefined
    if (!driver || driver.epoch <= kept.epoch) return
    this.#fail(takenOver(kept.jobId, driver))
  }

  // ---- Calling off ----

  #cancel({ chunkId, indexes, graceMs }: CancelHead): void {
    const chunk = this.#open.get(chunkId)
    if (!chunk) return
    this.#callOff({
      session: this.#session,
      chunkId,
      ...(indexes === undefined ? {} : { indexes }),
      ...(graceMs === undefined ? {} : { graceMs }),
    })
    if (indexes !== undefined) return
    // Its job has been told. Whatever an agent still says of it is of no interest.
    this.#close(chunk)
    this.#withdraw(chunk)
    queueMicrotask(() => {
      this.#events.emit({ type: 'skipped', bodies: 0, chunkId, count: chunk.head.count }, [])
      this.#endIfDone()
    })
  }

  #callOff(control: ControlHead): void {
    if (this.#nats.connection.isClosed()) return
    const { control: subject } = this.#names
    this.#nats.connection.publish(subject, this.#post.note(subject, control))
    if (control.chunkId === undefined) this.#purge(this.#names.tasksOf(this.#session))
  }

  /** Nobody has to run it any more. */
  #withdraw(chunk: SentChunk): void {
    this.#purge(this.#names.taskOnAnyLane({ session: this.#session, chunkId: chunk.head.chunkId }))
    if (chunk.storedName !== undefined) this.#post.payloads.delete(chunk.storedName)
  }

  /**
   * With "any lane" in the filter. When a message is purged by its very subject while an agent has it, nats-server
   * (2.15.1) forgets what else agents have on that lane: should they die, it is never delivered again. Consumers whose
   * filter does not cover that of the purge are left alone.
   */
  #purge(filter: string): void {
    // What is left of it after a failure is run for nothing.
    this.#nats.manager.streams.purge(this.#names.tasks, { filter }).catch(() => {})
  }

  // ---- Receiving ----

  async #receive(chunkId: number, subject: string, bytes: Uint8Array): Promise<void> {
    const chunk = this.#open.get(chunkId)
    // It came before, or was called off.
    if (!chunk || chunk.isArriving) return
    chunk.isArriving = true
    try {
      const letter = await this.#post.read(subject, bytes)
      if (!this.#isOpen(chunk)) return
      if (letter === 'forged') this.#doubt(chunk, bytes)
      // A result that cannot be read any more is as good as none: the chunk runs again.
      else if (letter === 'gone') this.#publish(chunk)
      else {
        if (letter.storedName !== undefined && !this.#kept) this.#post.payloads.delete(letter.storedName)
        this.#answer(chunk, letter.head as ResultHead, letter.frames)
      }
    } catch {
      // The server has gone away while what was stored was read: it is told again after the reconnection.
    } finally {
      chunk.isArriving = false
    }
  }

  #answer(chunk: SentChunk, { messages, attached, isCodeGone }: ResultHead, frames: Uint8Array[]): void {
    if (isCodeGone) this.#publisher.codeIsGone(chunk.code)
    const { chunkId } = chunk.head
    const bodies: Body[] = bodiesIn(frames, attached)
    this.#close(chunk)
    if (chunk.storedName !== undefined) this.#post.payloads.delete(chunk.storedName)
    let elapsedMs = 0
    for (const message of messages) if ('elapsedMs' in message) elapsedMs += message.elapsedMs
    if (elapsedMs > 0) this.#ahead.note(elapsedMs)
    this.#noteRoom()
    let at = 0
    for (const message of messages) {
      const own = bodies.slice(at, at + message.bodies)
      at += message.bodies
      if ('chunkId' in message && message.chunkId === chunkId) this.#events.emit(message, own)
    }
    this.#endIfDone()
  }

  /** A message that has no right seal: of somebody who has another key, or who has none and lies. */
  #doubt(chunk: SentChunk, bytes: Uint8Array): void {
    const text = bytes.length < 1024 ? Buffer.from(bytes).toString('utf8') : ''
    if (!text.startsWith('{"refused"')) {
      this.#warn('forged', 'a result without the right seal was not taken')
      return
    }
    if (this.#agents.processes > 0 && ++chunk.refusals < refusalsMax) {
      // Those who have the key were busy, and others used up its deliveries.
      this.#warn(
        'strangers',
        'agents with another key took its work, and it is sent again for those with the right one\nTo fix: give all agents of the pool the same MULTIPROC_AUTH_KEY',
      )
      this.#publish(chunk)
      return
    }
    const error = new AuthenticationError(
      `No agent of the pool "${this.#names.pool}" has run the work of this program: they have another key\nTo fix: give programs and agents of the pool the same MULTIPROC_AUTH_KEY`,
      { reason: 'another key' },
    )
    this.#failChunk(chunk, error)
  }

  /** All of its items fail. */
  #failChunk(chunk: SentChunk, error: Error): void {
    if (!this.#isOpen(chunk)) return
    const { chunkId, count } = chunk.head
    this.#close(chunk)
    for (let index = 0; index < count; index++) {
      const failure: FromWorker = { type: 'failure', bodies: 1, chunkId, index, elapsedMs: 0 }
      this.#events.emit(failure, [{ bytes: encodeThrown(error) }])
    }
    this.#endIfDone()
  }

  #report(subject: string, bytes: Uint8Array): void {
    const note = this.#post.readNote(subject, bytes)
    if (!note) return
    const { report, attached } = note.head as ReportHead
    if (report.type === 'report' && this.#open.has(report.chunkId))
      this.#events.emit(report, bodiesIn(note.frames, attached))
  }

  /** What other programs call off of their own is for agents. */
  #control(bytes: Uint8Array): void {
    const { control: subject, pool } = this.#names
    const control = this.#post.readNote(subject, bytes)?.head as ControlHead | undefined
    if (control?.session !== this.#session || !control.isByOthers) return
    this.#fail(
      new ClusterError(
        'ERR_TERMINATED',
        `The work of this program for the pool "${pool}" was called off by "multiproc cluster cancel"\nTo fix: make a new pool, if the work is to be done after all`,
      ),
    )
  }

  // ---- Watching ----

  /** Closed in #end(). */
  #openTables(): ClusterTables {
    const open = this.#open
    return new ClusterTables({
      nats: this.#nats,
      names: this.#names,
      session: this.#session,
      agents: this.#agents,
      openChunks: () => open.values(),
      get openCount() {
        return open.size
      },
    })
  }

  #noteAgents(): void {
    const { processes } = this.#agents
    if (processes > 0) this.#aloneSinceMs = undefined
    else if (this.#open.size > 0) this.#aloneSinceMs ??= performance.now()
    this.#events.noteMachines(this.#agents.all)
  }

  /** Says how many chunks may be on their way for each process, when that has changed. */
  #noteRoom(): void {
    const perProcess = Math.max(chunksPerProcessMin, this.#ahead.perProcess(this.#openBytes))
    if (perProcess === this.#perProcess) return
    this.#perProcess = perProcess
    this.#events.noteLookAhead(perProcess)
  }

  #back(): void {
    this.#agents.callRoll()
    void this.#feed?.replay()
  }

  /** Looks for what should not happen: no agents, and chunks that nobody has. */
  async #check(): Promise<void> {
    this.#checkAgents()
    this.#checkRequirements()
    if (this.#watch.isAway || this.#isChecking || this.#isEnded) return
    this.#isChecking = true
    try {
      await this.#checkOldest()
    } catch {
      // The server is away: it is looked again when it is back.
    } finally {
      this.#isChecking = false
    }
  }

  #checkAgents(): void {
    if (this.#aloneSinceMs === undefined || this.#open.size === 0) return
    const aloneMs = performance.now() - this.#aloneSinceMs
    const { agentMsMax } = this.#settings
    const { pool } = this.#names
    if (aloneMs > agentMsMax) {
      this.#fail(
        new ClusterError(
          'ERR_CLUSTER_NO_AGENTS',
          `No agent has served the pool "${pool}" for ${agentMsMax} ms, so its work was not run\nTo fix: start one with the same key (multiproc worker --cluster URL --pool ${pool}), or allow more time with "agentTimeout"`,
        ),
      )
    } else if (aloneMs > Math.min(warnAfterMs, agentMsMax / 2)) {
      this.#warn('alone', 'no agent with the same key serves it, and its work waits')
    }
  }

  /** Work that needs what no agent has. Without any agent the pool as a whole waits. */
  #checkRequirements(): void {
    if (this.#agents.processes === 0) return
    const warnMs = Math.min(warnAfterMs, this.#settings.agentMsMax / 2)
    const open = Array.from(this.#open.values())
    const { failed, late } = this.#unmet.look(open, { ...this.#present, warnAfterMs: warnMs })
    // The kinds of work are kept for as long as something of them waits.
    for (const { requires } of open)
      if (requires) void this.#publisher.classes.ensure(requires).catch(() => {})
    for (const requires of late) {
      const what = describeRequirements(requires)
      this.#warn(`unmet ${what}`, `no agent has what tasks require (${what}), and these wait`)
    }
    for (const [chunk, error] of failed) {
      this.#withdraw(chunk)
      this.#failChunk(chunk, error)
    }
  }

  get #present(): { machines: readonly Machine[]; pool: string } {
    return { machines: this.#agents.all, pool: this.#names.pool }
  }

  /**
   * A chunk is in the stream until an agent has written its result. One that is in neither was lost: with a stream that
   * somebody deleted, or by an agent that said so and wrote nothing. So was one that the server has forgotten to give out.
   * It is sent again.
   */
  async #checkOldest(): Promise<void> {
    const dueMs = performance.now() - 3 * this.#rules.leaseMs
    const old: SentChunk[] = []
    for (const chunk of this.#open.values()) {
      if (old.length >= checkedMax) break
      if (!chunk.isPublishing && !chunk.isArriving && chunk.sentAtMs < dueMs) old.push(chunk)
    }
    const look = new LostChunks(this.#nats, this.#names)
    for (const chunk of old) {
      chunk.sentAtMs = performance.now()
      if (!(await look.isLost(chunk.subject))) continue
      // Its result may be among those that are being read again, and then it need not run again.
      if (!(await this.#feed?.replay())) return
      if (this.#isOpen(chunk) && !chunk.isArriving) this.#publish(chunk)
    }
  }

  #warn(kind: string, what: string): void {
    if (this.#hasWarned.has(kind)) return
    this.#hasWarned.add(kind)
    process.emitWarning(`The pool "${this.#names.pool}": ${what}`, 'ClusterWarning')
  }

  // ---- The end ----

  #isOpen(chunk: SentChunk): boolean {
    return !this.#isEnded && this.#open.get(chunk.head.chunkId) === chunk
  }

  #close(chunk: SentChunk): void {
    this.#open.delete(chunk.head.chunkId)
    this.#openBytes -= chunk.byteLength
    if (this.#open.size === 0) this.#aloneSinceMs = undefined
  }

  /** Nobody can go on with it any more. */
  #forgetJob({ storedName }: KeptJob): void {
    this.#callOff({ session: this.#session, graceMs: 1000 })
    this.#feed?.purge()
    if (storedName !== undefined) this.#post.payloads.delete(storedName)
  }

  #endIfDone(): void {
    if (this.#isStopping && this.#open.size === 0) this.#end()
  }

  #fail(error: ClusterError): void {
    if (this.#isEnded) return
    if (!this.#kept) this.#callOff({ session: this.#session, graceMs: 1000 })
    this.#end(error)
  }

  #end(error?: ClusterError): void {
    if (this.#isEnded) return
    this.#release()
    void closeNats(this.#nats)
    this.#events.ended(error)
  }

  #release(): void {
    this.#isEnded = true
    clearInterval(this.#timer)
    this.#tables.close()
    this.#agents.close()
    this.#watch.close()
    if (this.#kept?.isCalledOff) this.#forgetJob(this.#kept)
    this.#feed?.close()
    this.#open.clear()
  }
}
