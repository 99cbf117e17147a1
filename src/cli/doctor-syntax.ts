/** What `multiproc doctor` takes. Paste-able output is the point: its options change the form, not the facts. */
import { HELP_OPTION, type CommandSyntax } from './command-syntax.ts'

export const DOCTOR_SYNTAX = {
  name: 'doctor',
  summary: 'show what this machine offers, and try it',
  usage: '[options]',
  about: [
    'Shows what this machine offers, why, and starts one worker of each kind to see whether it answers. Paste what it says into an issue.',
  ],
  operands: [],
  completesOperands: 'none',
  options: {
    json: { help: 'the same as one JSON value' },
    help: HELP_OPTION,
  },
  exitCodes: '0 when all workers answered, 1 when one did not, 2 wrong usage',
  examples: ['multiproc doctor', 'multiproc doctor --json | jq .native'],
} as const satisfies CommandSyntax
