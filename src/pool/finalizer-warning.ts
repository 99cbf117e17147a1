/** What a pool says of a finalizer that failed. Nobody waits for it, so that it is a warning of the program. */
import { describeExit } from '../process/exit-description.ts'
import type { End } from './death-report.ts'

interface EndingWorker {
  name: string
  pid: number | undefined
}

/** For what it threw. */
export function finalizerThrew(poolName: string, worker: EndingWorker, cause: unknown): Error {
  const reason = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
  return warning(`${which(poolName, worker)} failed: ${reason}\nTo fix: see the cause`, cause)
}

/** For one that ended its worker, or had no more time. */
export function finalizerDied(
  poolName: string,
  worker: EndingWorker,
  { end, limitMs }: { end: End; limitMs: number | undefined },
): Error {
  const text =
    limitMs === undefined
      ? `${which(poolName, worker)} did not end: the worker ${describeExit(end.status)}\nTo fix: see what it wrote to stderr`
      : `${which(poolName, worker)} took longer than ${limitMs} ms, so that the worker was killed\nTo fix: raise "finalizerTimeout", or find out what the finalizer waits for`
  return warning(text, end.cause)
}

function which(poolName: string, { name, pid }: EndingWorker): string {
  return `The finalizer of the pool "${poolName}" in ${name} (pid ${pid})`
}

function warning(message: string, cause: unknown): Error {
  const error = new Error(message, cause === undefined ? undefined : { cause })
  error.name = 'FinalizerWarning'
  return error
}
