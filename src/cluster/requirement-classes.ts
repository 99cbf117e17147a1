/**
 * The kinds of work that need something of their machine, each with consumers of its own, so that the server gives it to
 * nobody who cannot do it. Invariant: a kind that a program has work of has its consumers; one that nobody has used for two
 * days is forgotten by the server. See "Requirements" in README.md.
 */
import { createHash } from 'node:crypto'
import { type ClusterError, ProcessError } from '../errors.ts'
import type { Requirements } from '../pool/requirements.ts'
import { LEVELS, type Level, type PoolNames } from './names.ts'
import { type Nats, serverError } from './nats-client.ts'
import { ensure } from './pool-streams.ts'
import type { Post } from './post.ts'
import { isForbidden } from './until-answered.ts'
import type { ClassNews } from './work-message.ts'

/** Each costs three consumers, and an agent that can do it three requests that are always open. */
export const classesMax = 64
const nanosPerMs = 1e6
const forgottenAfterMs = 24 * 3600_000
const lookAgainAfterMs = 3600_000
const chunksMax = 100_000

/** What the consumers of a kind, and subjects of its chunks, begin with. */
export function className(key: string): string {
  return createHash('sha256').update(key).digest('hex').slice(0, 16)
}

/** Where chunks of a level and kind are: the part of their subject, and the name of the consumer. */
export function laneOf(level: Level, requires: string | undefined): string {
  return requires === undefined ? level : `${className(requires)}-${level}`
}

/** The level in the name of a consumer. */
export function levelIn(lane: string): Level | undefined {
  return LEVELS.find(level => lane === level || lane.endsWith(`-${level}`))
}

export class RequirementClasses {
  readonly #nats: Nats
  readonly #names: PoolNames
  readonly #post: Post
  readonly #leaseMs: number
  readonly #ensured = new Map<string, { atMs: number; done: Promise<void> }>()

  constructor(nats: Nats, names: PoolNames, { post, leaseMs }: { post: Post; leaseMs: number }) {
    this.#nats = nats
    this.#names = names
    this.#post = post
    this.#leaseMs = leaseMs
  }

  /** @throws ProcessError `ERR_LIMIT` when the pool has too many kinds, and what the server answers. */
  async ensure(requires: Requirements): Promise<void> {
    const { key } = requires
    const known = this.#ensured.get(key)
    if (known && performance.now() - known.atMs < lookAgainAfterMs) {
      await known.done
      return
    }
    const done = this.#make(requires).catch((error: unknown) => {
      throw isForbidden(error) ? mayNotMake(error) : error
    })
    this.#ensured.set(key, { atMs: performance.now(), done })
    try {
      await done
    } catch (error) {
      this.#ensured.delete(key)
      throw error
    }
  }

  async #make({ key }: Requirements): Promise<void> {
    const { manager } = this.#nats
    const { tasks, control } = this.#names
    await Promise.all(
      LEVELS.map(level => {
        const lane = laneOf(level, key)
        return ensure(
          () => manager.consumers.info(tasks, lane),
          async () => {
            await this.#assertRoom()
            return await manager.consumers.add(tasks, {
              durable_name: lane,
              filter_subject: this.#names.tasksAt(lane),
              ack_policy: 'explicit',
              ack_wait: this.#leaseMs * nanosPerMs,
              max_deliver: -1,
              max_ack_pending: chunksMax,
              inactive_threshold: forgottenAfterMs * nanosPerMs,
              metadata: { requires: key },
            })
          },
        )
      }),
    )
    // Agents that were there before; those that come later look which consumers there are.
    const news: ClassNews = { requires: key }
    this.#nats.connection.publish(control, this.#post.note(control, news))
  }

  async #assertRoom(): Promise<void> {
    const { state } = await this.#nats.manager.streams.info(this.#names.tasks)
    if (state.consumer_count < LEVELS.length * (classesMax + 1)) return
    throw new ProcessError(
      'ERR_LIMIT',
      `The pool "${this.#names.pool}" has work with ${classesMax} different values of "requires", and takes no more of them\nTo fix: ask for the same labels and resources where that will do, or use several pools`,
    )
  }
}

/** The keys of all kinds for which a pool has consumers, and whether any of them was used within a day. */
export async function classesOf(
  { manager }: Pick<Nats, 'manager'>,
  names: PoolNames,
): Promise<Map<string, { isUsed: boolean }>> {
  const kinds = new Map<string, { isUsed: boolean }>()
  for await (const info of manager.consumers.list(names.tasks)) {
    const key = info.config.metadata?.['requires']
    if (key === undefined) continue
    // A text, other than its type says, and absent before the first delivery.
    const activeAt = Date.parse(String(info.delivered.last_active)) || 0
    const usedAt = Math.max(Date.parse(info.created), activeAt)
    // By the clock of the server, as the others.
    const nowMs = Date.parse(String((info as { ts?: unknown }).ts)) || usedAt
    const isUsed = info.num_pending + info.num_ack_pending > 0 || nowMs - usedAt < forgottenAfterMs
    kinds.set(key, { isUsed: isUsed || kinds.get(key)?.isUsed === true })
  }
  return kinds
}

function mayNotMake(cause: unknown): ClusterError {
  return serverError(
    'its user may not make consumers, and each kind of work with "requires" has some of its own',
    cause,
  )
}
