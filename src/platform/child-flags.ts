/**
 * Which of this process's Node.js flags and environment variables a child gets: those that say how code is loaded
 * and run, and none that say what to run (`-e`, `--test`, `--watch`) or that two processes cannot share
 * (`--inspect` with its port).
 */

/** Flags that stay behind. Those with `true` take the next argument as their value when none follows a `=`. */
const DROPPED = new Map<string, boolean>([
  ['-e', true],
  ['--eval', true],
  ['-p', true],
  ['-pe', true],
  ['-ep', true],
  ['--print', true],
  ['-i', false],
  ['--interactive', false],
  ['-c', false],
  ['--check', false],
  ['--input-type', true],
  ['--experimental-default-type', true],
  ['--entry-url', false],
  ['--run', true],
  ['--test', false],
  ['--test-only', false],
  ['--test-force-exit', false],
  ['--test-update-snapshots', false],
  ['--watch', false],
  ['--watch-preserve-output', false],
  ['--inspect', false],
  ['--inspect-brk', false],
  ['--inspect-wait', false],
  ['--debug-port', true],
  ['--build-snapshot', false],
  ['--build-snapshot-config', true],
  ['--build-sea', true],
  ['--experimental-sea-config', true],
])
/** Families of flags of the same kind; what is not listed above takes a value. */
const DROPPED_FAMILIES = ['--test-', '--experimental-test-', '--watch-', '--inspect-']

/** Whether a dropped flag takes a value, or `undefined` for a flag that is kept. */
function takesValueOfDropped(name: string): boolean | undefined {
  return DROPPED.get(name) ?? (DROPPED_FAMILIES.some(family => name.startsWith(family)) ? true : undefined)
}

/** The flags of `execArgv` that make sense for a child. */
export function childExecArgv(execArgv: readonly string[] = process.execArgv): string[] {
  const kept: string[] = []
  for (let index = 0; index < execArgv.length; index++) {
    const argument = execArgv[index]!
    const equals = argument.indexOf('=')
    const name = equals < 0 ? argument : argument.slice(0, equals)
    const takesValue = takesValueOfDropped(name)
    if (takesValue === undefined) {
      kept.push(argument)
      continue
    }
    const next = execArgv[index + 1]
    if (equals < 0 && takesValue && next !== undefined && !next.startsWith('-')) index++
  }
  return kept
}

/** Whether a flag of this process would break a thread that inherits all of them. */
export function hasUnsharableFlag(execArgv: readonly string[] = process.execArgv): boolean {
  return execArgv.some(argument =>
    /^--(?:input-type|test|watch|check|experimental-default-type)\b/.test(argument),
  )
}

/** The environment for a child: a copy, without the debugger's port and without being a test file of a runner. */
export function childEnvironment(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const {
    NODE_TEST_CONTEXT: _context,
    NODE_CHANNEL_FD: _fd,
    NODE_CHANNEL_SERIALIZATION_MODE: _mode,
    ...copy
  } = env
  if (copy['NODE_OPTIONS']?.includes('--inspect')) {
    copy['NODE_OPTIONS'] = copy['NODE_OPTIONS'].replace(
      /(?<=^|\s)--inspect(?:-brk|-wait|-port)?(?:=\S*)?(?=\s|$)/g,
      '',
    )
  }
  return copy
}
