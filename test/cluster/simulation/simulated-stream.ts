/**
 * A stream of JetStream, and the consumers of one: as much of them as a pool uses, with the rules of nats-server 2.11 and
 * newer. Invariant: a message is in the stream until it is acknowledged, purged or too old, and given to one at a time.
 */
import type { VirtualTime } from './virtual-time.js'

export interface StoredMessage {
  sequence: number
  subject: string
  data: Uint8Array
}

export interface StreamConfig {
  name: string
  subjects: string[]
  max_msgs?: number
  duplicate_window: number
  num_replicas?: number
  metadata?: Record<string, string>
}

export interface ConsumerConfig {
  durable_name?: string
  filter_subject: string
  ack_wait?: number
  opt_start_seq?: number
}

/** Somebody who has asked for messages. */
export interface Pull {
  left: number
  give(message: StoredMessage, place: { deliveries: number; sequence: number }): void
  /** Whether it is still there to be given something. */
  isThere(): boolean
}

/** What the client makes of an answer that is an error. */
export class SimulatedApiError extends Error {
  override readonly name = 'JetStreamApiError'
  readonly code: number
  readonly status: number

  constructor(message: string, { code, status }: { code: number; status: number }) {
    super(message)
    this.code = code
    this.status = status
  }
}

/** So many can be forgotten at most. */
const ACKNOWLEDGED_MAX = 1000

export function matches(filter: string, subject: string): boolean {
  if (filter === subject) return true
  const [wanted, parts] = [filter.split('.'), subject.split('.')]
  for (const [index, part] of wanted.entries()) {
    if (part === '>') return parts.length > index
    if (part !== '*' && part !== parts[index]) return false
  }
  return wanted.length === parts.length
}

export class SimulatedStream {
  readonly config: StreamConfig
  readonly messages = new Map<number, StoredMessage>()
  readonly consumers = new Map<string, SimulatedConsumer>()
  lastSequence = 0
  largest = 0
  readonly #time: VirtualTime
  readonly #acknowledged: { message: StoredMessage; atMs: number }[] = []
  /** The newest message of each subject, for as long as it is there. */
  readonly #bySubject = new Map<string, number>()
  /** In the order of their age. */
  readonly #ids = new Map<string, { sequence: number; atMs: number }>()

  constructor(time: VirtualTime, config: StreamConfig) {
    this.#time = time
    this.config = config
  }

  add(subject: string, data: Uint8Array, id: string | undefined): { sequence: number; isDuplicate: boolean } {
    const sinceMs = this.#time.nowMs - this.config.duplicate_window / 1e6
    for (const [old, { atMs }] of this.#ids) {
      if (atMs >= sinceMs) break
      this.#ids.delete(old)
    }
    const known = id === undefined ? undefined : this.#ids.get(id)
    if (known) return { sequence: known.sequence, isDuplicate: true }
    if (this.messages.size >= (this.config.max_msgs ?? Infinity)) {
      throw new SimulatedApiError('maximum messages exceeded', { code: 10_077, status: 503 })
    }
    const sequence = ++this.lastSequence
    this.messages.set(sequence, { sequence, subject, data })
    this.largest = Math.max(this.largest, this.messages.size)
    this.#bySubject.set(subject, sequence)
    if (id !== undefined) this.#ids.set(id, { sequence, atMs: this.#time.nowMs })
    for (const consumer of this.consumers.values()) consumer.noteNew(sequence, subject)
    return { sequence, isDuplicate: false }
  }

  lastOf(subject: string): StoredMessage | undefined {
    const sequence = this.#bySubject.get(subject)
    return sequence === undefined ? undefined : this.messages.get(sequence)
  }

  acknowledged(sequence: number): void {
    const message = this.messages.get(sequence)!
    this.#acknowledged.push({ message, atMs: this.#time.nowMs })
    if (this.#acknowledged.length > 2 * ACKNOWLEDGED_MAX) this.#acknowledged.splice(0, ACKNOWLEDGED_MAX)
    this.remove(sequence)
  }

  /** A new leader has not heard of what was acknowledged last, and gives it out again. */
  forgetAcknowledged(sinceMs: number): void {
    for (const { message, atMs } of this.#acknowledged.splice(0)) {
      if (atMs < sinceMs) continue
      this.messages.set(message.sequence, message)
      for (const consumer of this.consumers.values()) consumer.noteNew(message.sequence, message.subject)
    }
  }

  remove(sequence: number): void {
    const message = this.messages.get(sequence)
    if (!message) return
    this.messages.delete(sequence)
    if (this.#bySubject.get(message.subject) === sequence) this.#bySubject.delete(message.subject)
    for (const consumer of this.consumers.values()) consumer.noteGone(sequence)
  }

  /** Those before `seq` that match. */
  purge({ filter = '>', seq = Infinity }: { filter?: string; seq?: number }): void {
    const exact = this.#bySubject.get(filter)
    if (exact !== undefined && exact < seq) this.remove(exact)
    if (!/[*>]/.test(filter)) return
    for (const { sequence, subject } of Array.from(this.messages.values())) {
      if (sequence >= seq) break
      if (matches(filter, subject)) this.remove(sequence)
    }
  }
}

interface Pending {
  atMs: number
  /** It waits to be given out again, at that time at the earliest. */
  isQueued: boolean
}

export class SimulatedConsumer {
  readonly config: ConsumerConfig
  readonly #time: VirtualTime
  readonly #stream: SimulatedStream
  readonly #leaseMs: number
  /** Not given out yet. */
  readonly #fresh = new Set<number>()
  readonly #again = new Set<number>()
  readonly #pending = new Map<number, Pending>()
  readonly #deliveries = new Map<number, number>()
  #pulls: Pull[] = []

  constructor(time: VirtualTime, stream: SimulatedStream, config: ConsumerConfig) {
    this.#time = time
    this.#stream = stream
    this.config = config
    this.#leaseMs = (config.ack_wait ?? Infinity) / 1e6
    for (const { sequence, subject } of stream.messages.values()) this.noteNew(sequence, subject)
  }

  noteNew(sequence: number, subject: string): void {
    if (sequence < (this.config.opt_start_seq ?? 0) || !matches(this.config.filter_subject, subject)) return
    this.#fresh.add(sequence)
    this.#give()
  }

  noteGone(sequence: number): void {
    this.#fresh.delete(sequence)
    this.#again.delete(sequence)
    this.#pending.delete(sequence)
    this.#deliveries.delete(sequence)
  }

  deliveriesOf(sequence: number): number {
    return this.#deliveries.get(sequence) ?? 0
  }

  pull(pull: Pull): void {
    this.#pulls.push(pull)
    this.#give()
  }

  /** Its time is up. */
  forget(pull: Pull): void {
    this.#pulls = this.#pulls.filter(each => each !== pull)
  }

  /** The server was killed: nobody asks any more. What was given out is known. */
  forgetAll(): void {
    this.#pulls = []
  }

  ack(sequence: number): void {
    if (this.#pending.has(sequence)) this.#stream.acknowledged(sequence)
  }

  renew(sequence: number): void {
    const pending = this.#pending.get(sequence)
    if (pending && !pending.isQueued) this.#hold(sequence)
  }

  giveBack(sequence: number, delayMs: number): void {
    const pending = this.#pending.get(sequence)
    if (!pending || pending.isQueued) return
    pending.isQueued = true
    this.#time.after(delayMs, () => {
      if (this.#pending.get(sequence) !== pending) return
      this.#again.add(sequence)
      this.#give()
    })
  }

  /** Without leases: what comes next, as it is read again. */
  read(count: number): StoredMessage[] {
    const read: StoredMessage[] = []
    for (const sequence of this.#fresh) {
      if (read.length >= count) break
      this.#fresh.delete(sequence)
      read.push(this.#stream.messages.get(sequence)!)
    }
    return read
  }

  get unread(): number {
    return this.#fresh.size
  }

  /** All messages up to there are acknowledged. */
  get ackFloor(): number {
    let lowest = this.#stream.lastSequence + 1
    for (const sequences of [this.#fresh, this.#again, this.#pending.keys()])
      for (const sequence of sequences) lowest = Math.min(lowest, sequence)
    return lowest - 1
  }

  #hold(sequence: number): void {
    const pending: Pending = { atMs: this.#time.nowMs, isQueued: false }
    this.#pending.set(sequence, pending)
    this.#time.after(this.#leaseMs, () => {
      // It was renewed, acknowledged or given back meanwhile.
      if (this.#pending.get(sequence) !== pending || pending.isQueued) return
      pending.isQueued = true
      this.#again.add(sequence)
      this.#give()
    })
  }

  #give(): void {
    while (this.#pulls.length > 0) {
      const pull = this.#pulls[0]!
      if (!pull.isThere() || pull.left === 0) {
        this.#pulls.shift()
        continue
      }
      const from = this.#again.size > 0 ? this.#again : this.#fresh
      const [sequence] = from
      if (sequence === undefined) return
      from.delete(sequence)
      const deliveries = this.deliveriesOf(sequence) + 1
      this.#deliveries.set(sequence, deliveries)
      this.#hold(sequence)
      pull.left--
      // The next one is for whoever has asked next, as servers do it.
      this.#pulls.push(this.#pulls.shift()!)
      pull.give(this.#stream.messages.get(sequence)!, { deliveries, sequence })
    }
  }
}
