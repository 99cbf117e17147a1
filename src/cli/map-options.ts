/** The options of `multiproc map`: their help, and how they become settings. Complains about all that makes no sense. */
import { parseChoice, parseCount, parseOptions } from './parse-options.ts'
import { UsageError } from './usage-error.ts'

export const MAP_HELP = `Usage: multiproc map <file>[#function] [options] [inputs...]

Calls an exported function for every input, in parallel, and prints the results in the order of the inputs.

  <file>[#function]   a module (.js, .mjs, .cjs; .ts from Node.js 22.18 on) and the name of its export;
                      without a name the default export, or the only function. #a.b calls b of the export a.
  [inputs...]         one call each; without inputs, the lines of standard input

Options:
  -i, --input <kind>       where inputs come from: args, lines (of standard input), or json (one JSON value in each
                           line of standard input, or in each argument). Default: args when there are any, else lines
      --spread             with --input json: every value is an array, and its items are the arguments of a call
  -o, --output <kind>      json (one JSON value in each line) or text (strings as they are). Default: json
  -u, --unordered          print each result as soon as it is there
  -p, --processes <n>      how many workers. Default: the number of CPUs that this process may use
  -c, --context <kind>     spawn (processes) or thread. Default: spawn
      --chunk-size <n>     inputs in one message to a worker. Default: chosen by the time that calls take
      --max-failures <n>   stop when so many inputs have failed. Default: run them all
      --fail-fast          the same as --max-failures 1
      --progress           show progress on standard error. Default: when it is a terminal, and the results go elsewhere
      --no-progress        do not
  -h, --help               show this

What failed is listed on standard error at the end. Exit code: 0 all fine, 1 inputs failed, 2 wrong usage, 130 Ctrl-C.

Examples:
  multiproc map ./resize.mjs#resize *.jpg
  find . -name '*.log' | multiproc map ./logs.mjs#count --processes 8 > counts.ndjson
  printf '[1,2]\\n[3,4]\\n' | multiproc map ./sums.mjs#add --input json --spread
`

export interface MapSettings {
  /** The function, as in `./file.mjs#name`. */
  reference: string
  /** The inputs, or undefined to read standard input. */
  inputs: readonly string[] | undefined
  input: 'text' | 'json'
  isSpread: boolean
  output: 'json' | 'text'
  isUnordered: boolean
  processes: number | undefined
  context: 'spawn' | 'thread'
  chunkSize: number | undefined
  failuresMax: number
  /** Undefined: when it makes sense. */
  showsProgress: boolean | undefined
}

/**
 * Reads the arguments of `multiproc map`.
 *
 * @returns the settings, or `undefined` when help is asked for
 * @throws UsageError for whatever is wrong.
 */
export function parseMapOptions(args: readonly string[]): MapSettings | undefined {
  const { values, positionals } = parseOptions('map', args, {
    help: { type: 'boolean', short: 'h' },
    input: { type: 'string', short: 'i' },
    spread: { type: 'boolean' },
    output: { type: 'string', short: 'o' },
    unordered: { type: 'boolean', short: 'u' },
    processes: { type: 'string', short: 'p' },
    context: { type: 'string', short: 'c' },
    'chunk-size': { type: 'string' },
    'max-failures': { type: 'string' },
    'fail-fast': { type: 'boolean' },
    progress: { type: 'boolean' },
    'no-progress': { type: 'boolean' },
  })
  if (values.help === true) return undefined
  const [reference, ...inputs] = positionals
  if (reference === undefined) {
    throw new UsageError(
      'Nothing to call: no function was named\nTo fix: multiproc map <file>#<function> [inputs...], such as multiproc map ./resize.mjs#resize *.jpg',
    )
  }
  const input = parseChoice('input', values.input, ['args', 'lines', 'json'])
  if (input === 'lines' && inputs.length > 0) {
    throw new UsageError(
      `--input lines reads standard input, but there are inputs on the command line, too: "${inputs[0]}"\nTo fix: leave out one of them`,
    )
  }
  if (values.spread === true && input !== 'json') {
    throw new UsageError(
      '--spread needs inputs that are arrays\nTo fix: add --input json, and pass inputs such as [1, 2]',
    )
  }
  if (values.progress === true && values['no-progress'] === true) {
    throw new UsageError('--progress and --no-progress exclude each other\nTo fix: leave out one of them')
  }
  const failuresMax = parseCount('max-failures', values['max-failures'])
  return {
    reference,
    inputs: input === 'args' || inputs.length > 0 ? inputs : undefined,
    input: input === 'json' ? 'json' : 'text',
    isSpread: values.spread === true,
    output: parseChoice('output', values.output, ['json', 'text']) ?? 'json',
    isUnordered: values.unordered === true,
    processes: parseCount('processes', values.processes),
    context: parseChoice('context', values.context, ['spawn', 'thread']) ?? 'spawn',
    chunkSize: parseCount('chunk-size', values['chunk-size']),
    failuresMax: values['fail-fast'] === true ? 1 : (failuresMax ?? Infinity),
    showsProgress: values.progress === true ? true : values['no-progress'] === true ? false : undefined,
  }
}
