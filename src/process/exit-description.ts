/** How an end is told: as a sentence for messages, as Python's exit code, as an error for those who wait. */
import { WorkerDiedError } from '../errors.ts'
import { signalNumber } from '../platform/signals.ts'
import type { ExitStatus } from './popen.ts'

/** `N` for an exit with code N, `-N` for an end by signal N, as in Python; `null` for a child that never started. */
export function pythonExitCode({ exitCode, signal }: ExitStatus): number | null {
  return signal === null ? exitCode : -signalNumber(signal)
}

/** "was killed by SIGKILL", "ended with exit code 3". */
export function describeExit({ exitCode, signal, error }: ExitStatus): string {
  if (error !== undefined && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY')
    return 'ran out of memory'
  if (signal !== null) return `was killed by ${signal}`
  return exitCode === null ? 'could not be started' : `ended with exit code ${exitCode}`
}

/** For those who wait for a result that cannot come any more. Its stack is that of the start. */
export function diedWithoutResult(
  child: { name: string; pid: number | undefined; callerStack: string | undefined },
  status: ExitStatus,
): WorkerDiedError {
  const { exitCode, signal, error } = status
  const hint =
    signal === 'SIGKILL' || signal === 'SIGABRT'
      ? 'the system may have run out of memory, or somebody killed it: see its output and the system log'
      : 'see the output of the child for the reason; a target that calls process.exit() has no result'
  const died = new WorkerDiedError(
    `Process "${child.name}" (pid ${child.pid}) ${describeExit(status)} before its target returned\nTo fix: ${hint}`,
    { pid: child.pid, workerName: child.name, exitCode, signal },
    error === undefined ? undefined : { cause: error },
  )
  // The place where the end was noticed is of no use to anybody; the place of the start is.
  const frames = child.callerStack?.split('\n').slice(1).join('\n')
  if (frames) died.stack = `${died.name}: ${died.message}\n${frames}`
  return died
}
