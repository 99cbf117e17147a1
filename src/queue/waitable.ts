/**
 * How an object takes part in `wait()`: it says whether it is ready, and how to learn that it may have become so. Upper
 * layers (Process) take part by the same symbol.
 */
import type { WaitLine } from './wait-line.ts'

/** The method by which an object takes part in `wait()`. */
export const readiness: unique symbol = Symbol.for('multiproc.readiness')

/** Whether something is ready, and how to learn that it may have become so. */
export interface Readiness {
  isReady(): boolean
  /** Has `onChange` called when it may have become ready, until `stop`. */
  changed?: (onChange: () => void, stop: AbortSignal) => void
  /** The line in which its users wait. */
  line?: WaitLine
  /** Whether it learns from the event loop what has arrived, so that a mere look lets that turn once before. */
  needsTurn?: boolean
}
