/** What `multiproc top` takes. It looks at a running program, so that it needs no more than its process id. */
import { HELP_OPTION, type CommandSyntax } from './command-syntax.ts'

export const TOP_SYNTAX = {
  name: 'top',
  summary: 'show live in the terminal what a program with pools does',
  usage: '[pid] [options]',
  about: [
    'Shows the pools and workers of a running program of this user, refreshed in place. It ends with the program, with q or with Ctrl-C.',
  ],
  operands: [['[pid]', 'the process id of the program. Default: the one that started last']],
  completesOperands: 'none',
  options: {
    once: { help: 'show one moment and end; also what happens when standard output is no terminal' },
    json: { help: 'a JSON value for each moment, one a line' },
    interval: { value: 'time', help: 'how often to look: 500ms, 2s. Default: 1s' },
    help: HELP_OPTION,
  },
  exitCodes: '0, 1 when there is no such program or it does not answer, 2 wrong usage',
  examples: ['multiproc top', 'multiproc top 4711 --once', 'multiproc top --json | jq .point.perSecond'],
} as const satisfies CommandSyntax
