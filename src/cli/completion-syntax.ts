/** What `multiproc completion` takes: the shells that it knows. */
import { HELP_OPTION, type CommandSyntax } from './command-syntax.ts'

export const SHELLS = ['bash', 'zsh', 'fish'] as const

export const COMPLETION_SYNTAX = {
  name: 'completion',
  summary: 'print a script that makes a shell complete this program',
  usage: '<bash|zsh|fish>',
  about: [
    'Prints a script that completes commands, options and their values in a shell. It is for the program "multiproc" as a package manager installs it, with npm install -g or in node_modules/.bin on the PATH.',
  ],
  operands: [['<bash|zsh|fish>', 'the shell']],
  completesOperands: SHELLS,
  options: { help: HELP_OPTION },
  exitCodes: '0, 2 wrong usage',
  examples: [
    'source <(multiproc completion bash)                                     # in ~/.bashrc',
    'source <(multiproc completion zsh)                                      # in ~/.zshrc, after compinit',
    'multiproc completion fish > ~/.config/fish/completions/multiproc.fish',
  ],
} as const satisfies CommandSyntax
