/**
 * Decides which items go next. Jobs take turns, one chunk each, so that a long map does not hold up a short one;
 * what comes back from a dead worker goes first. Invariant: every job that may have items to take is in the line.
 */
import { nextChunkSize } from './chunk-policy.ts'
import { slicePart } from './chunk.ts'
import { Fifo } from './fifo.ts'
import type { Job, Part } from './job.ts'

export class Scheduler {
  readonly #line = new Fifo<Job>()
  readonly #inLine = new Set<Job>()
  readonly #returned: Part[] = []

  /** The job may have items to take. */
  offer(job: Job): void {
    if (this.#inLine.has(job)) return
    this.#inLine.add(job)
    this.#line.push(job)
  }

  /** These were sent to a worker and not run; they go first. */
  giveBack(parts: Part[]): void {
    this.#returned.unshift(...parts)
  }

  /** The parts of the next chunk, at most `countMax` items. */
  next(options: { workers: number; countMax: number }): Part[] | undefined {
    const returned = this.#takeReturned(options.countMax)
    if (returned) return [returned]
    for (let job = this.#line.shift(); job; job = this.#line.shift()) {
      this.#inLine.delete(job)
      const size = Math.min(options.countMax, this.#chunkSize(job, options.workers))
      const part = job.take(size)
      if (!part) continue
      if (job.isSingle) return this.#joinSingles(part, size)
      // Back to the end of the line; when nothing is left there, its next turn finds out.
      this.offer(job)
      return [part]
    }
    return undefined
  }

  #chunkSize(job: Job, workers: number): number {
    return nextChunkSize({
      task: job.task,
      remaining: job.isSingle ? this.#line.length + 1 : job.remaining,
      workers,
      chunkSize: job.chunkSize,
    })
  }

  #takeReturned(countMax: number): Part | undefined {
    let part = this.#returned[0]
    while (part?.job.isDone) {
      // Its job was cancelled or aborted meanwhile.
      this.#returned.shift()
      part = this.#returned[0]
    }
    if (!part) return undefined
    const limit = part.isSolo ? 1 : countMax
    if (part.count <= limit) return this.#returned.shift()
    this.#returned[0] = slicePart(part, limit, part.count, false)
    return slicePart(part, 0, limit, false)
  }

  /** Single calls of one function that stand behind each other in the line share a message. */
  #joinSingles(first: Part, size: number): Part[] {
    const parts = [first]
    while (parts.length < size) {
      const job = this.#line.peek()
      if (!job?.isSingle || job.task !== first.job.task || job.mode !== first.job.mode) break
      this.#line.shift()
      this.#inLine.delete(job)
      const part = job.take(1)
      if (part) parts.push(part)
    }
    return parts
  }

  /** How many items wait to be taken, at most `countMax`. An input of unknown length counts as that many. */
  waiting(countMax: number): number {
    let count = 0
    for (const part of this.#returned) if (!part.job.isDone) count += part.count
    for (const job of this.#inLine) {
      if (count >= countMax) break
      if (!job.isDone) count += job.remaining ?? countMax
    }
    return Math.min(count, countMax)
  }

  clear(): void {
    this.#line.clear()
    this.#inLine.clear()
    this.#returned.length = 0
  }
}
