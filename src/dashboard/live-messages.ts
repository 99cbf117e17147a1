/**
 * What the web server of a dashboard sends to its page: events, each with one of these as JSON. The page gets numbers that
 * are ready to be shown; it computes none.
 */
import type { CallSnapshot, InspectedTable, SpanTuple, TaskFailure } from './inspection-protocol.ts'

/** A program that the page can show. */
export interface ProgramBrief {
  id: string
  pid: number
  command: string
  node: string
  startedAtMs: number
  /** `silent`: it has not answered for a while, because it is stopped or busy with synchronous code. */
  state: 'running' | 'silent' | 'ended'
}

/** One moment of the charts. `null` where nothing was measured. */
export interface Point {
  atMs: number
  /** Tasks in a second, by the number of the pool. */
  perSecond: Record<number, number>
  failedPerSecond: number
  /** Half of the tasks took no longer; and 99 of 100. */
  p50Ms: number | null
  p99Ms: number | null
  waiting: number
  workers: number
  busyWorkers: number
  /** Of the program and the processes of its workers. */
  memoryBytes: number
  /** 100 is one processor. `null` where the system does not tell it for other processes. */
  processorPercent: number | null
  /** How much of the time the program's own event loop worked. */
  loopPercent: number
}

export interface WorkerRow {
  name: string
  pid: number | null
  threadId: number | null
  state: 'starting' | 'idle' | 'working' | 'stopping' | 'ended'
  isSpare: boolean
  functionName: string | null
  /** How long it has run without a result. */
  runningMs: number
  perSecond: number
  busyPercent: number
  processorPercent: number | null
  memoryBytes: number | null
  items: number
  done: number
  failed: number
}

export interface PoolRow {
  number: number
  name: string
  method: 'spawn' | 'thread'
  state: 'running' | 'closed' | 'terminated' | 'broken' | 'ended'
  processes: number
  /** Of a pool on a cluster: how many of its processes have work. */
  busyElsewhere: number | null
  jobs: number
  waiting: number
  done: number
  failed: number
  perSecond: number
  workersEnded: number
  bytesSent: number
  bytesReceived: number
  workers: WorkerRow[]
  calls: CallSnapshot[]
  callsLeftOut: number
  longestTasks: { name: string; index: number | null; count: number; durationMs: number; arguments: string }[]
}

/** A span of the timeline, and the number of its pool. */
export type PoolSpan = [poolNumber: number, ...SpanTuple]

/** Event `programs`. */
export interface ProgramsMessage {
  programs: ProgramBrief[]
  /** The one that this stream shows. */
  shown: string | null
}

/** Event `history`: what was before. The page forgets what it had. */
export interface HistoryMessage {
  points: Point[]
  spans: PoolSpan[]
  failures: TaskFailure[]
  /** The page keeps so much. */
  pointsMax: number
  timelineMs: number
  failuresMax: number
}

/** Event `update`. */
export interface UpdateMessage {
  point: Point | null
  pools: PoolRow[]
  spans: PoolSpan[]
  failures: TaskFailure[]
  failureCount: number
  tables: InspectedTable[]
  done: number
  failed: number
}

export type { CallSnapshot, InspectedTable, TaskFailure }
