/** What a pool says when a worker died: what ended it, as far as that can be told, and what to do about it. */
import { stackText } from '../platform/stack-text.ts'
import {
  BrokenPoolError,
  ClosedError,
  PoisonedItemError,
  ProcessError,
  SerializeError,
  TimeoutError,
  type WorkerDeathFacts,
  type WorkerDeathReason,
  WorkerDiedError,
} from '../errors.ts'
import { describeExit } from '../process/exit-description.ts'
import type { ExitStatus } from '../process/popen.ts'
import type { ShippedFunction } from './function-table.ts'
import type { Job, Part } from './job.ts'
import { mebibytes } from './memory-limit.ts'
import type { SetupStage } from './protocol.ts'

interface DeadWorker {
  name: string
  pid: number | undefined
}

/** What is known of an end. */
export interface End {
  status: ExitStatus
  /** What the worker said last, if it could: an error that nobody caught. */
  cause: unknown
  stderr: string
  memoryBytes: number | undefined
  /** Whether the pool killed it because it gave no sign of life. */
  isFrozen: boolean
  /** Whether the kernel may have killed it for want of memory: see KernelKills. */
  isKernelShort: boolean
}

/** So many lines of stderr are shown in a message; the error has more. */
const linesShown = 5
const lineCharactersMax = 200
/** What V8 writes before it ends the process. */
const heapFull =
  /^.*(?:FATAL ERROR: .*(?:heap|memory|Allocation)|Fatal process out of memory|Fatal JavaScript out of memory).*$/im

const crashSignals = new Set(['SIGABRT', 'SIGSEGV', 'SIGBUS', 'SIGILL', 'SIGFPE', 'SIGTRAP', 'SIGSYS'])
/** Above this, an exit code of Windows is the number of an exception. 134 is what a shell makes of SIGABRT. */
const windowsExceptionMin = 0x8000_0000
const abortCode = 134

/** What ended a worker, or `undefined` when that cannot be told. */
export function deathReason({
  status,
  cause,
  stderr,
  isFrozen,
  isKernelShort,
}: End): WorkerDeathReason | undefined {
  const { exitCode, signal, error } = status
  const code = error !== undefined && 'code' in error ? error.code : undefined
  if (isFrozen) return 'frozen'
  if (code === 'ERR_WORKER_OUT_OF_MEMORY') return 'outOfMemory'
  if (code === 'ERR_PROTOCOL') return 'channel'
  const isCrash =
    signal === null
      ? exitCode === abortCode || (exitCode ?? 0) >= windowsExceptionMin
      : crashSignals.has(signal)
  if (isCrash) return heapFull.test(stderr) ? 'outOfMemory' : 'crash'
  if (cause !== undefined) return 'uncaughtError'
  if (signal === 'SIGKILL' && isKernelShort) return 'outOfMemory'
  if (signal !== null) return 'killed'
  return exitCode === null ? undefined : 'exit'
}

/** For the item that was running. */
export function workerDied(
  worker: DeadWorker,
  { task, part, end }: { task: ShippedFunction; part: Part; end: End },
): WorkerDiedError {
  const { facts, message, cause } = describeDeath(worker, { task, part, end })
  return withCaller(new WorkerDiedError(message, facts, cause), part.job)
}

/** For an item that is not run again, because too many workers died of it. */
export function poisoned(
  worker: DeadWorker,
  { task, part, end }: { task: ShippedFunction; part: Part; end: End },
): PoisonedItemError {
  const { facts, message, cause } = describeDeath(worker, { task, part, end })
  const item = part.job.isSingle ? `The call of "${task.name}"` : `Item ${part.first} of "${task.name}"`
  const [death, ...more] = message.split('\nTo fix: ')
  const text = `${item} is not run again, because ${facts.deaths} workers died of it. ${death}\nTo fix: run it alone to find out why; ${more.join('\nTo fix: ')}`
  return withCaller(new PoisonedItemError(text, facts, cause), part.job)
}

/** For a pool whose workers are not its own. */
export function notResized(poolName: string): ProcessError {
  return new ProcessError(
    'ERR_NOT_SUPPORTED',
    `Cannot resize the pool "${poolName}": its workers belong to the agents of a cluster\nTo fix: start more agents, or end some of them`,
  )
}

/** As `poisoned`, where the last of the workers died on another machine. */
export function poisonedElsewhere(
  death: unknown,
  { part, kills }: { part: Part; kills: number },
): PoisonedItemError {
  const { job, first } = part
  const item = job.isSingle ? `The call of "${job.task.name}"` : `Item ${first} of "${job.task.name}"`
  const facts: WorkerDeathFacts =
    death instanceof WorkerDiedError
      ? death
      : { pid: undefined, workerName: 'another machine', exitCode: null, signal: null }
  const why = death instanceof Error ? death.message.split('\n')[0] : ''
  const error = new PoisonedItemError(
    `${item} is not run again, because ${kills} workers died of it. ${why}\nTo fix: run it alone to find out why`,
    { ...facts, deaths: kills, taskIndex: job.isSingle ? undefined : first },
    { cause: death },
  )
  return withCaller(error, job)
}

function describeDeath(
  worker: DeadWorker,
  { task, part, end }: { task: ShippedFunction; part: Part; end: End },
): { facts: WorkerDeathFacts; message: string; cause: ErrorOptions | undefined } {
  const { job, first } = part
  const { status, stderr, memoryBytes } = end
  const reason = deathReason(end)
  const taskIndex = job.isSingle ? undefined : first
  const which = taskIndex === undefined ? '' : ` (item ${taskIndex})`
  const cause = end.cause ?? status.error
  const why = cause instanceof Error && reason !== 'outOfMemory' ? `: ${cause.message.split('\n')[0]}` : ''
  const isAboutMemory = reason === 'outOfMemory' || status.signal === 'SIGKILL'
  const memory =
    isAboutMemory && memoryBytes !== undefined
      ? `; it had ${mebibytes(memoryBytes)} of memory when last seen`
      : ''
  const message = [
    `The worker ${worker.name} (pid ${worker.pid}) ${endInWords(status, reason, stderr)} while it ran "${task.name}"${which}${why}${memory}`,
    `To fix: ${advice(status, reason)}`,
    // An uncaught error is the cause, and what it wrote to stderr is that error once more.
    ...(reason === 'uncaughtError' ? [] : lastLines(stderr)),
  ].join('\n')
  return {
    facts: {
      pid: worker.pid,
      workerName: worker.name,
      exitCode: status.exitCode,
      signal: status.signal,
      reason,
      taskName: task.name,
      taskIndex,
      deaths: part.kills + 1,
      stderr,
      memoryBytes,
    },
    message,
    cause: cause === undefined ? undefined : { cause },
  }
}

/** For items of a function that kills every worker that loads it. */
export function fatalFunction(task: ShippedFunction): WorkerDiedError {
  return new WorkerDiedError(
    `The function "${task.name}" was not sent again: ${task.fatalLoads} workers ended while they loaded it\nTo fix: look for process.exit(), an endless loop or a crash in the top-level code of the modules that it imports`,
    { pid: undefined, workerName: '', exitCode: null, signal: null, taskName: task.name },
  )
}

/** For an item that ran too long. `isLoading`: its function had not even been loaded. */
export function timedOut(
  task: ShippedFunction,
  { part, timeoutMs, isLoading }: { part: Part; timeoutMs: number | undefined; isLoading: boolean },
): TimeoutError {
  const which = part.job.isSingle ? '' : ` (item ${part.first})`
  const what = isLoading ? `Loading "${task.name}"${which}` : `"${task.name}"${which}`
  const fix = isLoading
    ? 'look for an endless loop or await in the top-level code of the modules that it imports'
    : 'pass a longer "timeout", or have the task do less'
  return withCaller(
    new TimeoutError(`${what} took longer than its timeout of ${timeoutMs} ms\nTo fix: ${fix}`, {
      taskIndex: part.job.isSingle ? undefined : part.first,
    }),
    part.job,
  )
}

/** For all work of a pool whose workers end before they are ready. */
/** Of everything that was not done when the pool was terminated. */
export function terminated(poolName: string): ClosedError {
  return new ClosedError(`The pool "${poolName}" was terminated before the task was done`, {
    code: 'ERR_TERMINATED',
  })
}

/** The system refuses to start one at all. */
export function cannotStart(poolName: string, cause: unknown): BrokenPoolError {
  const [reason, fix] = reasonAndFix(cause)
  return new BrokenPoolError(
    'ERR_START_FAILED',
    `The pool "${poolName}" cannot start a worker: ${reason}\nTo fix: ${fix}`,
    { cause },
  )
}

/** The two lines of an error of ours; others have no second one. */
function reasonAndFix(cause: unknown): [reason: string, fix: string] {
  const text = cause instanceof Error ? cause.message : String(cause)
  const [reason = '', fix = 'see the cause'] = text.split('\nTo fix: ')
  return [reason, fix]
}

/** Of an item that was to run once more. */
export function notSentAgain(task: ShippedFunction, cause: unknown): SerializeError {
  return new SerializeError(
    `"${task.name}" cannot be sent to another worker: ${cause instanceof Error ? cause.message : String(cause)}\nTo fix: a MessagePort can be sent once, so a task that was given one cannot run again when it is retried or its worker has died; pass a new one to a new call`,
    { cause },
  )
}

export function startFailure(poolName: string, worker: DeadWorker, end: End): BrokenPoolError {
  const { status, stderr } = end
  if (status.error !== undefined && 'code' in status.error && status.error.code === 'ERR_START_FAILED')
    return cannotStart(poolName, status.error)
  return new BrokenPoolError(
    'ERR_START_FAILED',
    [
      `The pool "${poolName}" cannot work: its worker ${worker.name} (pid ${worker.pid}) ${endInWords(status, deathReason(end), stderr)} before it was ready`,
      'To fix: see the output of the worker on stderr, and the cause',
      ...lastLines(stderr),
    ].join('\n'),
    status.error ? { cause: status.error } : undefined,
  )
}

const setupWords: Record<SetupStage, string> = {
  scheduling: 'its priority or CPUs could not be set',
  preload: 'a module of "preload" could not be imported',
  initializer: 'its initializer failed',
  finalizer: 'its finalizer could not be loaded',
}

/** For all work of a pool whose workers cannot get ready. */
export function setupFailure(
  poolName: string,
  worker: DeadWorker,
  { stage, cause }: { stage: SetupStage; cause: unknown },
): BrokenPoolError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new BrokenPoolError(
    stage === 'scheduling' ? 'ERR_START_FAILED' : 'ERR_INITIALIZER_FAILED',
    `The pool "${poolName}" cannot work: ${setupWords[stage]} in ${worker.name} (pid ${worker.pid}): ${reason}\nTo fix: see the cause`,
    { cause },
  )
}

/** For all work of a pool whose initializer does not end. */
export function initializerTimeout(poolName: string, worker: DeadWorker, limitMs: number): BrokenPoolError {
  return new BrokenPoolError(
    'ERR_INITIALIZER_FAILED',
    `The pool "${poolName}" cannot work: its initializer did not end within ${limitMs} ms in ${worker.name} (pid ${worker.pid})\nTo fix: raise "initializerTimeout", or find out what the initializer waits for`,
    { cause: new TimeoutError(`It took longer than ${limitMs} ms`) },
  )
}

/** For all work of a pool whose workers die again and again without doing anything. */
export function restartLimit(
  poolName: string,
  worker: DeadWorker,
  { end, generations }: { end: End; generations: number },
): BrokenPoolError {
  const { status, stderr } = end
  return new BrokenPoolError(
    'ERR_RESTART_LIMIT',
    [
      `The pool "${poolName}" cannot work: ${generations} times in a row its workers died without finishing anything; the last one, ${worker.name} (pid ${worker.pid}), ${endInWords(status, deathReason(end), stderr)}`,
      'To fix: find out what ends them while they are idle: what the initializer or an imported module left behind, or somebody outside of this program',
      ...lastLines(stderr),
    ].join('\n'),
    end.cause === undefined && status.error === undefined ? undefined : { cause: end.cause ?? status.error },
  )
}

/** For all work of a pool that the death of any worker breaks. */
export function brokenByDeath(
  poolName: string,
  { name: workerName, pid }: DeadWorker,
  end: End,
): BrokenPoolError {
  const { status, stderr, memoryBytes } = end
  const { exitCode, signal } = status
  const reason = deathReason(end)
  const died = `${workerName} (pid ${pid}) ${endInWords(status, reason, stderr)}`
  const why = end.cause ?? status.error
  const death = new WorkerDiedError(
    `The worker ${died}\nTo fix: ${advice(status, reason)}`,
    { pid, workerName, exitCode, signal, reason, stderr, memoryBytes },
    why === undefined ? undefined : { cause: why },
  )
  return new BrokenPoolError(
    'ERR_BROKEN_POOL',
    [
      `"${poolName}" is broken: its worker ${died}, and with it everything that was not done\nTo fix: ${advice(status, reason)}; or pass onWorkerDeath: 'replace', so that only the task that the worker was running fails`,
      ...lastLines(stderr),
    ].join('\n'),
    { cause: death },
  )
}

function withCaller<E extends Error>(error: E, job: Job): E {
  const caller = stackText(job.caller)
  if (caller !== undefined) {
    error.stack = `${error.name}: ${error.message}${caller.slice(caller.indexOf('\n'))}`
  }
  return error
}

function endInWords(status: ExitStatus, reason: WorkerDeathReason | undefined, stderr: string): string {
  switch (reason) {
    case 'outOfMemory':
      if (status.signal === 'SIGKILL') return 'was killed by the kernel, which had no memory left,'
      return heapFull.test(stderr) ? 'ran out of memory (its JavaScript heap was full)' : 'ran out of memory'
    case 'frozen':
      return 'gave no sign of life and was killed'
    case 'crash':
      return status.signal === null ? `crashed (exit code ${status.exitCode})` : `crashed (${status.signal})`
    default:
      return describeExit(status)
  }
}

function advice({ exitCode, signal }: ExitStatus, reason: WorkerDeathReason | undefined): string {
  switch (reason) {
    case 'outOfMemory':
      return signal === 'SIGKILL'
        ? 'lower "processes", let each item use less memory, or give the machine or container more'
        : 'raise "resourceLimits" of the pool (or --max-old-space-size), or let each item use less memory'
    case 'crash':
      return signal === 'SIGABRT'
        ? 'look at stderr: process.abort() was called, or a native module or Node.js itself failed'
        : 'a native module or Node.js itself crashed: run the item alone to find which'
    case 'frozen':
      return 'find out what stopped the process (SIGSTOP, a debugger, a machine that swaps), or raise "heartbeat"'
    case 'uncaughtError':
    case 'channel':
      return 'see the cause, and handle that error in the task'
    case 'killed':
      return signal === 'SIGKILL'
        ? 'look whether the system ran out of memory (dmesg), or who sent the signal; fewer "processes" need less memory'
        : 'find out who sent the signal'
    case 'exit':
      return exitCode === 0
        ? 'return from the task instead of calling process.exit() in it'
        : 'look for process.exit() in the task and what it uses, and at stderr'
    default:
      return 'look at stderr and at the cause for what ended it'
  }
}

/** V8's report of a full heap ends in a native stack that tells nobody anything: its one line is picked out. */
function lastLines(stderr: string): string[] {
  const full = heapFull.exec(stderr)?.[0]
  const lines = full === undefined ? stderr.split('\n').filter(line => line.trim() !== '') : [full]
  if (lines.length === 0) return []
  return [
    'Its last lines on stderr:',
    ...lines.slice(-linesShown).map(line => `  ${line.slice(0, lineCharactersMax)}`),
  ]
}
