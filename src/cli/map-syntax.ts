/** What `multiproc map` takes. What may not go together is said in map-options.ts. */
import { CLUSTER_OPTIONS } from './cluster-options.ts'
import { HELP_OPTION, type CommandSyntax } from './command-syntax.ts'

export const MAP_SYNTAX = {
  name: 'map',
  summary: 'call a function for every input, in parallel',
  usage: '<file>[#function] [options] [inputs...]',
  about: [
    'Calls an exported function for every input, in parallel, and prints the results in the order of the inputs.',
  ],
  operands: [
    [
      '<file>[#function]',
      'a module (.js, .mjs, .cjs; .ts from Node.js 22.18 on) and the name of its export; without a name the default export, or the only function. #a.b calls b of the export a',
    ],
    ['[inputs...]', 'one call each; without inputs, the lines of standard input'],
  ],
  completesOperands: 'file',
  options: {
    input: {
      short: 'i',
      value: 'kind',
      choices: ['args', 'files', 'lines', 'json', 'csv'],
      help: 'what inputs are: args; files (names and quoted globs such as "pictures/**/*.jpg", a call for each file); lines; json (one JSON value in each line, or argument); csv (rows). Default: args when there are any, else lines',
    },
    from: {
      value: 'file',
      completes: 'file',
      help: 'read lines, json or csv from this file, not from standard input',
    },
    null: {
      short: '0',
      help: 'with --input lines: inputs end in a NUL character, as "find -print0" writes them',
    },
    delimiter: {
      value: 'character',
      help: 'with --input csv: what is between fields, or "tab". Default: a comma',
    },
    'no-header': {
      help: 'with --input csv: the first row is data, and every row an array. Default: objects',
    },
    spread: {
      help: 'with --input json, or csv without header: the items of each array are the arguments of a call',
    },
    output: {
      short: 'o',
      value: 'kind',
      choices: ['json', 'text', 'records'],
      help: 'json (one JSON value in each line), text (strings as they are) or records (a JSON object for every input, with its number, status and result or error). Default: json',
    },
    to: { value: 'file', completes: 'file', help: 'write results to this file. Default: standard output' },
    'to-folder': {
      value: 'folder',
      completes: 'folder',
      help: 'write each result to a file of its own, such as 000001.json for the first input',
    },
    unordered: { short: 'u', help: 'write each result as soon as it is there' },
    processes: {
      short: 'p',
      value: 'n',
      help: 'how many workers. Default: the number of CPUs that this process may use',
    },
    context: {
      short: 'c',
      value: 'kind',
      choices: ['spawn', 'thread'],
      help: 'spawn (processes) or thread. Default: spawn',
    },
    thread: { help: 'the same as --context thread' },
    ...CLUSTER_OPTIONS,
    cluster: {
      value: 'url',
      help: 'let the agents of this cluster do the work: a NATS server, such as nats://host:4222; several with commas',
    },
    name: { value: 'pool', help: 'with --cluster: the pool that the agents serve' },
    'require-label': {
      value: 'name=value',
      isRepeated: true,
      help: 'with --cluster: only on machines whose agent has this label; again for another one',
    },
    'require-resource': {
      value: 'name=amount',
      isRepeated: true,
      help: 'with --cluster: what of the resources of its agent each input needs, such as gpu=1; again for another one',
    },
    'chunk-size': {
      value: 'n',
      help: 'inputs in one message to a worker. Default: chosen by the time that calls take',
    },
    timeout: {
      value: 'time',
      help: 'an input that takes longer fails: 500ms, 30s, 5m, 1h; a number alone is seconds. Default: no limit',
    },
    retries: { value: 'n', help: 'how often an input that failed runs again. Default: 0' },
    'retry-delay': {
      value: 'time',
      help: 'wait so long before the second run, and twice as long before each further one. Default: 0',
    },
    halt: {
      value: 'policy',
      choices: ['never', 'soon', 'now'],
      help: 'when inputs fail: never stop; soon (begin no more); now (stop those that run, too). At the first failure, or the n-th as in soon,fail=3, or when a part of the finished ones has failed as in now,fail=10%. Default: never',
    },
    'max-failures': { value: 'n', help: 'the same as --halt now,fail=n' },
    'fail-fast': { help: 'the same as --halt now' },
    joblog: {
      value: 'file',
      completes: 'file',
      help: 'write a line of JSON for every finished input: its number, status, time, attempts and error',
    },
    resume: {
      help: 'with --joblog: go on where a run with this log was ended, or begin when there is no log',
    },
    'retry-failed': { help: 'with --resume: run inputs that failed again' },
    progress: {
      help: 'show progress on standard error. Default: when it is a terminal, and the results go elsewhere',
    },
    'no-progress': { help: 'do not' },
    help: HELP_OPTION,
  },
  exitCodes:
    '0 all fine, 1 inputs failed or the run could not be finished, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM, 129 the terminal was closed. What failed is listed on standard error at the end',
  examples: [
    'multiproc map ./resize.mjs#resize *.jpg',
    'multiproc map ./resize.mjs#resize --input files "pictures/**/*.jpg" --timeout 30s --retries 2',
    "find . -name '*.log' | multiproc map ./logs.mjs#count --processes 8 > counts.ndjson",
    "printf '[1,2]\\n[3,4]\\n' | multiproc map ./sums.mjs#add --input json --spread",
    'multiproc map ./bill.mjs --input csv --from orders.csv --to bills.ndjson --joblog bills.log --resume',
    'multiproc map ./render.mjs#frame --cluster nats://queue:4222 --name render --key-file key --to-folder out 1 2 3',
  ],
} as const satisfies CommandSyntax
