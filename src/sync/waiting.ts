/**
 * Trying until it works: what every wait of this layer is made of. An attempt looks at words of the heap and either
 * succeeds or says on which word to sleep, and with which value; so a wake is only a hint to try again, and one that
 * is lost costs 10 ms at most (see "Waiting" in README.md).
 */
import { isLookOnly } from '../platform/bounded-wait.ts'
import type { SharedHeap } from '../platform/shared-heap.ts'

/** What this layer needs of the heap; the model tests bring one of their own. */
export type SyncHeap = Pick<
  SharedHeap,
  | 'words'
  | 'token'
  | 'ends'
  | 'hasEnded'
  | 'isAlive'
  | 'waitSync'
  | 'waitAsync'
  | 'wake'
  | 'allocate'
  | 'attach'
>

/** What an attempt says when it did not succeed. One object serves all attempts of a wait. */
export interface Sleep {
  /** The word that changes when it is worth trying again. */
  index: number
  /** The value that the attempt saw there. */
  expected: number
  /** Whether only this thread itself can let it succeed, as far as one can tell. */
  isOwnDoing: boolean
  /** Told to the attempt: whether this wait has slept, so that others may sleep on the same word. */
  hasSlept: boolean
}

/** Gives what was waited for, or `undefined` after it has filled in where to sleep. */
export type Attempt<T extends {}> = (sleep: Sleep) => T | undefined

/** For a wait that begins. */
export function newSleep(): Sleep {
  return { index: 0, expected: 0, isOwnDoing: false, hasSlept: false }
}

/**
 * Blocks this thread until the attempt succeeds; `undefined` after the timeout.
 *
 * @param onDeadlock - called when a wait without a limit could only be ended by this thread itself
 */
export function waitBlocking<T extends {}>(
  heap: SyncHeap,
  attempt: Attempt<T>,
  { timeout = Infinity, onDeadlock }: { timeout?: number | undefined; onDeadlock?: () => Error },
): T | undefined {
  const sleep = newSleep()
  const until = timeout === Infinity ? Infinity : performance.now() + timeout
  for (;;) {
    const { ends } = heap
    const result = attempt(sleep)
    if (result !== undefined) return result
    if (isLookOnly(timeout)) return undefined
    if (sleep.isOwnDoing && timeout === Infinity && onDeadlock !== undefined) throw onDeadlock()
    const leftMs = until - performance.now()
    if (leftMs <= 0) return undefined
    sleep.hasSlept = true
    heap.waitSync(sleep.index, sleep.expected, leftMs, ends)
  }
}
