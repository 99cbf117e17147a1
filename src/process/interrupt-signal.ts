/**
 * Ctrl-C as an `AbortSignal`. Nothing listens to signals before somebody asks for it: a program that has a listener no
 * longer ends by Ctrl-C, and packages that clean up at signals leave the end to whoever else listens.
 */
import { isMainThread } from 'node:worker_threads'
import { InterruptedError, ProcessError } from '../errors.ts'

/** With what shells give as the exit code: 128 and the number of the signal. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const
let controller: AbortController | undefined

/**
 * A signal that aborts when the program is asked to end: by Ctrl-C (SIGINT), SIGTERM, or the end of its terminal
 * (SIGHUP). Its reason is an {@link InterruptedError}. Given to a pool, or to single calls, it lets tasks end within
 * their grace period and the program tell what was done, in place of ending both at once.
 *
 * The second such signal ends the program at once, with its workers. The exit code is that of shells, 128 and the number
 * of the signal (130 for Ctrl-C), unless the program sets one itself.
 *
 * The first call makes the program listen; all calls give the same signal. Workers of a pool leave Ctrl-C to their
 * parent.
 *
 * @throws ProcessError with the code `ERR_NOT_SUPPORTED` in a thread: signals reach main threads alone.
 * @see https://docs.python.org/3/library/exceptions.html#KeyboardInterrupt
 * @example
 * import { interruptSignal, Pool } from 'multiproc'
 *
 * await using pool = new Pool({ signal: interruptSignal() })
 * const outcomes = await pool.mapSettled((n: number) => n * n, [1, 2, 3])
 * const done = outcomes.filter(({ status }) => status === 'fulfilled')
 * console.log(`${done.length} of ${outcomes.length} were done`) // 3 of 3 were done
 */
export function interruptSignal(): AbortSignal {
  if (!isMainThread) {
    throw new ProcessError(
      'ERR_NOT_SUPPORTED',
      'interruptSignal() was called in a thread, which no signal of the system reaches\nTo fix: call it in the main thread; a task learns of its end by currentTask().signal',
    )
  }
  if (controller === undefined) {
    controller = new AbortController()
    for (const name of Object.keys(EXIT_CODES)) process.on(name as keyof typeof EXIT_CODES, interrupted)
  }
  return controller.signal
}

function interrupted(name: keyof typeof EXIT_CODES): void {
  const exitCode = EXIT_CODES[name]
  // Pools kill their workers when the process exits.
  if (controller!.signal.aborted) process.exit(exitCode)
  process.exitCode ??= exitCode
  controller!.abort(new InterruptedError(name, exitCode))
}
