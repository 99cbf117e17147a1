/**
 * `multiproc dashboard`: serves the page, for a program that it starts or for those that run. Invariant: a command that
 * was started is waited for, whatever ends the dashboard but `kill -9`; and its exit code is that of the dashboard.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { DashboardServer } from '../dashboard/dashboard-server.ts'
import { INSPECT_VARIABLE } from '../dashboard/inspectable.ts'
import { type ProgramSource, connectProgram } from '../dashboard/program-source.ts'
import { WatchedPrograms } from '../dashboard/watched-programs.ts'
import type { InterruptedError } from '../errors.ts'
import { type InspectedName, inspectedNames } from '../platform/inspection-folder.ts'
import { openAddress } from '../platform/open-address.ts'
import { signalNumber } from '../platform/signals.ts'
import { interruptSignal } from '../process/interrupt-signal.ts'
import { renderHelp } from './command-syntax.ts'
import { DASHBOARD_SYNTAX } from './dashboard-syntax.ts'
import { EXIT_FAILED, EXIT_OK } from './exit-codes.ts'
import { parseCount, parseOptions } from './parse-options.ts'
import { printable } from './printable.ts'
import { UsageError } from './usage-error.ts'

const PORT_MAX = 65_535

/** Runs the command and gives its exit code. */
export async function dashboardCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseOptions(DASHBOARD_SYNTAX, args)
  if (values.help === true) {
    process.stdout.write(renderHelp(DASHBOARD_SYNTAX))
    return EXIT_OK
  }
  if (values.list === true) return await list()
  const port = parseCount('port', values.port, { min: 0 })
  if (port !== undefined && port > PORT_MAX) {
    throw new UsageError(
      `--port must be at most ${PORT_MAX}, but it is ${port}\nTo fix: pass a smaller number, or leave --port out`,
    )
  }
  const pid = parseCount('pid', values.pid)
  if (pid !== undefined && positionals.length > 0) {
    throw new UsageError('--pid and a command exclude each other\nTo fix: leave out one of them')
  }
  const settings = { port, opens: values.open === true }
  if (positionals.length > 0) return await showCommand(positionals, settings)
  return pid === undefined ? await showAll(settings) : await showOne(pid, settings)
}

interface Settings {
  port: number | undefined
  opens: boolean
}

/** Serves the page until `ended`. */
async function serve<Result>(
  programs: WatchedPrograms,
  { port, opens }: Settings,
  ended: () => Promise<Result>,
): Promise<Result> {
  const server = await DashboardServer.open(programs, { port, keepsAlive: true })
  process.stderr.write(`multiproc dashboard: ${server.address}\n`)
  if (opens) openAddress(server.address)
  try {
    return await ended()
  } finally {
    programs.close()
    await server.close()
  }
}

/** Resolves when the user has had enough. */
function interruption(): Promise<void> {
  const signal = interruptSignal()
  return new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

async function showCommand([command = '', ...args]: string[], settings: Settings): Promise<number> {
  // By it the programs are found that the command starts, also those that it starts by others.
  const tag = randomBytes(8).toString('hex')
  const programs = new WatchedPrograms()
  return await serve(programs, settings, async () => {
    const child = spawn(command, args, {
      stdio: 'inherit',
      env: { ...process.env, [INSPECT_VARIABLE]: tag },
    })
    programs.find(() => inspectedNames(tag))
    return await exitCodeOf(child, command)
  })
}

function exitCodeOf(child: ChildProcess, command: string): Promise<number> {
  const interrupted = interruptSignal()
  interrupted.addEventListener('abort', () => {
    const { signal } = interrupted.reason as InterruptedError
    // Ctrl-C at a terminal has reached the command, too: it must not get it twice.
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
  })
  return new Promise((resolve, reject) => {
    child.once('error', error => {
      reject(
        new UsageError(
          `Cannot start "${command}": ${(error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such program' : error.message}\nTo fix: name a program and its arguments behind the "--", such as: multiproc dashboard -- node app.js`,
        ),
      )
    })
    child.once('exit', (code, signal) => {
      resolve(signal === null ? (code ?? EXIT_FAILED) : 128 + signalNumber(signal))
    })
  })
}

async function showAll(settings: Settings): Promise<number> {
  const programs = new WatchedPrograms()
  programs.find()
  await serve(programs, settings, async () => {
    if (inspectedNames().length === 0) {
      process.stderr.write(
        'No program of this user has a pool now; those that open one are shown as soon as they do. Ctrl-C ends the dashboard.\n',
      )
    }
    await interruption()
  })
  return EXIT_OK
}

async function showOne(pid: number, settings: Settings): Promise<number> {
  const source = await findProgram(pid)
  if (!source) return EXIT_FAILED
  const programs = new WatchedPrograms()
  programs.add(source)
  const ended = new Promise<void>(resolve => {
    const onEnd = source.onEnd
    source.onEnd = error => {
      onEnd?.(error)
      resolve()
    }
  })
  await serve(programs, settings, () => Promise.race([ended, interruption()]))
  return EXIT_OK
}

/** Connects to a running program, or says why not. */
export async function findProgram(pid: number | undefined): Promise<ProgramSource | undefined> {
  const names = inspectedNames().filter(name => pid === undefined || name.pid === pid)
  const answers = await connectAll(names)
  if (answers.length === 0) {
    process.stderr.write(
      pid === undefined
        ? 'multiproc: no program of this user has a pool now\nTo fix: start one, or use "multiproc dashboard -- node app.js"\n'
        : `multiproc: no program with the process id ${pid} can be looked at\nTo fix: see "multiproc dashboard --list"; a program is found from a second after it opened its first pool on, unless MULTIPROC_INSPECT is 0 there\n`,
    )
    return undefined
  }
  const found: ProgramSource[] = []
  for (const { source, error } of answers) {
    if (source) found.push(source)
    else process.stderr.write(`multiproc: ${error.message}\n`)
  }
  const newest = found.toSorted((a, b) => b.hello.startedAtMs - a.hello.startedAtMs).at(0)
  for (const source of found) if (source !== newest) source.close()
  return newest
}

type Connected = { name: InspectedName } & (
  | { source: ProgramSource; error?: never }
  | { source?: never; error: Error }
)

/** Asks all of them at once: one that is stopped answers nothing for seconds. Those that have ended are left out. */
async function connectAll(names: readonly InspectedName[]): Promise<Connected[]> {
  const answers = await Promise.allSettled(names.map(name => connectProgram(name)))
  return answers.flatMap((answer, at): Connected[] => {
    const name = names[at]!
    if (answer.status === 'fulfilled') return [{ name, source: answer.value }]
    const error = answer.reason as NodeJS.ErrnoException
    return error.code === 'ENOENT' || error.code === 'ECONNREFUSED' ? [] : [{ name, error }]
  })
}

async function list(): Promise<number> {
  const rows: string[] = []
  for (const { name, source, error } of await connectAll(inspectedNames())) {
    if (source) {
      const { pid, node, command } = source.hello
      rows.push(`${String(pid).padStart(8)}  ${node.padEnd(10)}  ${printable(command)}`)
      source.close()
    } else rows.push(`${String(name.pid).padStart(8)}  ${printable(error.message.split('\n')[0]!)}`)
  }
  if (rows.length === 0) {
    process.stderr.write('No program of this user has a pool now\n')
    return EXIT_FAILED
  }
  process.stdout.write(`${['     pid  Node.js     command', ...rows].join('\n')}\n`)
  return EXIT_OK
}
