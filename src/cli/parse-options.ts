/** Reads options by node:util's parseArgs, so that all commands complain in the same words about wrong ones. */
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { UsageError } from './usage-error.ts'

/**
 * The options and positional arguments of a command.
 *
 * @throws UsageError for an option that does not exist or has the wrong kind of value.
 */
export function parseOptions<const O extends NonNullable<ParseArgsConfig['options']>>(
  command: string,
  args: readonly string[],
  options: O,
): ReturnType<typeof parseArgs<{ options: O; allowPositionals: true }>> {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code?.startsWith('ERR_PARSE_ARGS_') !== true) throw error
    throw new UsageError(
      `${message.split('. To specify')[0]!.split('\n')[0]}\nTo fix: see "multiproc ${command} --help"; put "--" before inputs that begin with "-"`,
    )
  }
}

/** A whole number from 1 on. */
export function parseCount(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= 1) return value
  throw new UsageError(
    `--${option} must be a whole number from 1, but it is "${text}"\nTo fix: pass such a number, or leave --${option} out`,
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
