/** Reads options by node:util's parseArgs, so that all commands complain in the same words about wrong ones. */
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { TIMER_MS_MAX } from '../platform/long-timer.ts'
import type { CommandSyntax, OptionValues } from './command-syntax.ts'
import { UsageError } from './usage-error.ts'

/**
 * The options and positional arguments of a command.
 *
 * @throws UsageError for an option that does not exist or has the wrong kind of value.
 */
export function parseOptions<S extends CommandSyntax>(
  syntax: S,
  args: readonly string[],
): { values: OptionValues<S>; positionals: string[] } {
  const options: NonNullable<ParseArgsConfig['options']> = {}
  for (const [name, { short, value, isRepeated }] of Object.entries(syntax.options)) {
    options[name] = {
      type: value === undefined ? 'boolean' : 'string',
      ...(short === undefined ? {} : { short }),
      ...(isRepeated ? { multiple: true } : {}),
    }
  }
  try {
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true })
    return { values: values as OptionValues<S>, positionals }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code?.startsWith('ERR_PARSE_ARGS_') !== true) throw error
    throw new UsageError(
      `${message.split('. To specify')[0]!.split('\n')[0]}\nTo fix: see "multiproc ${syntax.name} --help"; put "--" before inputs that begin with "-"`,
    )
  }
}

/** A whole number from `min` on. */
export function parseCount(
  option: string,
  text: string | undefined,
  { min = 1 }: { min?: number } = {},
): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= min) return value
  throw new UsageError(
    `--${option} must be a whole number from ${min}, but it is "${text}"\nTo fix: pass such a number, or leave --${option} out`,
  )
}

/** One of several words. */
export function parseChoice<const C extends string>(
  option: string,
  text: string | undefined,
  choices: readonly C[],
): C | undefined {
  if (text === undefined) return undefined
  const choice = choices.find(name => name === text)
  if (choice !== undefined) return choice
  throw new UsageError(
    `--${option} must be one of ${choices.join(', ')}, but it is "${text}"\nTo fix: pass one of these`,
  )
}

/** What `--context` and `--thread` say together. */
export function parseContext({
  context,
  thread,
}: {
  context?: string | undefined
  thread?: boolean | undefined
}): 'spawn' | 'thread' {
  const choice = parseChoice('context', context, ['spawn', 'thread'])
  if (thread === true && choice === 'spawn') {
    throw new UsageError('--thread and --context spawn exclude each other\nTo fix: leave out one of them')
  }
  return thread === true ? 'thread' : (choice ?? 'spawn')
}

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** A time such as `500ms` or `1.5h`, in milliseconds; a number alone is seconds, as for timeout(1). */
export function parseTimeMs(
  option: string,
  text: string | undefined,
  { msMin }: { msMin: number },
): number | undefined {
  if (text === undefined) return undefined
  const [, count, unit = 's'] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text) ?? []
  const timeMs = Math.round(Number(count) * UNITS_MS[unit]!)
  if (timeMs >= msMin && timeMs <= TIMER_MS_MAX) return timeMs
  throw new UsageError(
    `--${option} must be a time from ${msMin}ms to ${Math.floor(TIMER_MS_MAX / UNITS_MS['h']!)}h, but it is "${text}"\nTo fix: pass a number of seconds, or a number with a unit, such as 500ms, 30s, 5m or 1h`,
  )
}
