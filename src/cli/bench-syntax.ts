/** What `multiproc bench` takes. How long it measures is the only thing to choose, so that results can be compared. */
import { HELP_OPTION, type CommandSyntax } from './command-syntax.ts'

export const BENCH_SYNTAX = {
  name: 'bench',
  summary: 'measure this machine in some seconds',
  usage: '[options]',
  about: [
    'Measures what starting workers, calls, maps, queues and large data cost on this machine, and how much faster its CPUs are together. Paste the result into an issue about speed. Other programs that run meanwhile make it slower.',
  ],
  operands: [],
  completesOperands: 'none',
  options: {
    seconds: { value: 'n', help: 'how long each of the six measurements lasts, from 1 to 60. Default: 1' },
    json: { help: 'the same as one JSON value' },
    help: HELP_OPTION,
  },
  exitCodes: '0 all was measured, 1 something did not work, 2 wrong usage',
  examples: ['multiproc bench', 'MULTIPROC_NATIVE=0 multiproc bench'],
} as const satisfies CommandSyntax
