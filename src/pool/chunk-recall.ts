/**
 * Asks back what was given to a worker and has not begun, when another worker is idle or something more important waits.
 * Invariant: a chunk is asked for at most once, and what is asked for is never run by both; see "Recall" in README.md.
 */
import { MessagePort } from 'node:worker_threads'
import { hasLeases } from '../platform/in-flight.ts'
import { monotonicMs } from '../platform/journal.ts'
import { expectedItemMs } from './chunk-policy.ts'
import type { Chunk } from './chunk.ts'
import type { WorkerRunner } from './worker-runner.ts'

/** A chunk should be done in half of this time. Who has not finished it by then has more than it should. */
const recallAfterMs = 10

export interface RecallOptions {
  runners: Iterable<WorkerRunner>
  /** The priority of what waits in the pool, if anything does. */
  highestWaiting(): number | undefined
}

/** A worker that has been busy with one chunk for some time, and what of its work could go to others. */
interface Holder {
  runner: WorkerRunner
  chunks: Chunk[]
  ageMs: number
  expectedMs: number
}

export class ChunkRecall {
  readonly #options: RecallOptions
  /** Stopped in `clear()`. The pool keeps the program alive while somebody waits for its work. */
  #timer: NodeJS.Timeout | undefined

  constructor(options: RecallOptions) {
    this.#options = options
  }

  /** What could be given out was given out: looks now, or when the first chunk has run for too long. */
  consider(): void {
    if (this.#timer) return
    const holders = this.#holders()
    if (holders.length === 0) return
    const late = holders.filter(({ ageMs }) => ageMs >= recallAfterMs)
    const asked = this.#recall(late)
    // Whoever was asked may be within an item that takes long: the next one is asked then.
    let waitMs = asked < late.length ? recallAfterMs : Infinity
    for (const { ageMs } of holders) {
      if (ageMs < recallAfterMs) waitMs = Math.min(waitMs, recallAfterMs - ageMs)
    }
    if (waitMs === Infinity) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.consider()
    }, Math.ceil(waitMs)).unref()
  }

  clear(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  get #idleCount(): number {
    let count = 0
    for (const { takesWork, chunkCount, tasksLeft, elsewhere } of this.#options.runners) {
      if (takesWork && chunkCount === 0 && tasksLeft > 0 && !elsewhere) count++
    }
    return count
  }

  /** Those who have something that is wanted. */
  #holders(): Holder[] {
    const idleCount = this.#idleCount
    const waiting = this.#options.highestWaiting()
    const holders: Holder[] = []
    if (idleCount === 0 && waiting === undefined) return holders
    const isWanted = (chunk: Chunk): boolean =>
      idleCount > 0 || (waiting !== undefined && priorityOf(chunk) < waiting)
    for (const runner of this.#options.runners) {
      // What is with other machines waits there for whoever is free first.
      if (runner.elsewhere) continue
      const chunks = recallable(runner, isWanted)
      if (chunks === undefined) continue
      let expectedMs = 0
      for (const chunk of chunks) expectedMs += expectedItemMs(chunk.task) * (chunk.count - chunk.received)
      holders.push({ runner, chunks, ageMs: monotonicMs() - runner.firstChunk!.firstSinceMs, expectedMs })
    }
    return holders
  }

  /** Returns how many were asked. */
  #recall(holders: Holder[]): number {
    // Each idle worker has use for what one other gives; whoever has most is asked first. For what is more important,
    // all are asked: nobody knows whose item ends first.
    const idleCount = this.#idleCount || Infinity
    holders.sort((a, b) => b.expectedMs - a.expectedMs)
    const asked = holders.slice(0, idleCount)
    for (const { runner, chunks } of asked) for (const chunk of chunks) runner.recall(chunk)
    return asked.length
  }
}

/** Chunks of which something has certainly or probably not begun. (It is asked after every message of a worker.) */
function recallable(runner: WorkerRunner, isWanted: (chunk: Chunk) => boolean): Chunk[] | undefined {
  let found: Chunk[] | undefined
  let isFirst = true
  for (const chunk of runner.chunks) {
    const canGo = !hasPorts(chunk) && (!isFirst || canBeCut(chunk))
    if (!chunk.isRecalled && isWanted(chunk) && canGo) (found ??= []).push(chunk)
    isFirst = false
  }
  return found
}

/**
 * Whether its worker can give back the end of the chunk that it runs. A chunk whose size the caller has chosen stays
 * whole. Items that have been decoded are decoded again elsewhere, which what can be received only once does not allow.
 */
function canBeCut(chunk: Chunk): boolean {
  if (chunk.count - chunk.received < 2 || chunk.parts[0]!.job.chunkSize !== undefined) return false
  if (!chunk.isPacked) return true
  return chunk.bodies.every(({ bytes }) => !hasLeases(bytes))
}

/** A port is with the worker that it was sent to. */
function hasPorts(chunk: Chunk): boolean {
  return chunk.bodies.some(
    ({ attachments }) => attachments?.some(attachment => attachment instanceof MessagePort) === true,
  )
}

function priorityOf(chunk: Chunk): number {
  return chunk.parts[0]!.job.limits.priority
}
