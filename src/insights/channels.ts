/**
 * The channels of `node:diagnostics_channel` by which tools (APM agents, loggers) follow what happens, and the shape of
 * their messages. Invariant: while nobody has subscribed, whatever could be told costs one look, and nothing is made.
 */
import { type Channel, type TracingChannel, channel, tracingChannel } from 'node:diagnostics_channel'
import type { Carrier } from './carrier.ts'
import type { ThrownText } from './thrown-text.ts'

/** The message of `tracing:multiproc:call:*`, in the process that calls. The same object from start to end. */
export interface CallMessage {
  /** The name of the pool or executor. */
  pool: string
  /** The method that was called: `map`, `apply`, `imap`, `submit` and so on. */
  method: string
  /** The name of the function. */
  name: string
  /** How many items there are, where that is known at the call; 1 for a single call. */
  items: number | undefined
  /** To be filled by a subscriber of `start`. */
  carrier: Carrier
  /** Items with an outcome, and those of them that failed; at the end. */
  done?: number
  failed?: number
  /**
   * The failure of the call, when it has one: that of its first item to fail, or what ended the whole of it (it was
   * called off, its time was up, the pool has ended). Told by `error`, before the end.
   */
  error?: unknown
}

/** The message of `tracing:multiproc:task:*`, in the worker. The same object from start to end. */
export interface TaskMessage {
  /** The name of the function. */
  name: string
  workerName: string
  /** Index of the item; `undefined` for `apply`. */
  index: number | undefined
  attempt: number
  /** What the call was given. */
  carrier: Readonly<Carrier>
  result?: unknown
  error?: unknown
}

/** Items of one call in a chunk, one after the other. */
export interface ChunkPart {
  /** The message of their call; `undefined` when nobody followed calls at that time. */
  call: CallMessage | undefined
  /** Index of the first of them; `undefined` for a single call. */
  index: number | undefined
  count: number
  /** Number of the run, from 1. */
  attempt: number
  /**
   * When the worker ran them, at the end of a chunk with `wantsTimes`. `undefined` when the worker has not said so: it
   * died before that, or a tool in it has told of them itself.
   */
  time?: PartTime
}

/** When a worker ran the items of a {@link ChunkPart}, by the clock of `process.hrtime()`, which all processes of a machine share. */
export interface PartTime {
  startMs: number
  endMs: number
  /** How many of them threw. */
  failed: number
  /** What the first of these threw, as text. */
  error?: ThrownText
}

/** The message of `tracing:multiproc:chunk:*`, in the process that calls: several items on their way to one worker. */
export interface ChunkMessage {
  /** The name of the function. */
  name: string
  workerName: string
  pid: number | undefined
  /** Of a worker that is a thread. */
  threadId: number | undefined
  items: number
  /** Fewer at the end when some were taken back in time, for another worker. */
  parts: readonly ChunkPart[]
  /** To be set by a subscriber of `start` that wants to know when the items ran. */
  wantsTimes: boolean
  /** Items that came back without having been run, or were lost with the worker; at the end. */
  lost?: number
  /** Which item of the chunk the worker ran when it ended, as far as it is known; with `error`. */
  lostAt?: number
  /** How the worker ended, when it had the chunk. Told by `error`, before the end. */
  error?: Error
}

/**
 * The message of `tracing:multiproc:process:*` and `multiproc:process:ready`, in the parent: a child from its start to
 * its end, be it a `Process` or a worker of a pool.
 */
export interface ProcessMessage {
  kind: 'process' | 'worker'
  name: string
  /** The name of the function that a `Process` runs. */
  target?: string | undefined
  startMethod: 'spawn' | 'thread'
  /** Of a `Process`: to be filled by a subscriber of `start`, for the tools in the child. */
  carrier: Carrier
  /** From `end` on. */
  pid?: number | undefined
  /** Of a thread, from `end` on. */
  threadId?: number | undefined
  /** At `asyncEnd`: as `process.exitCode`, with `-N` for signal N. */
  exitCode?: number | null
  /** At `asyncEnd`: the signal that ended it, or `null`. */
  signal?: string | null
  /** Why it could not be started, or why it was ended, where that is known. */
  error?: unknown
}

/** The message of `tracing:multiproc:lock:*`: somebody waits for a lock or a semaphore. */
export interface LockWaitMessage {
  /** `Lock`, `RLock`, `Semaphore` or `BoundedSemaphore`. */
  type: string
  /** The object itself. */
  object: object
  /** Whether the thread is blocked meanwhile (`acquireSync`); then there is no `asyncStart` and no `asyncEnd`. */
  isBlocking: boolean
  /** What the wait threw: the reason of a signal, for instance. */
  error?: unknown
}

/** The message of `tracing:multiproc:queue:*`: somebody waits for an item, or for room. */
export interface QueueWaitMessage {
  /** `Queue`, `JoinableQueue` or `SimpleQueue`. */
  type: string
  operation: 'put' | 'get'
  /** The object itself. */
  object: object
  /** Whether the thread is blocked meanwhile (`getSync`); then there is no `asyncStart` and no `asyncEnd`. */
  isBlocking: boolean
  /** What the wait threw: a {@link QueueEmptyError}, for instance. */
  error?: unknown
}

let calls: TracingChannel<unknown, CallMessage> | undefined
let tasks: TracingChannel<unknown, TaskMessage> | undefined
let chunks: TracingChannel<unknown, ChunkMessage> | undefined
let processes: TracingChannel<unknown, ProcessMessage> | undefined
let readyProcesses: Channel<unknown, ProcessMessage> | undefined
let locks: TracingChannel<unknown, LockWaitMessage> | undefined
let queues: TracingChannel<unknown, QueueWaitMessage> | undefined

export function callChannel(): TracingChannel<unknown, CallMessage> {
  return (calls ??= tracingChannel('multiproc:call'))
}

export function taskChannel(): TracingChannel<unknown, TaskMessage> {
  return (tasks ??= tracingChannel('multiproc:task'))
}

export function chunkChannel(): TracingChannel<unknown, ChunkMessage> {
  return (chunks ??= tracingChannel('multiproc:chunk'))
}

export function processChannel(): TracingChannel<unknown, ProcessMessage> {
  return (processes ??= tracingChannel('multiproc:process'))
}

/** A child has become ready: it has loaded what it is to do (a process), or was initialized (a worker). */
export function processReadyChannel(): Channel<unknown, ProcessMessage> {
  return (readyProcesses ??= channel('multiproc:process:ready') as Channel<unknown, ProcessMessage>)
}

export function lockChannel(): TracingChannel<unknown, LockWaitMessage> {
  return (locks ??= tracingChannel('multiproc:lock'))
}

export function queueChannel(): TracingChannel<unknown, QueueWaitMessage> {
  return (queues ??= tracingChannel('multiproc:queue'))
}

/** Whether anybody listens. (The types of Node.js 20 lack the property of tracing channels.) */
export function isFollowed(followed: unknown): boolean {
  return (followed as { hasSubscribers: boolean }).hasSubscribers
}
