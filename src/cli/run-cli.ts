/** Finds the command that was named and runs it. Every command is a file of its own, loaded when it is called. */
import '../dashboard/attach-dashboard.ts'
import { ALL_SYNTAX } from './all-syntax.ts'
import { EXIT_OK, EXIT_USAGE } from './exit-codes.ts'
import { packageVersion } from './package-version.ts'
import { UsageError } from './usage-error.ts'

/** A command: gets the arguments after its name, and gives the exit code. */
export type Command = (args: readonly string[]) => Promise<number>

const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  map: async () => (await import('./map-command.ts')).mapCommand,
  run: async () => (await import('./run-command.ts')).runCommand,
  worker: async () => (await import('./worker-command.ts')).workerCommand,
  cluster: async () => (await import('./cluster-command.ts')).clusterCommand,
  dashboard: async () => (await import('./dashboard-command.ts')).dashboardCommand,
  top: async () => (await import('./top-command.ts')).topCommand,
  doctor: async () => (await import('./doctor-command.ts')).doctorCommand,
  bench: async () => (await import('./bench-command.ts')).benchCommand,
  completion: async () => (await import('./completion-command.ts')).completionCommand,
}

const EXAMPLE = 'multiproc map ./resize.mjs#resize *.jpg'

function renderCommands(): string {
  const rows = ALL_SYNTAX.map(({ name, summary }) => `  ${name.padEnd(12)}${summary}`)
  return [
    'Usage: multiproc <command> [options]',
    '',
    'Commands:',
    ...rows,
    '',
    'Options:',
    '  --help      show this, or after a command what it takes, with examples',
    '  --version   show the version',
    '',
    'Example: call the exported function "resize" of resize.mjs for every picture',
    '',
    `  ${EXAMPLE}`,
    '',
  ].join('\n')
}

/** Runs the command line and gives its exit code. Whatever goes wrong is printed, never thrown. */
export async function runCli(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args
  try {
    if (name === '--help' || name === '-h' || name === 'help') {
      process.stdout.write(renderCommands())
      return EXIT_OK
    }
    if (name === '--version' || name === '-v') {
      process.stdout.write(`${packageVersion()}\n`)
      return EXIT_OK
    }
    if (name === undefined) {
      process.stderr.write(renderCommands())
      return EXIT_USAGE
    }
    if (!Object.hasOwn(COMMANDS, name)) {
      throw new UsageError(
        `multiproc has no command "${name}"\nTo fix: use one of ${Object.keys(COMMANDS).join(', ')}; "multiproc --help" shows what they do`,
      )
    }
    const command = await COMMANDS[name]!()
    return await command(rest)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    process.stderr.write(`multiproc: ${error.message}\n`)
    return EXIT_USAGE
  }
}
