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
import { readAll } from './read-all.ts'
import { untilAnswered } from './until-answered.ts'

export interface FeedEvents {
  onResult(chunkId: number, subject: string, bytes: Uint8Array): void
  /** What is no result, and is there too. */
  onOther(subject: string, bytes: Uint8Array): void
  /** The lowest chunk that has no result yet, or `undefined` when all have. */
  oldestOpen(): number | undefined
  /** The chunk that was sent last. */
  newest(): number
}

const attemptsMax = 30
const betweenAttemptsMs = 300
const moveEveryMs = 5000

export class ResultFeed {
  readonly #nats: Nats
  readonly #names: PoolNames
  readonly #session: string
  readonly #events: FeedEvents
  /** Others may want them, too: nothing is deleted. */
  readonly #isKept: boolean
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
    {
      session,
      events,
      isKept,
      fromSequence,
    }: { session: string; events: FeedEvents; isKept: boolean; fromSequence: number },
  ) {
    this.#nats = nats
    this.#names = names
    this.#session = session
    this.#events = events
    this.#isKept = isKept
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
    {
      session,
      settings,
      events,
      keptFrom,
    }: {
      session: string
      settings: ClusterSettings
      events: FeedEvents
      /** Of a call that is kept: where its results begin. */
      keptFrom: number | undefined
    },
  ): Promise<ResultFeed> {
    let fromSequence: number
    try {
      const { state } = await untilAnswered(settings, () => nats.manager.streams.info(names.results))
      fromSequence = keptFrom ?? state.last_seq + 1
    } catch (cause) {
      throw serverError('it does not say where its results end', cause)
    }
    const feed = new ResultFeed(nats, names, {
      session,
      events,
      isKept: keptFrom !== undefined,
      fromSequence,
    })
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
    if (!this.#isKept) this.purge()
  }

  /** Deletes all of them. */
  purge(sequence?: number): void {
    const filter = this.#names.resultsOf(this.#session)
    this.#nats.manager.streams
      .purge(this.#names.results, { filter, ...(sequence === undefined ? {} : { seq: sequence }) })
      .catch(() => {})
  }

  async #readAgain(): Promise<void> {
    const filter = this.#names.resultsOf(this.#session)
    for await (const { subject, data } of readAll(
      this.#nats,
      this.#names.results,
      filter,
      this.#fromSequence,
    )) {
      if (this.#isClosed) return
      this.#tell(subject, data)
    }
  }

  #tell(subject: string, bytes: Uint8Array): void {
    const name = chunkNameIn(subject)
    if (name === undefined) this.#events.onOther(subject, bytes)
    else if (name.session === this.#session) this.#events.onResult(name.chunkId, subject, bytes)
  }

  /** A long program does not read all again that it has ever had, and what it has had makes room. */
  async #move(): Promise<void> {
    const oldest = this.#events.oldestOpen()
    const next = this.#next
    if (next && (oldest === undefined || oldest > next.newest)) {
      this.#fromSequence = next.sequence
      this.#next = undefined
      if (!this.#isKept) this.purge(next.sequence)
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
