/**
 * The pools of this process or thread that have not ended. Invariant: at the end of the program their workers are
 * killed, and from then on nothing is submitted; without a pool nobody listens for the end.
 */
import { ClosedError } from '../errors.ts'

export interface LivePool {
  /** How many workers it may have, spares included. */
  readonly workersMax: number
  /** Nothing can be waited for any more. */
  killNow(): void
}

/** Somebody who wants to know which pools there are. */
export interface PoolsObserver {
  opened(pool: LivePool): void
  ended(pool: LivePool): void
}

const live = new Set<LivePool>()
const observers = new Set<PoolsObserver>()
/** Whether the event loop has ended. */
let isEnding = false

export function addLivePool(pool: LivePool): void {
  if (live.size === 0) {
    process.on('exit', killAll)
    // Before the listeners of the program, which would submit work that nobody can do.
    process.prependListener('exit', noteEnd)
  }
  live.add(pool)
  for (const observer of observers) observer.opened(pool)
}

export function removeLivePool(pool: LivePool): void {
  if (live.delete(pool)) for (const observer of observers) observer.ended(pool)
  if (live.size > 0) return
  process.removeListener('exit', killAll)
  process.removeListener('exit', noteEnd)
}

/** The pools that have not ended. */
export function livePools(): Iterable<LivePool> {
  return live
}

/** Tells of pools that open and end from now on. Returns what stops that. */
export function observePools(observer: PoolsObserver): () => void {
  observers.add(observer)
  return () => void observers.delete(observer)
}

/** How many workers the pools of this process or thread may have, spares included. */
export function workersOfAllPools(): number {
  let sum = 0
  for (const pool of live) sum += pool.workersMax
  return sum
}

/** @throws ClosedError in a listener of 'exit'. */
export function assertNotEnding(): void {
  if (!isEnding) return
  throw new ClosedError(
    'Cannot submit work: the program is ending, and nothing can be waited for in a listener of "exit"\nTo fix: submit it before, and await its result; a listener of "beforeExit" can still do that',
  )
}

function noteEnd(): void {
  isEnding = true
}

function killAll(): void {
  for (const pool of live) pool.killNow()
}
