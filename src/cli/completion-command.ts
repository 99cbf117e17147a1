/** `multiproc completion`: prints the script of a shell, made from the same tables as the help. */
import { ALL_SYNTAX } from './all-syntax.ts'
import { bashCompletion } from './bash-completion.ts'
import { renderHelp } from './command-syntax.ts'
import { COMPLETION_SYNTAX, SHELLS } from './completion-syntax.ts'
import { EXIT_OK } from './exit-codes.ts'
import { fishCompletion } from './fish-completion.ts'
import { parseOptions } from './parse-options.ts'
import { UsageError } from './usage-error.ts'
import { zshCompletion } from './zsh-completion.ts'

const SCRIPTS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion }

/** Runs the command and gives its exit code. */
export async function completionCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseOptions(COMPLETION_SYNTAX, args)
  if (values.help === true) {
    process.stdout.write(renderHelp(COMPLETION_SYNTAX))
    return EXIT_OK
  }
  const [shell, ...others] = positionals
  const known = SHELLS.find(name => name === shell)
  if (known === undefined || others.length > 0) {
    throw new UsageError(
      `"multiproc completion" needs the name of one shell, but ${shell === undefined ? 'there is none' : `it is "${positionals.join(' ')}"`}\nTo fix: pass one of ${SHELLS.join(', ')}`,
    )
  }
  process.stdout.write(SCRIPTS[known](ALL_SYNTAX))
  return EXIT_OK
}
