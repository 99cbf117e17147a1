/**
 * Looks for chunks that were sent and are where no agent will ever get them. Invariant: of one that is lost nothing is left
 * in the queue, so that it can be sent again.
 */
import type { Nats } from './nats-client.ts'
import { type PoolNames, chunkNameIn } from './names.ts'
import { lastMessage, unlessMissing } from './pool-streams.ts'

/** One look at several chunks: for each lane the server is asked once. */
export class LostChunks {
  readonly #nats: Nats
  readonly #names: PoolNames
  /** Up to where the server takes everything for acknowledged, by lane. */
  readonly #floors = new Map<string, number>()

  constructor(nats: Nats, names: PoolNames) {
    this.#nats = nats
    this.#names = names
  }

  /**
   * It is not in the queue any more, or it is, and the server takes it for acknowledged. Whoever finds it lost reads the
   * results again before it is sent again: it may have been answered meanwhile.
   */
  async isLost(subject: string): Promise<boolean> {
    const { tasks } = this.#names
    const message = await lastMessage(this.#nats, tasks, subject)
    if (!message) return true
    // The server gives nothing out any more that lies before, and what is acknowledged leaves the queue.
    const isForgotten = message.seq <= (await this.#floorOf(this.#names.laneIn(subject)))
    if (!isForgotten) return false
    const filter = this.#names.taskOnAnyLane(chunkNameIn(subject)!)
    await this.#nats.manager.streams.purge(tasks, { filter })
    return true
  }

  /** It only grows, so that an old one finds fewer of the lost, and nothing else. */
  async #floorOf(lane: string): Promise<number> {
    const known = this.#floors.get(lane)
    if (known !== undefined) return known
    const consumer = await unlessMissing(this.#nats.manager.consumers.info(this.#names.tasks, lane))
    // Without a consumer chunks wait for one.
    const floor = consumer?.ack_floor.stream_seq ?? 0
    this.#floors.set(lane, floor)
    return floor
  }
}
