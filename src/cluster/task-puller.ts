/**
 * Asks the server for chunks of one level and kind, as many as the agent has room for, and never twice for the same room.
 * Invariant: an agent that has room has asked, or will within a moment, whatever became of the server meanwhile.
 */
import type { MsgHdrs, Subscription } from '@nats-io/transport-node'
import { Delivery } from './delivery.ts'
import type { Nats } from './nats-client.ts'
import type { PoolNames } from './names.ts'

export interface PullerOptions {
  /** The name of the consumer. */
  lane: string
  /** How many more chunks the agent takes now. */
  room(): number
  /** How many of these ask over the same connection. */
  pullerCount(): number
  onDelivery(delivery: Delivery): void
}

/** The server ends a request after this time, so that a connection that is gone leaves nothing behind. */
const expiresMs = 5000
/** After an answer that says that something is wrong (no stream, no leader). */
const pauseMs = 250
/** All requests of an agent together: the server cuts off who has 64 MB to read. */
const bytesMax = 48 << 20
/** Nothing came in time, or all has come that the request asked for, by number or by bytes. */
const ENDED = /^(?:404|408|409 (?:Batch Completed|Message Size Exceeds MaxBytes))/

export class TaskPuller {
  readonly #nats: Nats
  readonly #subject: string
  readonly #options: PullerOptions
  readonly #inbox: string
  readonly #subscription: Subscription
  /** How many chunks the server still owes of the request that is on. */
  #owed = 0
  #request = 0
  #late: NodeJS.Timeout | undefined
  #pause: NodeJS.Timeout | undefined
  #isStopped = false

  constructor(nats: Nats, names: PoolNames, options: PullerOptions, inbox: string) {
    this.#nats = nats
    this.#options = options
    this.#subject = `$JS.API.CONSUMER.MSG.NEXT.${names.tasks}.${options.lane}`
    this.#inbox = inbox
    this.#subscription = nats.connection.subscribe(`${inbox}.*`, {
      callback: (error, message) => {
        if (error) return
        // A chunk keeps the subject under which it was sent; what the server itself says comes under that of the request.
        const isStatus = message.subject.startsWith(inbox)
        if (isStatus) this.#status(Number(message.subject.slice(inbox.length + 1)), message.headers)
        else this.#deliver(new Delivery(nats.connection, message))
      },
    })
  }

  /** There may be more room than a moment ago. */
  pull(): void {
    if (this.#isStopped || this.#owed > 0 || this.#pause) return
    const batch = this.#options.room()
    if (batch <= 0 || this.#nats.connection.isClosed()) return
    this.#owed = batch
    this.#request++
    // Whatever the longest message of the server is, it fits into two of its length.
    const ownBytes = Math.floor(bytesMax / this.#options.pullerCount())
    const max_bytes = Math.max(ownBytes, 2 * this.#nats.payloadBytesMax)
    const wanted = JSON.stringify({ batch, max_bytes, expires: expiresMs * 1e6 })
    this.#nats.connection.publish(this.#subject, wanted, { reply: `${this.#inbox}.${this.#request}` })
    // A server that was killed ends nothing.
    this.#late = setTimeout(() => this.#ended(), expiresMs + 1000).unref()
  }

  /** The connection is another one: what was asked for over the old one is forgotten there. */
  restart(): void {
    this.#ended()
  }

  /** Nothing more is asked for. What the server has sent already still comes. */
  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#late)
    clearTimeout(this.#pause)
  }

  close(): void {
    this.stop()
    this.#subscription.unsubscribe()
  }

  /** One of an older request counts for this one: at worst a little more is asked for than there is room. */
  #deliver(delivery: Delivery): void {
    if (this.#owed > 0) this.#owed--
    this.#options.onDelivery(delivery)
    if (this.#owed === 0) this.#ended()
  }

  #status(request: number, { code = 0, description = '' }: Partial<MsgHdrs> = {}): void {
    // 100 is a sign of life.
    if (request !== this.#request || code === 100) return
    if (ENDED.test(`${code} ${description}`)) {
      this.#ended()
      return
    }
    this.#owed = 0
    clearTimeout(this.#late)
    this.#pause ??= setTimeout(() => {
      this.#pause = undefined
      this.pull()
    }, pauseMs).unref()
  }

  #ended(): void {
    this.#owed = 0
    clearTimeout(this.#late)
    this.pull()
  }
}
