/**
 * How many items go to a worker in one message. Too few, and messages cost more than the work; too many, and one
 * worker still runs while the others are done. Invariant: at least one item.
 */
import type { ShippedFunction } from './function-table.ts'

/**
 * A message should keep a worker busy about this long: long against a message, short against a person. And it should not
 * be larger than this, whatever the items are.
 */
const targetHere: ChunkTarget = { chunkMs: 5, chunkBytes: 1 << 20 }
const chunkItemsMax = 1 << 15
/** Near the end chunks shrink to this part of a worker's share, so that all workers finish together. */
const chunksLeftPerWorker = 4
/** A second chunk waits in a worker only if the first is done within this time. */
const prefetchMsMax = 20
/** To wake a thread takes some 50 µs, where another processor has to be called. */
const answeredSoonMs = 0.05

export interface ChunkDemand {
  task: ShippedFunction
  /** Items that are left, when known. */
  remaining: number | undefined
  workers: number
  /** What the caller asked for. */
  chunkSize: number | undefined
  /** Default: what suits workers of this machine. */
  target?: ChunkTarget | undefined
}

/** How much a message should be. */
export interface ChunkTarget {
  chunkMs: number
  chunkBytes: number
}

/** Items of the next chunk. Before anything was measured it is one. */
export function nextChunkSize({
  task,
  remaining,
  workers,
  chunkSize,
  target = targetHere,
}: ChunkDemand): number {
  if (chunkSize !== undefined) return chunkSize
  if (task.itemMs === undefined) return 1
  const byTime = target.chunkMs / Math.max(task.itemMs, 1e-6)
  const byBytes = target.chunkBytes / Math.max(task.itemBytes, 1)
  const byEnd = remaining === undefined ? Infinity : remaining / (workers * chunksLeftPerWorker)
  return Math.max(1, Math.floor(Math.min(byTime, byBytes, byEnd, chunkItemsMax)))
}

/** How long an item will take, as far as anybody knows: a function that has never run is taken for one that takes long. */
export function expectedItemMs(task: ShippedFunction): number {
  return task.itemMs ?? targetHere.chunkMs
}

/** Whether a chunk of `count` items is so short that another one may wait behind it. */
export function allowsPrefetch(task: ShippedFunction, count: number): boolean {
  return task.itemMs !== undefined && task.itemMs * count <= prefetchMsMax
}

/** Whether the answer to a chunk of `count` items comes in less time than it takes to wake a thread that sleeps. */
export function isAnsweredSoon(task: ShippedFunction, count: number): boolean {
  return task.itemMs !== undefined && task.itemMs * count <= answeredSoonMs
}

/** Takes a measurement of `count` items into account. The newest weighs half. */
export function learnTime(task: ShippedFunction, count: number, elapsedMs: number): void {
  const itemMs = elapsedMs / count
  task.itemMs = task.itemMs === undefined ? itemMs : (task.itemMs + itemMs) / 2
}

/** Takes the size of what was sent for `count` items into account. */
export function learnSize(task: ShippedFunction, count: number, bytes: number): void {
  const itemBytes = bytes / count
  task.itemBytes = Math.max(itemBytes, (task.itemBytes + itemBytes) / 2)
}
