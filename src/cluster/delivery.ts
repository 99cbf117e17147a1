/**
 * One delivery of a chunk to an agent: how often the server has given it to somebody, and what is answered. The words
 * are those of JetStream's protocol. Invariant: a delivery is ended once; renewals after that mean nothing.
 */
import type { Msg, NatsConnection } from '@nats-io/transport-node'

/** `$JS.ACK.<domain>.<account>.<stream>.<consumer>.<deliveries>.<sequence>...`; without domain and account on old servers. */
const replyParts = { long: 11, short: 9 }

export class Delivery {
  readonly #connection: NatsConnection
  readonly #reply: string
  readonly subject: string
  readonly bytes: Uint8Array
  /** How often it was given out, this time included. */
  readonly deliveries: number
  /** Its place in the stream: the same when it is given out again. */
  readonly sequence: number

  constructor(connection: NatsConnection, { reply = '', subject, data }: Msg) {
    this.#connection = connection
    this.#reply = reply
    this.subject = subject
    this.bytes = data
    const parts = reply.split('.')
    const at = parts.length >= replyParts.long ? 6 : replyParts.short - 5
    this.deliveries = Number(parts[at])
    this.sequence = Number(parts[at + 1])
  }

  /** It is still being worked on. */
  renew(): void {
    this.#say('+WPI')
  }

  /** It is done, and is deleted. */
  ack(): void {
    this.#say('+ACK')
  }

  /** Somebody else is to have it, after some time. */
  giveBack(delayMs = 0): void {
    this.#say(delayMs === 0 ? '-NAK' : `-NAK ${JSON.stringify({ delay: delayMs * 1e6 })}`)
  }

  #say(words: string): void {
    if (!this.#connection.isClosed()) this.#connection.publish(this.#reply, words)
  }
}
