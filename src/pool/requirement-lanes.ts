/**
 * The work of a pool on a cluster, in one lane for each of the requirements that its calls have, so that what waits for a
 * machine that is not there keeps nothing else waiting. Invariant: no more chunks of a lane are under way than the
 * machines that can run them have room for.
 */
import type { Chunk } from './chunk.ts'
import { type Capacity, type Elsewhere, capacityFor } from './elsewhere.ts'
import type { Job, Part } from './job.ts'
import type { Requirements } from './requirements.ts'
import { type Demand, Scheduler, type WorkOrder } from './scheduler.ts'

/** What has the same requirements. */
interface Lane {
  readonly requires: Requirements | undefined
  readonly scheduler: Scheduler
}

/** All chunks that workers have. */
export interface ChunksUnderWay {
  readonly chunkCount: number
  chunks(): Iterable<Chunk>
}

/** Where the work of a pool waits. */
export function workOrder(elsewhere: Elsewhere | undefined, underWay: ChunksUnderWay): WorkOrder {
  return elsewhere ? new RequirementLanes(elsewhere, underWay) : new Scheduler()
}

export class RequirementLanes implements WorkOrder {
  readonly #elsewhere: Elsewhere
  readonly #underWay: ChunksUnderWay
  /** Whether any work ever required anything: else its chunks need not be told apart. */
  #hasKinds = false
  /** Lanes with work; who had a turn goes behind the others. */
  readonly #lanes = new Map<string, Lane>()

  constructor(elsewhere: Elsewhere, underWay: ChunksUnderWay) {
    this.#elsewhere = elsewhere
    this.#underWay = underWay
  }

  offer(job: Job): void {
    this.#laneOf(job).scheduler.offer(job)
  }

  giveBack(parts: Part[]): void {
    const byLane = new Map<Lane, Part[]>()
    for (const part of parts) {
      const lane = this.#laneOf(part.job)
      const same = byLane.get(lane)
      if (same) same.push(part)
      else byLane.set(lane, [part])
    }
    for (const [{ scheduler }, same] of byLane) scheduler.giveBack(same)
  }

  get highestPriority(): number | undefined {
    let highest: number | undefined
    for (const { scheduler } of this.#lanes.values()) {
      const priority = scheduler.highestPriority
      if (priority !== undefined && (highest === undefined || priority > highest)) highest = priority
    }
    return highest
  }

  next(demand: Demand): Part[] | undefined {
    const open = [...this.#lanes].filter(([, { scheduler }]) => scheduler.highestPriority !== undefined)
    if (open.length === 0) return undefined
    const counts = this.#countChunks()
    const byPriority = open.toSorted(
      ([, one], [, other]) => other.scheduler.highestPriority! - one.scheduler.highestPriority!,
    )
    for (const [key, lane] of byPriority) {
      const { processes, chunksMax }: Capacity = capacityFor(this.#elsewhere, lane.requires)
      if ((counts.get(key) ?? 0) >= chunksMax) continue
      const parts = lane.scheduler.next({ ...demand, workers: processes })
      this.#lanes.delete(key)
      // What is left of it has its next turn behind the others.
      if (lane.scheduler.highestPriority !== undefined) this.#lanes.set(key, lane)
      if (parts) return parts
    }
    return undefined
  }

  waiting(countMax: number): number {
    let count = 0
    for (const { scheduler } of this.#lanes.values()) count += scheduler.waiting(countMax)
    return Math.min(count, countMax)
  }

  clear(): void {
    this.#lanes.clear()
  }

  #laneOf({ limits: { requires } }: Job): Lane {
    const key = requires?.key ?? ''
    if (requires) this.#hasKinds = true
    let lane = this.#lanes.get(key)
    if (!lane) this.#lanes.set(key, (lane = { requires, scheduler: new Scheduler() }))
    return lane
  }

  #countChunks(): Map<string, number> {
    // With thousands of chunks, counting would cost more than sending one.
    if (!this.#hasKinds) return new Map([['', this.#underWay.chunkCount]])
    const counts = new Map<string, number>()
    for (const { parts } of this.#underWay.chunks()) {
      const key = parts[0]?.job.limits.requires?.key ?? ''
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
    return counts
  }
}
