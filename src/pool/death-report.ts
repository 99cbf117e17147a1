/** The wording of what a pool says when a worker died. */
import { BrokenPoolError, WorkerDiedError } from '../errors.ts'
import { describeExit } from '../process/exit-description.ts'
import type { ExitStatus } from '../process/popen.ts'
import type { ShippedFunction } from './function-table.ts'
import type { Part } from './job.ts'

interface DeadWorker {
  name: string
  pid: number | undefined
}

/** For the item that was running. `cause` is what the worker said last, if it could. */
export function workerDied(
  worker: DeadWorker,
  { task, part, status, cause }: { task: ShippedFunction; part: Part; status: ExitStatus; cause: unknown },
): WorkerDiedError {
  const { job, first } = part
  const which = job.isSingle ? '' : ` (item ${first})`
  const reason = cause ?? status.error
  const why = reason instanceof Error ? `: ${reason.message.split('\n')[0]}` : ''
  const died = new WorkerDiedError(
    `The worker ${worker.name} (pid ${worker.pid}) ${describeExit(status)} while it ran "${task.name}"${which}${why}\nTo fix: ${advice(status, reason)}`,
    {
      pid: worker.pid,
      workerName: worker.name,
      exitCode: status.exitCode,
      signal: status.signal,
      taskIndex: job.isSingle ? undefined : first,
    },
    reason === undefined ? undefined : { cause: reason },
  )
  const caller = job.caller.stack
  if (caller !== undefined) died.stack = `${died.name}: ${died.message}${caller.slice(caller.indexOf('\n'))}`
  return died
}

/** For items of a function that kills every worker that loads it. */
export function fatalFunction(task: ShippedFunction): WorkerDiedError {
  return new WorkerDiedError(
    `The function "${task.name}" was not sent again: ${task.fatalLoads} workers ended while they loaded it\nTo fix: look for process.exit() or a crash in the top-level code of the modules that it imports`,
    { pid: undefined, workerName: '', exitCode: null, signal: null },
  )
}

/** For all work of a pool whose workers end before they are ready. */
export function startFailure(poolName: string, worker: DeadWorker, status: ExitStatus): BrokenPoolError {
  return new BrokenPoolError(
    'ERR_START_FAILED',
    `The pool "${poolName}" cannot work: its worker ${worker.name} (pid ${worker.pid}) ${describeExit(status)} before it was ready\nTo fix: see the output of the worker on stderr, and the cause`,
    status.error ? { cause: status.error } : undefined,
  )
}

function advice({ exitCode, signal }: ExitStatus, reason: unknown): string {
  if ((reason as NodeJS.ErrnoException | undefined)?.code === 'ERR_WORKER_OUT_OF_MEMORY') {
    return 'raise "resourceLimits" of the pool, or let each item use less memory'
  }
  if (reason !== undefined && signal === null) return 'see the cause, and handle that error in the task'
  switch (signal) {
    case 'SIGKILL':
      return 'look whether the system ran out of memory (dmesg), or who sent the signal; fewer "processes" need less memory'
    case 'SIGABRT':
      return 'look at stderr: Node.js aborts when it runs out of heap (raise "resourceLimits" of the pool, or --max-old-space-size) or native code fails'
    case 'SIGSEGV':
    case 'SIGBUS':
    case 'SIGILL':
      return 'a native module or Node.js itself crashed: run the item alone to find which'
    case null:
      return exitCode === 0
        ? 'return from the task instead of calling process.exit() in it'
        : 'look at stderr and at the cause for what ended it'
    default:
      return 'find out who sent the signal'
  }
}
