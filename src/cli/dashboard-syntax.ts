/** What `multiproc dashboard` takes. Everything behind the "--" is the command to start. */
import { HELP_OPTION, type CommandSyntax } from './command-syntax.ts'

export const DASHBOARD_SYNTAX = {
  name: 'dashboard',
  summary: 'show live in a browser what programs with pools do',
  usage: '[options] [-- command [arguments...]]',
  about: [
    'Serves a page on 127.0.0.1 that shows pools, workers, throughput, failures and a timeline, and prints its address, which has a secret in it. With a command it starts that, shows it, and ends with it and its exit code. Without one it shows the programs of this user that run already, until Ctrl-C.',
  ],
  operands: [
    ['[command...]', 'what to start, such as "-- node app.js"; all programs that it starts are shown'],
  ],
  completesOperands: 'file',
  options: {
    port: { value: 'n', help: 'port on 127.0.0.1. Default: any that is free' },
    pid: { value: 'id', help: 'show this running program alone, and end with it' },
    open: { help: 'open the page in the browser' },
    list: { help: 'only list the programs that could be shown' },
    help: HELP_OPTION,
  },
  exitCodes:
    'that of the command, or 128 and the number of the signal that ended it; without a command 0; 1 when there is no such program, 2 wrong usage',
  examples: [
    'multiproc dashboard --open -- node app.js',
    'multiproc dashboard',
    'multiproc dashboard --pid 4711 --port 8080',
  ],
} as const satisfies CommandSyntax
