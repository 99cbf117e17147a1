/**
 * Decides which items go next: those of the highest priority; among them what comes back from a worker; then whoever
 * has used the least time ("Turns" in README.md). Invariant: every job that may have items to take is in its order.
 */
import { type ChunkTarget, expectedItemMs, learnTime, nextChunkSize } from './chunk-policy.ts'
import { type Chunk, slicePart } from './chunk.ts'
import type { Job, Part } from './job.ts'
import { type Account, TurnOrder } from './turn-order.ts'

/** Everything of one priority that waits. */
interface Level {
  readonly priority: number
  readonly order: TurnOrder
  returned: Part[]
}

/** Who wants work. */
export interface Demand {
  workers: number
  /** So many items at most. */
  countMax: number
  /** Set for workers of other machines: how large chunks are, and that the items of one have the same limits. */
  target?: ChunkTarget | undefined
}

/** Where work waits, as the core of a pool sees it. */
export interface WorkOrder {
  /** The job may have items to take. */
  offer(job: Job): void
  /** These were sent to a worker and not run. */
  giveBack(parts: Part[]): void
  /** The priority of what goes next, or `undefined` when nothing waits. */
  readonly highestPriority: number | undefined
  /** The parts of the next chunk. */
  next(demand: Demand): Part[] | undefined
  /** How many items wait to be taken, at most `countMax`. */
  waiting(countMax: number): number
  clear(): void
}

export class Scheduler implements WorkOrder {
  /** The highest priority first. A level is here while something of it waits. */
  readonly #levels: Level[] = []
  /** Where the orders that were left have stopped: what a new one begins with, so that nobody is behind for ever. */
  #clockMs = 0

  /** The job may have items to take. */
  offer(job: Job): void {
    this.#level(job.limits.priority).order.add(job)
  }

  /** These were sent to a worker and not run; they go first among those of their priority. */
  giveBack(parts: Part[]): void {
    const byPriority = new Map<number, Part[]>()
    for (const part of parts) {
      const { priority } = part.job.limits
      const same = byPriority.get(priority)
      if (same) same.push(part)
      else byPriority.set(priority, [part])
    }
    for (const [priority, same] of byPriority) {
      const level = this.#level(priority)
      level.returned = same.concat(level.returned)
    }
  }

  /** The priority of what goes next, or `undefined` when nothing waits. */
  get highestPriority(): number | undefined {
    return this.#levels[0]?.priority
  }

  /** The parts of the next chunk. */
  next(demand: Demand): Part[] | undefined {
    for (let level = this.#levels[0]; level; level = this.#levels[0]) {
      const parts = this.#takeReturned(level, demand) ?? this.#takeNew(level, demand)
      if (level.returned.length === 0 && level.order.isEmpty) {
        // Not simply the first: the input of a map, which has just been read, may have made a more important call.
        const at = this.#levels.indexOf(level)
        if (at >= 0) this.#levels.splice(at, 1)
        this.#clockMs = Math.max(this.#clockMs, level.order.clockMs)
      }
      if (parts) return parts
    }
    return undefined
  }

  /** How many items wait to be taken, at most `countMax`. An input of unknown length counts as that many. */
  waiting(countMax: number): number {
    let count = 0
    for (const { returned, order } of this.#levels) {
      for (const part of returned) if (!part.job.isDone) count += part.count
      count += order.waiting(countMax)
    }
    return Math.min(count, countMax)
  }

  clear(): void {
    this.#levels.length = 0
  }

  #level(priority: number): Level {
    let at = 0
    while (at < this.#levels.length && this.#levels[at]!.priority > priority) at++
    let level = this.#levels[at]
    if (level?.priority !== priority) {
      level = { priority, order: new TurnOrder(this.#clockMs), returned: [] }
      this.#levels.splice(at, 0, level)
    }
    return level
  }

  #takeNew({ order }: Level, demand: Demand): Part[] | undefined {
    for (let account = order.next(); account; account = order.next()) {
      const parts = account.job ? this.#takeOf(account.job, demand) : this.#takeSingles(order, demand)
      if (!parts) continue
      charge(parts, account)
      // Back into the line; when nothing is left there, its next turn finds out.
      if (account.job || order.singleJobs.length > 0) order.enter(account)
      return parts
    }
    return undefined
  }

  #takeOf(job: Job, { workers, countMax, target }: Demand): Part[] | undefined {
    const part = job.take(Math.min(countMax, sizeFor(job, { remaining: job.remaining, workers, target })))
    return part && [part]
  }

  /** Single calls of one function that were made one after the other share a message. */
  #takeSingles({ singleJobs }: TurnOrder, { workers, countMax, target }: Demand): Part[] | undefined {
    const parts: Part[] = []
    let size = 1
    for (let job = singleJobs.peek(); job && parts.length < size; job = singleJobs.peek()) {
      const first = parts[0]?.job
      if (first && (job.task !== first.task || job.mode !== first.mode)) break
      if (first && ((target && !haveSameLimits(job, first)) || job.relay)) break
      singleJobs.shift()
      const part = job.take(1)
      if (!part) continue
      if (!first)
        size = Math.min(countMax, sizeFor(job, { remaining: singleJobs.length + 1, workers, target }))
      parts.push(part)
    }
    return parts.length > 0 ? parts : undefined
  }

  #takeReturned(level: Level, { workers, countMax, target }: Demand): Part[] | undefined {
    const { returned } = level
    // The jobs of some were cancelled or aborted meanwhile.
    while (returned[0]?.job.isDone === true) returned.shift()
    const part = returned[0]
    if (!part) return undefined
    const { job } = part
    if (job.isSingle) return takeReturnedSingles(returned, { workers, countMax, target })
    const remaining = job.remaining === undefined ? undefined : job.remaining + part.count
    const sizeMax = part.packed ? part.count : sizeFor(job, { remaining, workers, target })
    const limit = part.packed ? sizeMax : part.isSolo ? 1 : Math.min(countMax, sizeMax)
    if (part.count <= limit) {
      returned.shift()
      return [part]
    }
    returned[0] = slicePart(part, limit, part.count, false)
    return [slicePart(part, 0, limit, false)]
  }
}

function takeReturnedSingles(returned: Part[], { workers, countMax, target }: Demand): Part[] {
  const first = returned[0]!
  const { job } = first
  const size = Math.min(countMax, sizeFor(job, { remaining: returned.length, workers, target }))
  const isAlike = (part: Part): boolean =>
    part === first ||
    (part.job.isSingle &&
      !part.job.relay &&
      !part.isSolo &&
      !first.isSolo &&
      part.attempt === first.attempt &&
      (!target || (haveSameLimits(part.job, job) && part.deaths === first.deaths)) &&
      part.job.task === job.task &&
      part.job.mode === job.mode)
  let count = 0
  while (count < size && count < returned.length && isAlike(returned[count]!)) count++
  return returned.splice(0, count).filter(part => !part.job.isDone)
}

/** Another machine is told the limits of a chunk, and not of each item. */
function haveSameLimits({ limits: one }: Job, { limits: other }: Job): boolean {
  return one === other || (one.timeoutMs === other.timeoutMs && one.graceMs === other.graceMs)
}

function sizeFor(
  job: Job,
  rest: { remaining: number | undefined; workers: number; target: ChunkTarget | undefined },
): number {
  return nextChunkSize({ task: job.task, chunkSize: job.chunkSize, ...rest })
}

/** The account pays in advance, so that others have their turns while the chunk runs. */
function charge(parts: readonly Part[], account: Account): void {
  for (const part of parts) {
    part.chargedItemMs = expectedItemMs(part.job.task)
    account.usedMs += part.chargedItemMs * part.count
  }
}

/** So long have the next `count` items of a chunk really taken. */
export function learnRun({ task, parts }: Chunk, count: number, elapsedMs: number): void {
  learnTime(task, count, elapsedMs)
  settleCharge(parts[0]!, count, elapsedMs)
}

/** So long have `count` items of the part really taken. */
export function settleCharge({ job, chargedItemMs }: Part, count: number, elapsedMs: number): void {
  if (job.account) job.account.usedMs += elapsedMs - chargedItemMs * count
}
