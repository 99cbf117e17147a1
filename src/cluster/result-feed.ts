/**
 * The results of one program, from the stream that keeps them. They are heard as they are written, and after every
 * reconnection read again from the place before the oldest chunk that is open, because what was written meanwhile was not
 * heard. Invariant: a result that is in the stream is told at least once; who is told knows what it has.
 * See "Results" in README.md.
 */
import type { Subscription } from '@nats-io/transport-node'
import type { ClusterSettings } from '../pool/cluster-option.ts'
import { type Nats, serverError } from './nats-client.ts'
import { type PoolNames, chunkNameIn } from './names.ts'
import { untilAnswered } from './until-answered.ts'

export interface FeedEvents {
  onResult(chunkId: number, subject: string, bytes: Uint8Array): void
  /** The lowest chunk that has no result yet, or `undefined` when all have. */
  oldestOpen(): number | undefined
  /** The chunk that was sent last. */
  newest(): number
}

const replayBatch = 256
const replayExpiresMs = 2000
/** The server deletes the consumer of a replay whose program was killed after this time. */
const consumerMsMax = 30_000
const attemptsMax = 30
const betweenAttemptsMs = 300
const moveEveryMs = 5000

export class ResultFeed {
  readonly #nats: Nats
  readonly #names: PoolNames
  readonly #session: string
  readonly #events: FeedEvents
  readonly #subscription: Subscription
  readonly #timer: NodeJS.Timeout
  /** Nothing that is wanted lies before it. */
  #fromSequence: number
  /** What `#fromSequence` becomes once the chunks up to this one have their results. */
  #next: { sequence: number; newest: number } | undefined
  #replaying: Promise<boolean> | undefined
  #isAsked = false
  #isClosed = false

  private constructor(
    nats: Nats,
    names: PoolNames,
    { session, events, fromSequence }: { session: string; events: FeedEvents; fromSequence: number },
  ) {
    this.#nats = nats
    this.#names = names
    this.#session = session
    this.#events = events
    this.#fromSequence = fromSequence
    this.#subscription = nats.connection.subscribe(names.resultsOf(session), {
      callback: (error, message) => {
        if (!error) this.#tell(message.subject, message.data)
      },
    })
    // Stopped in close().
    this.#timer = setInterval(() => void this.#move(), moveEveryMs).unref()
  }

  /** To be opened before the first chunk is sent. @throws ClusterError when the server does not answer. */
  static async open(
    nats: Nats,
    names: PoolNames,
    { session, settings, events }: { session: string; settings: ClusterSettings; events: FeedEvents },
  ): Promise<ResultFeed> {
    let fromSequence: number
    try {
      const { state } = await untilAnswered(settings, () => nats.manager.streams.info(names.results))
      fromSequence = state.last_seq + 1
    } catch (cause) {
      throw serverError('it does not say where its results end', cause)
    }
    const feed = new ResultFeed(nats, names, { session, events, fromSequence })
    // The server has the subscription before any chunk; if it goes away instead, it has it before anything else.
    await nats.connection.flush().catch(() => {})
    return feed
  }

  /**
   * Some results may not have been heard. Resolves when all of them have been told: false if the server was away for too
   * long.
   */
  async replay(): Promise<boolean> {
    this.#isAsked = true
    this.#replaying ??= this.#readUntilDone()
    return await this.#replaying
  }

  async #readUntilDone(): Promise<boolean> {
    for (let attempt = 0; this.#isAsked && !this.#isClosed && attempt < attemptsMax;) {
      this.#isAsked = false
      try {
        await this.#readAgain()
      } catch {
        // The server is not back yet, or has gone again; the next reconnection, or who misses something, asks again.
        this.#isAsked = true
        attempt++
        await new Promise(resolve => {
          setTimeout(resolve, betweenAttemptsMs)
        })
      }
    }
    // At once, so that who asks from now on has it read again.
    this.#replaying = undefined
    return !this.#isAsked
  }

  close(): void {
    this.#isClosed = true
    clearInterval(this.#timer)
    this.#subscription.unsubscribe()
    this.#nats.manager.streams
      .purge(this.#names.results, { filter: this.#names.resultsOf(this.#session) })
      .catch(() => {})
  }

  async #readAgain(): Promise<void> {
    const { manager, publisher } = this.#nats
    const { name } = await manager.consumers.add(this.#names.results, {
      filter_subject: this.#names.resultsOf(this.#session),
      deliver_policy: 'by_start_sequence',
      opt_start_seq: this.#fromSequence,
      ack_policy: 'none',
      mem_storage: true,
      num_replicas: 1,
      inactive_threshold: consumerMsMax * 1e6,
    })
    try {
      const consumer = await publisher.consumers.get(this.#names.results, name)
      let left = (await consumer.info()).num_pending
      while (left > 0 && !this.#isClosed) {
        let read = 0
        for await (const message of await consumer.fetch({
          max_messages: Math.min(left, replayBatch),
          expires: replayExpiresMs,
        })) {
          read++
          this.#tell(message.subject, message.data)
        }
        left = read === 0 ? (await consumer.info()).num_pending : left - read
      }
    } finally {
      manager.consumers.delete(this.#names.results, name).catch(() => {})
    }
  }

  #tell(subject: string, bytes: Uint8Array): void {
    const name = chunkNameIn(subject)
    if (name?.session === this.#session) this.#events.onResult(name.chunkId, subject, bytes)
  }

  /** A long program does not read all again that it has ever had, and what it has had makes room. */
  async #move(): Promise<void> {
    const oldest = this.#events.oldestOpen()
    const next = this.#next
    if (next && (oldest === undefined || oldest > next.newest)) {
      this.#fromSequence = next.sequence
      this.#next = undefined
      this.#nats.manager.streams
        .purge(this.#names.results, {
          filter: this.#names.resultsOf(this.#session),
          seq: next.sequence,
        })
        .catch(() => {})
    }
    if (this.#next) return
    try {
      const { state } = await this.#nats.manager.streams.info(this.#names.results)
      // Asked for afterwards: a chunk that is sent from now on can have no result before that place.
      this.#next ??= { sequence: state.last_seq + 1, newest: this.#events.newest() }
    } catch {
      // It is tried again.
    }
  }
}
