/**
 * What a program and those who inspect it say to each other: a line of JSON each. The conversation is in README.md.
 * Plain data only: what comes from the other side is read by inspection-reader.ts and never decoded as a value.
 */
import type { InspectedTable } from '../insights/inspected-tables.ts'
import type { CallSnapshot, PoolSnapshot, WorkerSnapshot } from '../pool/pool-snapshot.ts'
import type { TaskFailure } from '../pool/failure-log.ts'

/** Raised when an older reader would misunderstand a message. New fields do not raise it. */
export const PROTOCOL_VERSION = 1

/** A line of somebody who inspects has no more characters. */
export const REQUEST_CHARACTERS_MAX = 1024
/** A line of a program has no more. A snapshot of 64 workers has some 30 thousand. */
export const ANSWER_CHARACTERS_MAX = 16 * 1024 * 1024

/** Asks for a snapshot; of failures only those with a number above `failuresAfter`. */
export interface LookRequest {
  type: 'look'
  failuresAfter: number
}

/** What an inspector sends. */
export type ToProgram = LookRequest

/** The first line of a program. */
export interface ProgramHello {
  type: 'hello'
  protocol: number
  pid: number
  /** The command line, shortened. */
  command: string
  node: string
  startedAtMs: number
}

/** A span on its way: worker, function, begin (milliseconds since 1970), duration, tasks, those that failed, item or -1. */
export type SpanTuple = [
  workerName: string,
  functionName: string,
  startMs: number,
  durationMs: number,
  tasks: number,
  failed: number,
  index: number,
]

/** A pool, without what JSON does not have. */
export interface InspectedPool extends Omit<PoolSnapshot, 'spans'> {
  spans: SpanTuple[]
}

/** What a program does at one moment, and since the look before. */
export interface ProgramSnapshot {
  type: 'snapshot'
  atMs: number
  /** The time of processors that its process has used so far, threads included. */
  processorMs: number
  /** How long its event loop has worked and waited so far. */
  loopActiveMs: number
  loopIdleMs: number
  memoryBytes: number
  pools: InspectedPool[]
  /** Pools that ended since the last look, each with its last numbers. */
  endedPools: InspectedPool[]
  failures: TaskFailure[]
  /** All that there were. */
  failureCount: number
  tables: InspectedTable[]
}

/** What a program sends. */
export type FromProgram = ProgramHello | ProgramSnapshot

export type { CallSnapshot, InspectedTable, TaskFailure, WorkerSnapshot }
