/** Where the results of a run go. Invariant: what waits to be written is bounded, if callers wait when told to. */
import type { LogItem } from './job-log-format.ts'

/** A finished input. */
export interface FinishedInput {
  /** From 1. */
  number: number
  /** Its result, without the end of the line; `undefined` when there is none to be written, because it failed. */
  line: string | undefined
  /** For the job log, if there is one; the sink completes it. */
  entry: LogItem | undefined
}

export interface ResultSink {
  /** Takes a finished input. It is written at the latest when the event loop turns, and then logged. */
  write(input: FinishedInput): void
  /** Whether the sink is behind, or cannot go on: then wait for `drained()`. */
  readonly isFull: boolean
  /**
   * Waits until it takes more, or the signal aborts.
   *
   * @throws what went wrong while it wrote.
   */
  drained(signal: AbortSignal): Promise<void>
  /**
   * Writes the rest, and lets go of everything.
   *
   * @throws what went wrong while it wrote.
   */
  end(): Promise<void>
}
