/** Runs the real program in a process of its own, as a shell does. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

const RUN_MS_MAX = 60_000
/** The program as a package manager installs it. */
export const program = fileURLToPath(import.meta.resolve('#src/cli/cli-main.js'))

export interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

export interface CommandOptions {
  /** Beside the variables of this process. */
  env?: NodeJS.ProcessEnv
  cwd?: string
}

/** The path of a file in test/fixtures/cli/, optionally with the name of an export. */
export function fixture(name: string): string {
  return fileURLToPath(new URL('../../../test/fixtures/cli/', import.meta.url)) + name
}

/** Starts the program. A run that does not end is killed, and then has no exit code. */
export function startCommand(
  args: readonly string[],
  {
    nodeOptions = '',
    env = {},
    cwd,
    program: path = program,
  }: CommandOptions & { nodeOptions?: string; program?: string } = {},
): ChildProcessWithoutNullStreams {
  const child = spawn(process.execPath, [path, ...args], {
    timeout: RUN_MS_MAX,
    killSignal: 'SIGKILL',
    env: { ...process.env, NODE_OPTIONS: nodeOptions, ...env },
    cwd,
  })
  // The program may end before it has read all of its input.
  child.stdin.on('error', () => {})
  return child
}

export async function runCommand(
  args: readonly string[],
  { stdin = '', ...options }: CommandOptions & { stdin?: string | Uint8Array } = {},
): Promise<Ended> {
  const child = startCommand(args, options)
  child.stdin.end(stdin)
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null]>,
  ])
  return { code, stdout, stderr }
}
