/** A chunk as those who follow chunks see it, from when it is sent until all of it is back or its worker has ended. */
import { type ChunkMessage, type ChunkPart, chunkChannel, isFollowed } from '../insights/channels.ts'
import type { ThrownText } from '../insights/thrown-text.ts'
import type { Chunk } from './chunk.ts'
import { spanLength } from './task-spans.ts'

/** A worker, as far as the message tells of it. */
interface FollowedWorker {
  readonly name: string
  readonly pid: number | undefined
  readonly threadId: number | undefined
}

export class FollowedChunk {
  readonly message: ChunkMessage
  /** Items of each part are counted from here on within the chunk. */
  readonly #starts: number[] = []

  /** The chunk is about to be sent. Gives nothing while nobody follows chunks. */
  static begin(chunk: Chunk, worker: FollowedWorker): FollowedChunk | undefined {
    return isFollowed(chunkChannel()) ? new FollowedChunk(chunk, worker) : undefined
  }

  private constructor(chunk: Chunk, { name, pid, threadId }: FollowedWorker) {
    const parts: ChunkPart[] = []
    let start = 0
    for (const { job, first, count, attempt } of chunk.parts) {
      const last = parts.at(-1)
      // Neighbours of a map are one part, also when an item between them could not be sent.
      if (last && !job.isSingle) last.count += count
      else {
        parts.push({ call: job.call, index: job.isSingle ? undefined : first, count, attempt })
        this.#starts.push(start)
      }
      start += count
    }
    this.message = {
      name: chunk.task.name,
      workerName: name,
      pid,
      threadId,
      items: chunk.count,
      parts,
      wantsTimes: false,
    }
    const channel = chunkChannel()
    channel.start.publish(this.message)
    channel.end.publish(this.message)
  }

  /** What the worker is to time: each call, or all items of a map together. */
  get times(): 'each' | 'whole' | undefined {
    if (!this.message.wantsTimes) return undefined
    return this.message.parts[0]!.index === undefined ? 'each' : 'whole'
  }

  /** The worker tells when items ran, and what some threw. */
  noteTimes(spans: Float64Array, errors: readonly (readonly [index: number, error: ThrownText])[]): void {
    if (!this.message.wantsTimes) return
    const { parts } = this.message
    for (let at = 0; at + spanLength <= spans.length; at += spanLength) {
      const [index, startMs, endMs, failed] = spans.subarray(at, at + spanLength)
      const part = parts[this.#partOf(index!)]
      if (!part) continue
      const time = (part.time ??= { startMs: startMs!, endMs: endMs!, failed: 0 })
      time.endMs = endMs!
      time.failed += failed!
    }
    for (const [index, error] of errors) {
      const time = parts[this.#partOf(index)]?.time
      if (time) time.error ??= error
    }
  }

  #partOf(index: number): number {
    let low = 0
    for (let high = this.#starts.length; low < high;) {
      const middle = (low + high) >> 1
      if (this.#starts[middle]! <= index) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  /** Only the first `count` items stay in it: the others are given to another worker. */
  cut(count: number): void {
    const { message } = this
    const parts: ChunkPart[] = []
    for (const [at, part] of message.parts.entries()) {
      const left = count - this.#starts[at]!
      if (left <= 0) break
      part.count = Math.min(part.count, left)
      parts.push(part)
    }
    message.parts = parts
    message.items = count
  }

  /**
   * @param lost - so many items were not run, or are lost with the worker
   * @param error - the worker ended by it while it ran an item of the chunk: that at `lostAt`, as far as it is known
   */
  end({
    lost = 0,
    error,
    lostAt,
  }: { lost?: number; error?: Error | undefined; lostAt?: number | undefined } = {}): void {
    const { message } = this
    const channel = chunkChannel()
    message.lost = lost
    if (error) {
      message.error = error
      if (lostAt !== undefined) message.lostAt = lostAt
      channel.error.publish(message)
    }
    channel.asyncStart.publish(message)
    channel.asyncEnd.publish(message)
  }
}
