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
  | 'ERR_POISONED_ITEM'
  | 'ERR_TIMEOUT'
  | 'ERR_INTERRUPTED'
  | 'ERR_CLOSED'
  | 'ERR_TERMINATED'
  | 'ERR_CANCELLED'
  | 'ERR_INITIALIZER_FAILED'
  | 'ERR_START_FAILED'
  | 'ERR_RESTART_LIMIT'
  | 'ERR_BROKEN_POOL'
  | 'ERR_LIMIT'
  | 'ERR_NOT_FOUND'
  | 'ERR_ALREADY_EXISTS'
  | 'ERR_OWNER_DIED'
  | 'ERR_LEASE_LOST'
  | 'ERR_BROKEN_BARRIER'
  | 'ERR_QUEUE_EMPTY'
  | 'ERR_QUEUE_FULL'
  | 'ERR_NOT_SUPPORTED'
  | 'ERR_PROTOCOL'
  | 'ERR_AUTHENTICATION'
  | 'ERR_CLUSTER_CONNECTION'
  | 'ERR_CLUSTER_SERVER'
  | 'ERR_CLUSTER_NO_AGENTS'
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

/**
 * Something took longer than it was given. The work that `get()`, `join()` and other waits were for goes on; an item
 * of a pool that had a `timeout` is stopped.
 */
export class TimeoutError extends ProcessError {
  override name = 'TimeoutError'
  /** Index of the item, when one of a map took too long. */
  declare readonly taskIndex?: number

  constructor(message: string, options?: ErrorOptions & { taskIndex?: number | undefined }) {
    const { taskIndex, ...others } = options ?? {}
    super('ERR_TIMEOUT', message, others)
    if (taskIndex !== undefined) this.taskIndex = taskIndex
  }
}

/** The program was asked to end, as Python's `KeyboardInterrupt`: the reason of `interruptSignal()`. */
export class InterruptedError extends ProcessError {
  override name = 'InterruptedError'
  readonly signal: NodeJS.Signals
  /** What the program should exit with, as shells have it: 128 and the number of the signal. */
  readonly exitCode: number

  constructor(signal: NodeJS.Signals, exitCode: number) {
    super('ERR_INTERRUPTED', `The program was interrupted by ${signal}`)
    this.signal = signal
    this.exitCode = exitCode
  }
}

/** The pool, process or connection was closed before the call, or while it waited. */
export class ClosedError extends ProcessError {
  override name = 'ClosedError'

  constructor(message: string, options?: ErrorOptions & { code?: 'ERR_CLOSED' | 'ERR_TERMINATED' }) {
    super(options?.code ?? 'ERR_CLOSED', message, options)
  }
}

/** The other side of a connection did not show that it knows the key, as Python's `AuthenticationError`. */
export class AuthenticationError extends ProcessError {
  override name = 'AuthenticationError'
  /** What was wrong with the other side, in some words. */
  readonly reason: string

  constructor(message: string, { reason, ...options }: ErrorOptions & { reason: string }) {
    super('ERR_AUTHENTICATION', message, options)
    this.reason = reason
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

/**
 * What ended a worker, as far as it can be told:
 *
 * - `'exit'`: `process.exit()` was called in it
 * - `'uncaughtError'`: an error that nobody caught, outside of the task's own call; it is the `cause`
 * - `'outOfMemory'`: its JavaScript heap was full, or the system had no memory left
 * - `'crash'`: native code failed (SIGSEGV, SIGABRT and the like)
 * - `'killed'`: somebody sent a signal
 * - `'frozen'`: the pool killed it, because it gave no sign of life for as long as the option `heartbeat` says
 * - `'channel'`: it closed the connection to its pool, or wrote something else into it
 */
export type WorkerDeathReason =
  | 'exit'
  | 'uncaughtError'
  | 'outOfMemory'
  | 'crash'
  | 'killed'
  | 'frozen'
  | 'channel'

/** What is known of a worker's death. */
export interface WorkerDeathFacts {
  pid: number | undefined
  workerName: string
  /** The code it ended with, or `null` when a signal killed it. */
  exitCode: number | null
  /** The signal that killed it, or `null`. */
  signal: NodeJS.Signals | null
  /** What ended it, when that can be told. */
  reason?: WorkerDeathReason | undefined
  /** Name of the function that it was running. */
  taskName?: string | undefined
  /** Index of the item it was running, when the task came from a map. */
  taskIndex?: number | undefined
  /** How many workers died of the item so far, this one included. */
  deaths?: number | undefined
  /** The last lines that the worker wrote to stderr, at most 8 KiB. */
  stderr?: string | undefined
  /** Its memory when it was last looked at, in bytes: of the process, or of a thread's heap. */
  memoryBytes?: number | undefined
}

/** A worker ended while it ran a task. The task's fate is unknown; nothing else was lost. */
export class WorkerDiedError extends ProcessError implements WorkerDeathFacts {
  override name = 'WorkerDiedError'
  readonly pid: number | undefined
  readonly workerName: string
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  /** What ended it, when that can be told. */
  readonly reason: WorkerDeathReason | undefined
  /** Name of the function that it was running. */
  readonly taskName: string | undefined
  readonly taskIndex: number | undefined
  /** How many workers died of the item so far, this one included. */
  readonly deaths: number
  /** The last lines that the worker wrote to stderr, at most 8 KiB. */
  readonly stderr: string
  /** Its memory when it was last looked at, in bytes: of the process, or of a thread's heap. */
  readonly memoryBytes: number | undefined

  constructor(
    message: string,
    facts: WorkerDeathFacts,
    options?: ErrorOptions & { code?: 'ERR_WORKER_DIED' | 'ERR_POISONED_ITEM' },
  ) {
    super(options?.code ?? 'ERR_WORKER_DIED', message, options)
    this.pid = facts.pid
    this.workerName = facts.workerName
    this.exitCode = facts.exitCode
    this.signal = facts.signal
    this.reason = facts.reason
    this.taskName = facts.taskName
    this.taskIndex = facts.taskIndex
    this.deaths = facts.deaths ?? 1
    this.stderr = facts.stderr ?? ''
    this.memoryBytes = facts.memoryBytes
  }
}

/**
 * So many workers died of one item that it is not run again, although `retries` would allow it. The facts are those of
 * the last death.
 */
export class PoisonedItemError extends WorkerDiedError {
  override name = 'PoisonedItemError'

  constructor(message: string, facts: WorkerDeathFacts, options?: ErrorOptions) {
    super(message, facts, { ...options, code: 'ERR_POISONED_ITEM' })
  }
}

/**
 * A pool cannot work any more: its initializer failed, or its workers cannot start, or die again and again without
 * doing anything. All its work fails with this.
 */
export class BrokenPoolError extends ProcessError {
  override name = 'BrokenPoolError'

  declare readonly code:
    | 'ERR_INITIALIZER_FAILED'
    | 'ERR_START_FAILED'
    | 'ERR_RESTART_LIMIT'
    | 'ERR_BROKEN_POOL'
    | 'ERR_TERMINATED'
    | 'ERR_CLUSTER_CONNECTION'
    | 'ERR_CLUSTER_SERVER'
    | 'ERR_CLUSTER_NO_AGENTS'
    | 'ERR_NOT_SUPPORTED'
}

/**
 * A pool on a cluster cannot work any more: its server cannot be reached for too long (`ERR_CLUSTER_CONNECTION`), is too
 * old or refuses what a pool needs (`ERR_CLUSTER_SERVER`), no agent has served it for too long (`ERR_CLUSTER_NO_AGENTS`),
 * or the client packages are not installed (`ERR_NOT_SUPPORTED`). All its work fails with this, and so do calls of state
 * that machines share.
 */
export class ClusterError extends BrokenPoolError {
  override name = 'ClusterError'
}

/**
 * An executor cannot work any more, as Python's `concurrent.futures.BrokenExecutor`: a worker died
 * (`ERR_BROKEN_POOL`), its workers were killed by `terminateWorkers()` or `killWorkers()` (`ERR_TERMINATED`), or one of
 * the reasons of {@link BrokenPoolError}. Each future has an error object of its own.
 */
export class BrokenExecutor extends BrokenPoolError {
  override name = 'BrokenExecutor'
}

/** A {@link ProcessPoolExecutor} is broken. */
export class BrokenProcessPool extends BrokenExecutor {
  override name = 'BrokenProcessPool'
}

/** A {@link ThreadPoolExecutor} is broken. */
export class BrokenThreadPool extends BrokenExecutor {
  override name = 'BrokenThreadPool'
}

/** An {@link InterpreterPoolExecutor} is broken. */
export class BrokenInterpreterPool extends BrokenThreadPool {
  override name = 'BrokenInterpreterPool'
}

/** A future was cancelled before its task began, as Python's `concurrent.futures.CancelledError`. */
export class CancelledError extends ProcessError {
  override name = 'CancelledError'

  constructor(message: string, options?: ErrorOptions) {
    super('ERR_CANCELLED', message, options)
  }
}

/** A future is in a state in which the call makes no sense: a result is set for the second time, for instance. */
export class InvalidStateError extends ProcessError {
  override name = 'InvalidStateError'

  constructor(message: string, options?: ErrorOptions) {
    super('ERR_INVALID_STATE', message, options)
  }
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

/**
 * A lock or permit that machines share was not held any more when it was given back: its lease could not be renewed in
 * time, and others may have had it meanwhile.
 */
export class LeaseLostError extends ProcessError {
  override name = 'LeaseLostError'

  constructor(message: string, options?: ErrorOptions) {
    super('ERR_LEASE_LOST', message, options)
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
