/** What is known of a worker that has ended: what its pool makes of it is in task-outcomes.ts. */
import type { JournalEntry, RunningMark } from '../platform/journal.ts'
import type { ExitStatus } from '../process/popen.ts'
import type { Chunk } from './chunk.ts'
import type { StopReason } from './current-task.ts'
import type { Body } from './protocol.ts'

/** What a dead worker leaves to its pool. */
export interface Death {
  status: ExitStatus
  /** What the worker said before it ended, if it could. */
  lastWords: Body | undefined
  /** Whether it ended before it was ready. */
  wasStarting: boolean
  /** Whether it was asked to end by the pool. */
  wasAsked: boolean
  /** Chunks in the order they were sent; the first may have been running. */
  chunks: Chunk[]
  /** What it had written down of the running chunk. */
  journal: JournalEntry | undefined
  /** Why the pool killed it, if it did. */
  sentence: Sentence | undefined
  /** The last lines that it wrote to stderr. */
  stderr: string
  /** Its memory when it was last looked at. */
  memoryBytes: number | undefined
  /** How its finalizer ended it, if it did: its time was up, or it took the whole worker with it. */
  finalizerEnd: 'timedOut' | 'died' | undefined
}

/** Why a pool kills a worker, and what that was running at that moment. Nothing else was started since. */
export interface Sentence {
  why: StopReason | 'frozen' | 'unresponsive'
  run: RunningMark | undefined
}
