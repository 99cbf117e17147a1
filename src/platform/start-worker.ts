/** Starts a thread of node:worker_threads with the flags of this process, as far as a thread takes them. */
import { Worker, type WorkerOptions } from 'node:worker_threads'
import { ProcessError } from '../errors.ts'
import { childExecArgv, hasUnsharableFlag } from './child-flags.ts'
import { workingDirectory } from './working-directory.ts'

/**
 * A worker inherits the flags of its process by itself, also those that it could not be given (V8's). Only flags
 * that would make it run something else (`--input-type`, `--test`) force a list, and Node says which of that list
 * are for whole processes.
 */
export function startWorker(entry: URL, options: WorkerOptions): Worker | ProcessError {
  let execArgv = options.execArgv ?? (hasUnsharableFlag() ? childExecArgv() : undefined)
  const isOwnList = options.execArgv === undefined
  for (;;) {
    try {
      return new Worker(entry, { ...options, ...(execArgv ? { execArgv } : {}) })
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      const refused = message.split(': ').at(-1)!.split(', ')
      if (
        code === 'ERR_WORKER_INVALID_EXEC_ARGV' &&
        isOwnList &&
        execArgv?.some(flag => refused.includes(flag))
      ) {
        execArgv = execArgv.filter(flag => !refused.includes(flag))
        continue
      }
      return new ProcessError(
        'ERR_START_FAILED',
        `Cannot start a thread: ${message}\nTo fix: start fewer threads at once, and give "execArgv" and "resourceLimits" only what worker_threads accepts`,
        { cause: error },
      )
    }
  }
}

/** Of a thread that Node.js made, and that ended before it came to run its entry file. */
export function threadNotStarted(cause: Error): ProcessError {
  const fix =
    workingDirectory() === undefined
      ? 'process.chdir() to a directory that exists before the start: Node.js starts no thread in one that was removed'
      : 'see the cause; a module that is imported first ("--import", "--require", NODE_OPTIONS) may have thrown, or the system may be short of memory or open files'
  return new ProcessError('ERR_START_FAILED', `Cannot start a thread: ${cause.message}\nTo fix: ${fix}`, {
    cause,
  })
}
