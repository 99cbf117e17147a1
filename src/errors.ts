/**
 * Every error class that a caller may want to catch, with its stable code.
 *
 * Misuse of the API (a wrong type, a value out of range) throws the built-in `TypeError` or `RangeError` with a
 * `code`; the classes here are for things that go wrong at run time. A message says what happened and why on its
 * first line, and then, after `To fix:`, what to do.
 */

/** Codes of the errors this library throws. They never change their meaning. */
export type ErrorCode =
  | 'ERR_INVALID_ARGUMENT'
  | 'ERR_INVALID_STATE'
  | 'ERR_NOT_SERIALIZABLE'
  | 'ERR_NOT_DESERIALIZABLE'
  | 'ERR_RESULT_NOT_SERIALIZABLE'
  | 'ERR_WORKER_DIED'
  | 'ERR_TIMEOUT'
  | 'ERR_CLOSED'
  | 'ERR_TERMINATED'
  | 'ERR_INITIALIZER_FAILED'
  | 'ERR_START_FAILED'
  | 'ERR_LIMIT'
  | 'ERR_NOT_FOUND'
  | 'ERR_ALREADY_EXISTS'
  | 'ERR_OWNER_DIED'
  | 'ERR_BROKEN_BARRIER'
  | 'ERR_QUEUE_EMPTY'
  | 'ERR_QUEUE_FULL'
  | 'ERR_NOT_SUPPORTED'
  | 'ERR_PROTOCOL'
  | 'ERR_REMOTE'

/** Base class of all errors of this library, as Python's `multiprocessing.ProcessError`. */
export class ProcessError extends Error {
  override name = 'ProcessError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Nothing arrived in the given time. The work that was waited for goes on. */
export class TimeoutError extends ProcessError {
  override name = 'TimeoutError'

  constructor(message: string, options?: ErrorOptions) {
    super('ERR_TIMEOUT', message, options)
  }
}

/** The pool, process or connection was closed before the call, or while it waited. */
export class ClosedError extends ProcessError {
  override name = 'ClosedError'

  constructor(message: string, options?: ErrorOptions & { code?: 'ERR_CLOSED' | 'ERR_TERMINATED' }) {
    super(options?.code ?? 'ERR_CLOSED', message, options)
  }
}

/** Where and why a value could not be sent or rebuilt. */
export interface SerializeErrorFacts {
  code?: 'ERR_NOT_SERIALIZABLE' | 'ERR_NOT_DESERIALIZABLE' | 'ERR_RESULT_NOT_SERIALIZABLE'
  /** From the root to the culprit: `['function resize', 'captured variable "db"', '.socket']`. */
  path?: readonly string[]
  cause?: unknown
}

/** A value cannot go to another process, or what arrived cannot be rebuilt. */
export class SerializeError extends ProcessError {
  override name = 'SerializeError'
  /** From the root to the culprit: `['function resize', 'captured variable "db"', '.socket']`. */
  readonly path: readonly string[]

  constructor(message: string, facts: SerializeErrorFacts = {}) {
    const { code = 'ERR_NOT_SERIALIZABLE', path = [], ...options } = facts
    super(code, message, options)
    this.path = path
  }
}

/**
 * A module that a function or value was to be imported from does not load in the receiving process, or holds something
 * else there. The sender can then try to send what it needs of the module by value.
 */
export class ModuleLoadError extends SerializeError {
  override name = 'ModuleLoadError'
  /** The URL or bare specifier of the module. */
  readonly url: string
  /** Whether the module could not be used at all; false when its own code threw while it ran. */
  readonly canSendByValue: boolean

  constructor(message: string, facts: { url: string; canSendByValue: boolean; cause?: unknown }) {
    super(message, { code: 'ERR_NOT_DESERIALIZABLE', cause: facts.cause })
    this.url = facts.url
    this.canSendByValue = facts.canSendByValue
  }
}

/** A task's result cannot be sent back, as Python's `MaybeEncodingError`. The worker goes on. */
export class MaybeEncodingError extends SerializeError {
  override name = 'MaybeEncodingError'
  /** A short description of the value that could not be sent. */
  readonly value: string

  constructor(message: string, facts: SerializeErrorFacts & { value: string }) {
    super(message, { ...facts, code: 'ERR_RESULT_NOT_SERIALIZABLE' })
    this.value = facts.value
  }
}

/** What is known of a worker's death. */
export interface WorkerDeathFacts {
  pid: number | undefined
  workerName: string
  /** The code it ended with, or `null` when a signal killed it. */
  exitCode: number | null
  /** The signal that killed it, or `null`. */
  signal: NodeJS.Signals | null
  /** Index of the item it was running, when the task came from a map. */
  taskIndex?: number | undefined
}

/** A worker ended while it ran a task. The task's fate is unknown; nothing else was lost. */
export class WorkerDiedError extends ProcessError implements WorkerDeathFacts {
  override name = 'WorkerDiedError'
  readonly pid: number | undefined
  readonly workerName: string
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  readonly taskIndex: number | undefined

  constructor(message: string, facts: WorkerDeathFacts, options?: ErrorOptions) {
    super('ERR_WORKER_DIED', message, options)
    this.pid = facts.pid
    this.workerName = facts.workerName
    this.exitCode = facts.exitCode
    this.signal = facts.signal
    this.taskIndex = facts.taskIndex
  }
}

/** A pool cannot work any more: its initializer failed, or its workers cannot start. All its work fails with this. */
export class BrokenPoolError extends ProcessError {
  override name = 'BrokenPoolError'

  declare readonly code: 'ERR_INITIALIZER_FAILED' | 'ERR_START_FAILED'
}

/**
 * The end of the `cause` chain of every error that was thrown in another process, as Python's `RemoteTraceback`:
 * it says where that was, and its `stack` is the stack of that process.
 */
export class RemoteError extends ProcessError {
  override name = 'RemoteError'
  readonly pid: number | undefined
  readonly workerName: string

  constructor(message: string, facts: { pid: number | undefined; workerName: string; stack: string }) {
    super('ERR_REMOTE', message)
    this.pid = facts.pid
    this.workerName = facts.workerName
    this.stack = facts.stack
  }
}

/**
 * The process or thread that held a lock ended without releasing it, so that what the lock protects may be half
 * changed. The lock belongs to whoever gets this error; release it as usual, after putting things in order.
 */
export class OwnerDiedError extends ProcessError {
  override name = 'OwnerDiedError'

  constructor(message: string, options?: ErrorOptions) {
    super('ERR_OWNER_DIED', message, options)
  }
}

/** A barrier was reset, aborted, or a wait at it ended otherwise, as Python's `threading.BrokenBarrierError`. */
export class BrokenBarrierError extends ProcessError {
  override name = 'BrokenBarrierError'

  constructor(message: string, options?: ErrorOptions) {
    super('ERR_BROKEN_BARRIER', message, options)
  }
}

/** Nothing was in the queue, or came into it in the given time, as Python's `queue.Empty`. */
export class QueueEmptyError extends ProcessError {
  override name = 'QueueEmptyError'

  constructor(message: string, options?: ErrorOptions) {
    super('ERR_QUEUE_EMPTY', message, options)
  }
}

/** The queue was full, and stayed so for the given time, as Python's `queue.Full`. */
export class QueueFullError extends ProcessError {
  override name = 'QueueFullError'

  constructor(message: string, options?: ErrorOptions) {
    super('ERR_QUEUE_FULL', message, options)
  }
}

/** A `TypeError` or `RangeError` for misuse, with our code. */
export function invalidArgument(
  kind: typeof TypeError | typeof RangeError,
  message: string,
): (TypeError | RangeError) & { code: ErrorCode } {
  return Object.assign(new kind(message), { code: 'ERR_INVALID_ARGUMENT' as const })
}

/** A call that makes no sense in the present state of its object. */
export function invalidState(message: string): ProcessError {
  return new ProcessError('ERR_INVALID_STATE', message)
}
