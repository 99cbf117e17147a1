/** What `multiproc run` takes. Options after the function are the command's, too, unless they follow a "--". */
import { HELP_OPTION, type CommandSyntax } from './command-syntax.ts'

export const RUN_SYNTAX = {
  name: 'run',
  summary: 'call a function once, in a process of its own',
  usage: '<file>[#function] [options] [arguments...]',
  about: [
    'Calls an exported function in a process of its own, prints what it returns unless that is undefined, and ends with the exit code of that process.',
  ],
  operands: [
    ['<file>[#function]', 'as for "multiproc map": without a name the default export, or the only function'],
    [
      '[arguments...]',
      'what the function is called with, as strings; put "--" before those that begin with "-"',
    ],
  ],
  completesOperands: 'file',
  options: {
    json: { help: 'each argument is a JSON value' },
    output: {
      short: 'o',
      value: 'kind',
      choices: ['json', 'text', 'none'],
      help: 'how to print what the function returns: json, text (strings as they are) or none. Default: json',
    },
    timeout: {
      value: 'time',
      help: 'end the process after this time: 500ms, 30s, 5m, 1h; a number alone is seconds. Default: no limit',
    },
    context: {
      short: 'c',
      value: 'kind',
      choices: ['spawn', 'thread'],
      help: 'spawn (a process) or thread. Default: spawn',
    },
    thread: { help: 'the same as --context thread' },
    help: HELP_OPTION,
  },
  exitCodes:
    'that of the process: 0 when the function returned, 1 when it threw, n after process.exit(n), 128 and the number of the signal that ended it; 124 after --timeout, 2 wrong usage',
  examples: [
    'multiproc run ./report.mjs',
    'multiproc run ./sums.mjs#add --json 1 2',
    'multiproc run ./server.mjs#start --timeout 1h -- --port 8080',
  ],
} as const satisfies CommandSyntax
