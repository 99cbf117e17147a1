/**
 * A NATS server with JetStream: subjects, streams and what becomes of both when it is killed. It takes a moment for each
 * message, so that what is too much for it is seen. Invariant: killing it loses connections, requests and what was on its
 * way, and nothing that it has said it has.
 */
import {
  type ConsumerConfig,
  type Pull,
  SimulatedApiError,
  SimulatedConsumer,
  SimulatedStream,
  type StoredMessage,
  type StreamConfig,
  matches,
} from './simulated-stream.js'
import type { VirtualTime } from './virtual-time.js'

/** A message on its way to a client. */
export interface ServerMessage {
  subject: string
  data: Uint8Array
  reply?: string
  headers?: { code: number }
}

export interface Subscriber {
  readonly subject: string
  receive(message: ServerMessage): void
}

/** One core of a server takes about so many messages a second. */
const MESSAGE_MS = 0.005
/** What is kept costs more. */
const STORED_MS = 0.04

export class SimulatedServer {
  readonly streams = new Map<string, SimulatedStream>()
  isUp = true
  /** How much it was sent, and has sent. */
  readonly counts = { taken: 0, given: 0, bytes: 0 }
  readonly #time: VirtualTime
  readonly #subscribers = new Map<string, Set<Subscriber>>()
  #busyUntilMs = 0
  #readers = 0

  constructor(time: VirtualTime) {
    this.#time = time
  }

  /** How long what comes now has to wait, with its own time. */
  get waitMs(): number {
    return Math.max(0, this.#busyUntilMs - this.#time.nowMs)
  }

  #spend(ms: number): void {
    this.#busyUntilMs = Math.max(this.#busyUntilMs, this.#time.nowMs) + ms
  }

  /** Its clients have noticed, or will. */
  kill(): void {
    this.isUp = false
    this.#busyUntilMs = 0
    this.#subscribers.clear()
    for (const { consumers } of this.streams.values()) {
      for (const [name, consumer] of consumers) {
        // Those who read again have none that lasts.
        if (consumer.config.durable_name === undefined) consumers.delete(name)
        else consumer.forgetAll()
      }
    }
  }

  subscribe(subscriber: Subscriber): void {
    const key = subscriber.subject.replace(/\.(?:>|\*)$/, '.')
    const same = this.#subscribers.get(key) ?? new Set()
    same.add(subscriber)
    this.#subscribers.set(key, same)
  }

  unsubscribe(subscriber: Subscriber): void {
    const key = subscriber.subject.replace(/\.(?:>|\*)$/, '.')
    const same = this.#subscribers.get(key)
    same?.delete(subscriber)
    if (same?.size === 0) this.#subscribers.delete(key)
  }

  /** A message of a client has arrived. */
  take({ subject, data, reply }: ServerMessage): void {
    this.counts.taken++
    this.counts.bytes += data.length
    this.#spend(MESSAGE_MS)
    if (subject.startsWith('$JS.ACK.')) this.#acknowledge(subject, Buffer.from(data).toString('latin1'))
    else if (subject.startsWith('$JS.API.CONSUMER.MSG.NEXT.')) this.#pull(subject, data, reply!)
    else this.#route({ subject, data, ...(reply === undefined ? {} : { reply }) })
  }

  #route(message: ServerMessage, inbox = message.subject): void {
    for (let at = inbox.length; at > 0; at = inbox.lastIndexOf('.', at - 1)) {
      const key = at === inbox.length ? inbox : inbox.slice(0, at + 1)
      for (const subscriber of this.#subscribers.get(key) ?? []) {
        this.counts.given++
        this.counts.bytes += message.data.length
        this.#spend(MESSAGE_MS)
        subscriber.receive(message)
      }
    }
  }

  // ---- What JetStream is asked ----

  /** @throws SimulatedApiError. */
  store(
    subject: string,
    data: Uint8Array,
    id: string | undefined,
  ): { sequence: number; isDuplicate: boolean } {
    this.counts.taken++
    this.counts.bytes += data.length
    this.#spend(STORED_MS)
    const all = Array.from(this.streams.values())
    const stream = all.find(({ config }) => config.subjects.some(filter => matches(filter, subject)))
    if (!stream) throw new SimulatedApiError('no responders', { code: 503, status: 503 })
    const stored = stream.add(subject, data, id)
    if (!stored.isDuplicate) this.#route({ subject, data })
    return stored
  }

  /** @throws SimulatedApiError. */
  stream(name: string): SimulatedStream {
    this.#spend(MESSAGE_MS)
    const stream = this.streams.get(name)
    if (!stream) throw new SimulatedApiError('stream not found', { code: 10_059, status: 404 })
    return stream
  }

  addStream(config: StreamConfig): void {
    if (!this.streams.has(config.name)) this.streams.set(config.name, new SimulatedStream(this.#time, config))
  }

  /** @throws SimulatedApiError. */
  consumer(streamName: string, name: string): SimulatedConsumer {
    const consumer = this.stream(streamName).consumers.get(name)
    if (!consumer) throw new SimulatedApiError('consumer not found', { code: 10_014, status: 404 })
    return consumer
  }

  /** @returns its name. */
  addConsumer(streamName: string, config: ConsumerConfig): string {
    const stream = this.stream(streamName)
    const name = config.durable_name ?? `reader${this.#readers++}`
    if (!stream.consumers.has(name))
      stream.consumers.set(name, new SimulatedConsumer(this.#time, stream, config))
    return name
  }

  // ---- Pulling ----

  #pull(subject: string, data: Uint8Array, reply: string): void {
    const [streamName, name] = subject.split('.').slice(-2) as [string, string]
    const consumer = this.streams.get(streamName)?.consumers.get(name)
    const status = (code: number): void =>
      this.#route({ subject: reply, data: new Uint8Array(), headers: { code } })
    if (!consumer) {
      status(503)
      return
    }
    const { batch, expires } = JSON.parse(Buffer.from(data).toString()) as { batch: number; expires: number }
    const key = reply.slice(0, reply.lastIndexOf('.') + 1)
    const pull: Pull = {
      left: batch,
      isThere: () => this.#subscribers.has(key),
      give: (message: StoredMessage, { deliveries, sequence }) => {
        const ack = `$JS.ACK.${streamName}.${name}.${deliveries}.${sequence}.0.0.0`
        this.#route({ subject: message.subject, data: message.data, reply: ack }, reply)
      },
    }
    consumer.pull(pull)
    this.#time.after(expires / 1e6, () => {
      if (!this.isUp || pull.left === 0) return
      pull.left = 0
      consumer.forget(pull)
      status(408)
    })
  }

  #acknowledge(subject: string, words: string): void {
    const [, , streamName, name, , sequence] = subject.split('.')
    const consumer = this.streams.get(streamName!)?.consumers.get(name!)
    if (!consumer) return
    if (words === '+ACK') consumer.ack(Number(sequence))
    else if (words === '+WPI') consumer.renew(Number(sequence))
    else if (words.startsWith('-NAK')) {
      const { delay = 0 } = (words.length > 4 ? JSON.parse(words.slice(4)) : {}) as { delay?: number }
      consumer.giveBack(Number(sequence), delay / 1e6)
    }
  }
}
