/**
 * What `wait()` can wait for: an object says whether it is ready, and whose line to stand in until it is. Upper layers
 * (Process) take part by the same symbol.
 */
import type { WaitLine } from './wait-line.ts'

/** The method by which an object takes part in `wait()`. */
export const readiness: unique symbol = Symbol.for('multiproc.readiness')

/** Whether something is ready, and how to learn that it may have become so. */
export interface Readiness {
  isReady(): boolean
  /** Settles, in any way, when it may have become ready. */
  changed?: Promise<unknown>
  /** The line in which its users wait. */
  line?: WaitLine
}
