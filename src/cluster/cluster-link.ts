/**
 * Carries the chunks of one program's pool to the streams of the cluster, and what agents answer back to the pool.
 * Invariant: each chunk that was taken is answered once, whatever happens to agents and servers, or the link ends with
 * an error that says why. The protocol is told step by step in README.md.
 */
import { randomBytes } from 'node:crypto'
import { AuthenticationError, ClusterError } from '../errors.ts'
import type { Link, LinkEvents } from '../pool/elsewhere.ts'
import type { ClusterSettings } from '../pool/cluster-option.ts'
import type { Body, ChunkHead, FromWorker, ToWorker } from '../pool/protocol.ts'
import { encodeThrown } from '../serialize/codec.ts'
import { AgentsView } from './agents-view.ts'
import { ClusterTables } from './cluster-tables.ts'
import { ConnectionWatch } from './connection-watch.ts'
import { type Nats, closeNats, connectionError, serverError } from './nats-client.ts'
import { PoolNames, levelOf } from './names.ts'
import { PayloadStore, hashOf } from './payload-store.ts'
import { type PoolRules, isNotFound } from './pool-streams.ts'
import { Post, bodiesIn } from './post.ts'
import { ResultFeed } from './result-feed.ts'
import type { SentChunk, SentCode } from './sent-chunk.ts'
import {
  type ControlHead,
  type ReportHead,
  type ResultHead,
  type WorkHead,
  codeName,
} from './work-message.ts'

/** A shorter function goes along with each chunk. */
const inlineCodeBytesMax = 4096
/** Stored code is deleted by the server after a day. */
const codeMsMax = 12 * 3600_000
const chunksMin = 4
const chunksPerProcess = 2
/** After so long without an agent a program is warned. */
const warnAfterMs = 10_000
const betweenPublishesMs = 200
const checkEveryMs = 1000
/** A chunk that so often was refused by agents with another key fails although others have the right one. */
const refusalsMax = 20
/** A chunk that no server has taken for so many times `connectionTimeout` fails, although it keeps coming back. */
const absencesMax = 10
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
  readonly #code = new Map<number, SentCode>()
  /** In the order in which they were taken. */
  readonly #open = new Map<number, SentChunk>()
  readonly #timer: NodeJS.Timeout
  #feed: ResultFeed | undefined
  #newest = 0
  #bufferedBytes = 0
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
    this.#names = new PoolNames(settings.poolName)
    this.#post = new Post(settings.key, nats, new PayloadStore(nats, this.#names))
    this.#agents = new AgentsView(nats, this.#names, { post: this.#post, onChange: () => this.#noteAgents() })
    this.#watch = new ConnectionWatch(nats, {
      awayMsMax: settings.connectionMsMax,
      onBack: () => this.#back(),
      onLost: () =>
        this.#fail(connectionError(settings, `it has been away for ${settings.connectionMsMax} ms`)),
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
    const session = randomBytes(12).toString('hex')
    const link = new ClusterLink({ settings, events, nats, rules, session })
    try {
      link.#feed = await ResultFeed.open(nats, link.#names, {
        session,
        settings,
        events: {
          onResult: (chunkId, subject, bytes) => void link.#receive(chunkId, subject, bytes),
          oldestOpen: () => link.#open.keys().next().value,
          newest: () => link.#newest,
        },
      })
      return link
    } catch (error) {
      link.#release()
      throw error
    }
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes
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
        this.#endIfDone()
        return
      case 'pin':
      case 'recall':
        throw new Error(`This is a bug in multiproc, please report it: a cluster was asked to "${head.type}"`)
    }
  }

  kill({ isHard }: { isHard: boolean }): void {
    if (this.#isEnded) return
    if (!isHard) this.#callOff({ session: this.#session, graceMs: 1000 })
    this.#end()
  }

  // ---- Sending ----

  #takeChunk(head: ChunkHead, bodies: Body[]): void {
    const level = levelOf(head.elsewhere?.priority ?? 0)
    const { chunkId } = head
    this.#newest = chunkId
    const chunk: SentChunk = {
      head,
      bodies,
      code: this.#code.get(head.functionId)!,
      level,
      subject: this.#names.task(level, { session: this.#session, chunkId }),
      isPublishing: false,
      sentAtMs: performance.now(),
      sends: 0,
      storedName: undefined,
      refusals: 0,
      isArriving: false,
    }
    this.#open.set(chunkId, chunk)
    if (this.#agents.processes === 0) this.#aloneSinceMs ??= performance.now()
    void this.#publish(chunk)
  }

  async #publish(chunk: SentChunk): Promise<void> {
    if (chunk.isPublishing) return
    chunk.isPublishing = true
    chunk.sends++
    let bytesHere = 0
    for (const { bytes } of chunk.bodies) bytesHere += bytes.length
    this.#bufferedBytes += bytesHere
    try {
      await this.#publishUntilTaken(chunk)
    } finally {
      this.#bufferedBytes -= bytesHere
      chunk.isPublishing = false
      chunk.sentAtMs = performance.now()
      // It was called off, or answered after all, while it went out.
      if (!this.#isOpen(chunk)) this.#withdraw(chunk)
    }
  }

  async #publishUntilTaken(chunk: SentChunk): Promise<void> {
    const beganMs = performance.now()
    const { chunkId } = chunk.head
    let letter: { bytes: Uint8Array } | undefined
    while (this.#isOpen(chunk)) {
      try {
        letter ??= await this.#write(chunk)
        const msgID = `${this.#session}.${chunkId}.${chunk.sends}`
        await this.#nats.publisher.publish(chunk.subject, letter.bytes, { msgID })
        return
      } catch (error) {
        const isFull = error instanceof Error && /maximum (?:messages|bytes)/.test(error.message)
        if (!isFull && !this.#watch.isAway && this.#isLate(beganMs)) {
          this.#fail(serverError('it takes no work', error))
          return
        }
        if (isFull) this.#warn('full', 'the cluster has as much work as it takes, and this program waits')
        await new Promise<void>(resolve => {
          setTimeout(resolve, betweenPublishesMs)
        })
      }
    }
  }

  /**
   * Of the time in which the server takes nothing, that does not count in which it was away: it may be back since a
   * moment ago only, and what was sent before is lost. But it cannot come and go for ever.
   */
  #isLate(beganMs: number): boolean {
    const { connectionMsMax } = this.#settings
    const nowMs = performance.now()
    const hereMs = nowMs - Math.max(beganMs, this.#watch.backSinceMs)
    return hereMs > connectionMsMax || nowMs - beganMs > absencesMax * connectionMsMax
  }

  async #write(chunk: SentChunk): Promise<{ bytes: Uint8Array }> {
    const { code, head, bodies } = chunk
    const isInline = code.bytes.length <= inlineCodeBytesMax
    if (!isInline) await this.#storeCode(code)
    const work: WorkHead = {
      chunk: head,
      code: { hash: code.hash, byteLength: code.bytes.length, isInline },
    }
    const letter = await this.#post.write(chunk.subject, {
      name: `${this.#session}-${head.chunkId}-${chunk.sends}`,
      head: work,
      frames: [...(isInline ? [code.bytes] : []), ...bodies.map(({ bytes }) => bytes)],
    })
    chunk.storedName = letter.storedName
    return letter
  }

  async #storeCode(code: SentCode): Promise<void> {
    if (code.storedAtMs !== undefined && performance.now() - code.storedAtMs < codeMsMax) return
    code.storing ??= (async () => {
      try {
        await this.#post.payloads.put(codeName(code.hash), code.bytes)
        code.storedAtMs = performance.now()
      } finally {
        code.storing = undefined
      }
    })()
    await code.storing
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
    this.#purge(chunk.subject)
    if (chunk.storedName !== undefined) this.#post.payloads.delete(chunk.storedName)
  }

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
      else if (letter === 'gone') void this.#publish(chunk)
      else {
        if (letter.storedName !== undefined) this.#post.payloads.delete(letter.storedName)
        this.#answer(chunk, letter.head as ResultHead, letter.frames)
      }
    } catch {
      // The server has gone away while what was stored was read: it is told again after the reconnection.
    } finally {
      chunk.isArriving = false
    }
  }

  #answer(chunk: SentChunk, { messages, attached, isCodeGone }: ResultHead, frames: Uint8Array[]): void {
    if (isCodeGone) chunk.code.storedAtMs = undefined
    const { chunkId } = chunk.head
    const bodies: Body[] = bodiesIn(frames, attached)
    this.#close(chunk)
    if (chunk.storedName !== undefined) this.#post.payloads.delete(chunk.storedName)
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
      void this.#publish(chunk)
      return
    }
    const error = new AuthenticationError(
      `No agent of the pool "${this.#names.pool}" has run the work of this program: they have another key\nTo fix: give programs and agents of the pool the same MULTIPROC_AUTH_KEY`,
      { reason: 'another key' },
    )
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
    const chunksMax = Math.max(chunksMin, processes * chunksPerProcess)
    this.#events.noteMachines({ processes: Math.max(1, processes), chunksMax })
  }

  #back(): void {
    this.#agents.callRoll()
    void this.#feed?.replay()
  }

  /** Looks for what should not happen: no agents, and chunks that nobody has. */
  async #check(): Promise<void> {
    this.#checkAgents()
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

  /**
   * A chunk is in the stream until an agent has written its result. One that is in neither was lost: with a stream that
   * somebody deleted, or by an agent that said so and wrote nothing. It is sent again.
   */
  async #checkOldest(): Promise<void> {
    const dueMs = performance.now() - 3 * this.#rules.leaseMs
    const old: SentChunk[] = []
    for (const chunk of this.#open.values()) {
      if (old.length >= checkedMax) break
      if (!chunk.isPublishing && !chunk.isArriving && chunk.sentAtMs < dueMs) old.push(chunk)
    }
    for (const chunk of old) {
      chunk.sentAtMs = performance.now()
      if (await this.#isQueued(chunk)) continue
      // Its result may be among those that are being read again, and then it need not run again.
      if (!(await this.#feed?.replay())) return
      if (this.#isOpen(chunk) && !chunk.isArriving) void this.#publish(chunk)
    }
  }

  async #isQueued({ subject }: SentChunk): Promise<boolean> {
    try {
      const query = { last_by_subj: subject }
      return (await this.#nats.manager.streams.getMessage(this.#names.tasks, query)) !== null
    } catch (error) {
      if (isNotFound(error)) return false
      throw error
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
    if (this.#open.size === 0) this.#aloneSinceMs = undefined
  }

  #endIfDone(): void {
    if (this.#isStopping && this.#open.size === 0) this.#end()
  }

  #fail(error: ClusterError): void {
    if (this.#isEnded) return
    this.#callOff({ session: this.#session, graceMs: 1000 })
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
    this.#feed?.close()
    this.#open.clear()
  }
}
