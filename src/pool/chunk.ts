/**
 * A message full of items on its way to one worker, and what has come back of it. Invariant: results come in the
 * order of the items, so one number says which are still owed.
 */
import { dropMessage } from '../platform/in-flight.ts'
import type { FollowedChunk } from './followed-chunk.ts'
import type { ShippedFunction } from './function-table.ts'
import type { Job, Part } from './job.ts'
import { type Body, releaseBodies } from './protocol.ts'

export class Chunk {
  readonly id: number
  readonly task: ShippedFunction
  parts: readonly Part[]
  count: number
  /** What is sent: one body with all items (`isPacked`), or one for each. */
  bodies: readonly Body[]
  readonly isPacked: boolean
  /** That of the function when the chunk was made. */
  readonly taskVersion: number
  isRecalled = false
  /** Set while it is in a trace: its name there, and what ends it. */
  traceId: number | undefined
  endTrace: ((ending?: Record<string, unknown>) => void) | undefined
  /** Set while somebody follows it. */
  followed: FollowedChunk | undefined
  /** The shortest time that one of its items may run, or undefined when none has a limit. */
  readonly timeoutMs: number | undefined
  /** Whether somebody listens to what its tasks report. */
  wantsReports = false
  /** Whether something travels with a call of it, beside the arguments. */
  hasContext = false
  #isRetriable = false
  /** When it became the oldest chunk that its worker has, by `monotonicMs()`. */
  firstSinceMs = 0
  /** Items that were timed out while they ran, and whether they run again when that has ended. */
  givenUp: Map<number, { isRetried: boolean }> | undefined
  /** Items whose outcome has arrived. */
  received = 0
  // The part that holds the item `received`, and the number of items before that part.
  #partAt = 0
  #partStart = 0

  constructor(id: number, parts: readonly Part[], content: { bodies: readonly Body[]; isPacked: boolean }) {
    this.id = id
    this.task = parts[0]!.job.task
    this.taskVersion = this.task.version
    this.parts = parts
    this.count = parts.reduce((sum, part) => sum + part.count, 0)
    this.bodies = content.bodies
    this.isPacked = content.isPacked
    let timeoutMs = Infinity
    for (const { job } of parts) {
      timeoutMs = Math.min(timeoutMs, job.limits.timeoutMs ?? Infinity)
      this.hasContext ||= job.hasContext
      this.wantsReports ||= job.onReport !== undefined
      this.#isRetriable ||= job.limits.retries !== undefined
    }
    this.timeoutMs = timeoutMs === Infinity ? undefined : timeoutMs
  }

  /** Whether the worker must mark each item in a way that the parent can rely on when it stops one of them. */
  get isExact(): boolean {
    return this.timeoutMs !== undefined || this.parts.length > 1 || this.parts[0]?.job.relay?.isExact === true
  }

  get isDone(): boolean {
    return this.received >= this.count
  }

  /** Takes the next `count` items off what is owed, as runs of one job each. */
  *receive(count: number): Generator<{ job: Job; index: number; count: number; offset: number }> {
    let offset = 0
    while (offset < count) {
      const part = this.parts[this.#partAt]
      if (!part) {
        throw new Error(
          `This is a bug in multiproc, please report it: chunk ${this.id} of ${this.count} items got ${this.received + count - offset} results`,
        )
      }
      const within = this.received - this.#partStart
      const run = Math.min(part.count - within, count - offset)
      this.received += run
      if (within + run === part.count) {
        this.#partAt++
        this.#partStart += part.count
      }
      yield { job: part.job, index: part.first + within, count: run, offset }
      offset += run
    }
    // Nobody reads it again: a socket in it is not kept open for another worker any longer.
    if (this.isDone) for (const { bytes } of this.#bodiesBut([])) dropMessage(bytes)
  }

  /** It has been answered, or its worker is dead: what was lent for it serves others, unless `back` sends it again. */
  release(back: readonly Part[] = []): void {
    releaseBodies(this.#bodiesBut(back))
  }

  /**
   * The bodies that will not be sent again. Of an item that may be retried nobody knows that yet: what is kept for it is
   * let go of when its body is collected.
   */
  #bodiesBut(back: readonly Part[]): readonly Body[] {
    if (back.length === 0 && !this.#isRetriable) return this.bodies
    const retried = this.parts.filter(part => part.job.limits.retries !== undefined)
    const again = new Set([...back, ...retried].flatMap(part => part.bodies ?? []))
    return this.bodies.filter(body => !again.has(body))
  }

  /** Its worker gives back the items from `from` on, which it has not begun: they are in this chunk no more. */
  cut(from: number): Part[] {
    const tail = this.slice(from, this.count, { isSolo: false })
    this.parts = this.slice(0, from, { isSolo: false })
    // One body with all items stays what it is: the items that went back are encoded anew.
    if (!this.isPacked) this.bodies = this.bodies.slice(0, from)
    this.count = from
    this.followed?.cut(from)
    return tail
  }

  /** One item, counted within the chunk, as a part. */
  at(index: number): Part {
    return this.slice(index, index + 1, { isSolo: false })[0]!
  }

  /** The items from `start` to before `end`, counted within the chunk, as parts to be sent again. */
  slice(start: number, end: number, { isSolo }: { isSolo: boolean }): Part[] {
    const sliced: Part[] = []
    let before = 0
    for (const part of this.parts) {
      const from = Math.max(start - before, 0)
      const to = Math.min(end - before, part.count)
      if (from < to) sliced.push(slicePart(part, from, to, isSolo))
      before += part.count
    }
    return sliced
  }
}

/** Items `from` to before `to` of a part. */
export function slicePart(part: Part, from: number, to: number, isSolo: boolean): Part {
  return {
    job: part.job,
    first: part.first + from,
    count: to - from,
    items: part.items?.slice(from, to),
    bodies: part.bodies?.slice(from, to),
    packed: to - from === part.count ? part.packed : undefined,
    isSolo: isSolo || part.isSolo,
    deaths: part.deaths,
    attempt: part.attempt,
    kills: part.kills,
    chargedItemMs: part.chargedItemMs,
  }
}
