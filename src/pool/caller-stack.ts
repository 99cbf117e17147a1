/**
 * Where a method of the pool was called, to be added to the stacks of errors that come from workers. Taking a stack
 * takes 3 µs, as long as everything else about a call, so that calls from one loop share it.
 * Invariant: the first calls of a turn of the event loop, and every one behind a pause, have a stack of their own.
 */
import { microtask } from '../platform/microtask.ts'
import { setStackTraceLimit } from '../platform/stack-text.ts'

type Method = (...args: never[]) => unknown

/** Its text is written when it is read. */
export interface CallerStack {
  stack?: string
}

/** So many frames of the caller are kept for each call that has not ended. */
const callerFrames = 4
/**
 * So many calls of one function, one behind the other without a pause, have a stack each; of those behind them every
 * so many-th. More are a loop, and not lines that somebody wrote.
 */
const ownStacks = 64

export class CallerStacks {
  #task: unknown
  #method: Method | undefined
  #last: CallerStack = {}
  #count = 0
  #isEndAwaited = false
  readonly #endTurn = (): void => {
    this.#isEndAwaited = false
    this.#count = 0
    // What the frames refer to is not kept by this.
    this.#last = {}
    this.#task = undefined
  }

  /** That of whoever has called `method` for `task`. */
  take(task: unknown, method: Method): CallerStack {
    if (task !== this.#task || method !== this.#method) {
      this.#task = task
      this.#method = method
      this.#count = 0
    }
    const count = this.#count++
    if (count >= ownStacks && count % ownStacks !== 0) return this.#last
    if (!this.#isEndAwaited) {
      this.#isEndAwaited = true
      microtask(this.#endTurn)
    }
    this.#last = capture(method)
    return this.#last
  }
}

function capture(method: Method): CallerStack {
  const caller: CallerStack = {}
  const limit = Error.stackTraceLimit
  setStackTraceLimit(Math.min(limit, callerFrames))
  // V8 writes the text of the stack only when it is read, which is when a task failed.
  Error.captureStackTrace(caller, method)
  setStackTraceLimit(limit)
  return caller
}
