/**
 * `multiproc run`: calls a function once, in a process of its own, whose exit code it passes on. Invariant: the process
 * has ended when the command does.
 */
import { type InterruptedError, WorkerDiedError } from '../errors.ts'
import { signalNumber } from '../platform/signals.ts'
import { interruptSignal } from '../process/interrupt-signal.ts'
import { Process } from '../process/process.ts'
import { renderHelp } from './command-syntax.ts'
import { EXIT_FAILED, EXIT_OK, EXIT_TIMEOUT } from './exit-codes.ts'
import { locateTask } from './load-task.ts'
import { parseChoice, parseContext, parseOptions, parseTimeMs } from './parse-options.ts'
import { RUN_SYNTAX } from './run-syntax.ts'
import { type RunOutcome, type RunRequest, runTask } from './run-worker.ts'
import { UsageError } from './usage-error.ts'

/** A process that does not end by SIGTERM within this time is killed. */
const GRACE_MS = 5000

interface RunSettings extends RunRequest {
  context: 'spawn' | 'thread'
  timeoutMs: number | undefined
}

/** Runs the command and gives its exit code. */
export async function runCommand(args: readonly string[]): Promise<number> {
  const settings = parseRunOptions(args)
  if (settings === undefined) {
    process.stdout.write(renderHelp(RUN_SYNTAX))
    return EXIT_OK
  }
  const { context, timeoutMs, ...request } = settings
  const child = new Process({
    target: runTask,
    args: [request],
    context,
    name: 'multiproc run',
    stdio: context === 'thread' ? {} : { stdin: 'inherit' },
  })
  const interrupted = interruptSignal()
  interrupted.addEventListener('abort', () => passOn(child, interrupted.reason as InterruptedError, context))
  child.start()
  const outcome = child.result().catch((error: unknown) => error as Error)
  const isInTime = (await child.join(timeoutMs === undefined ? {} : { timeout: timeoutMs })) !== null
  if (!isInTime) await end(child)
  return await conclude(child, { outcome: isInTime ? await outcome : undefined, timeoutMs, isInTime })
}

function parseRunOptions(args: readonly string[]): RunSettings | undefined {
  const { values, positionals } = parseOptions(RUN_SYNTAX, args)
  if (values.help === true) return undefined
  const [reference, ...texts] = positionals
  if (reference === undefined) {
    throw new UsageError(
      'Nothing to call: no function was named\nTo fix: multiproc run <file>#<function> [arguments...], such as multiproc run ./report.mjs',
    )
  }
  return {
    task: locateTask(reference),
    args: values.json === true ? texts.map(parseJson) : texts,
    output: parseChoice('output', values.output, RUN_SYNTAX.options.output.choices) ?? 'json',
    context: parseContext(values),
    timeoutMs: parseTimeMs('timeout', values.timeout, { msMin: 1 }),
  }
}

function parseJson(text: string, index: number): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (error) {
    throw new UsageError(
      `Argument ${index + 1} is no JSON: ${(error as Error).message}\nTo fix: write strings as '"text"', or leave --json out`,
    )
  }
}

/** Ctrl-C at a terminal reaches the process, too: it must not get it twice. Other signals reach this program alone. */
function passOn(child: Process<never>, { signal }: InterruptedError, context: 'spawn' | 'thread'): void {
  if (signal !== 'SIGINT' || context === 'thread') child.terminate()
  else if (!process.stdin.isTTY) child.interrupt()
}

async function end(child: Process<never>): Promise<void> {
  child.terminate()
  if ((await child.join({ timeout: GRACE_MS })) !== null) return
  child.kill()
  await child.join()
}

async function conclude(
  child: Process<never>,
  {
    outcome,
    timeoutMs,
    isInTime,
  }: { outcome: RunOutcome | Error | undefined; timeoutMs: number | undefined; isInTime: boolean },
): Promise<number> {
  if (!isInTime) {
    process.stderr.write(`multiproc: the process was ended: it took longer than ${timeoutMs} ms\n`)
    return EXIT_TIMEOUT
  }
  const { exitCode, signal } = child
  if (outcome instanceof Error) {
    // What the function threw, and how it ended its process, is said by the process itself and its exit code. Else
    // the result did not arrive.
    if (exitCode === 0 && !(outcome instanceof WorkerDiedError)) throw outcome
  } else if (outcome !== undefined) {
    if ('usageError' in outcome) throw new UsageError(outcome.usageError)
    if (outcome.text !== undefined) await print(`${outcome.text}\n`)
  }
  if (signal === null) return exitCode ?? EXIT_FAILED
  if (!interruptSignal().aborted) process.stderr.write(`multiproc: the process was killed by ${signal}\n`)
  return 128 + signalNumber(signal)
}

async function print(text: string): Promise<void> {
  // The reader (such as "head") may have gone.
  process.stdout.on('error', () => {})
  await new Promise<void>(resolve => {
    process.stdout.write(text, () => resolve())
  })
}
