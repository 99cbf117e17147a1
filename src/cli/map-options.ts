/** How the options of `multiproc map` become settings. Complains about all that makes no sense. */
import { resolve } from 'node:path'
import { type ClusterOptions, checkCluster } from '../pool/cluster-option.ts'
import { type TaskRequirements, checkRequires } from '../pool/requirements.ts'
import { CLUSTER_OPTIONS, clusterOptions, orUsageErrorNow } from './cluster-options.ts'
import { type HaltPolicy, NEVER_HALT, parseHaltPolicy } from './halt-policy.ts'
import { MAP_SYNTAX } from './map-syntax.ts'
import type { OptionValues } from './command-syntax.ts'
import { parseChoice, parseContext, parseCount, parseOptions, parseTimeMs } from './parse-options.ts'
import { parsePairs } from './parse-pairs.ts'
import { UsageError } from './usage-error.ts'

export type InputKind = (typeof MAP_SYNTAX.options.input.choices)[number]
export type OutputKind = (typeof MAP_SYNTAX.options.output.choices)[number]

/** Where results go. */
export type Target = { is: 'stdout' } | { is: 'file' | 'folder'; path: string }

export interface MapSettings {
  /** The function, as in `./file.mjs#name`. */
  reference: string
  input: {
    kind: InputKind
    /** The arguments that are inputs, or undefined when a stream is read. */
    given: readonly string[] | undefined
    /** The file to read, or undefined for standard input. */
    from: string | undefined
    isNulSeparated: boolean
    delimiter: string
    hasHeader: boolean
    /** Whether the items of an input that is an array are the arguments. */
    isSpread: boolean
  }
  output: OutputKind
  target: Target
  isUnordered: boolean
  /** Where the work goes, if it is not done on this machine. */
  cluster: { options: ClusterOptions; pool: string; requires: TaskRequirements | undefined } | undefined
  processes: number | undefined
  context: 'spawn' | 'thread'
  chunkSize: number | undefined
  timeoutMs: number | undefined
  retries: number
  retryDelayMs: number
  halt: HaltPolicy
  /** The file of the job log, if one is wanted. */
  joblog: string | undefined
  isResume: boolean
  isFailedRetried: boolean
  /** Undefined: when it makes sense. */
  showsProgress: boolean | undefined
}

type Values = OptionValues<typeof MAP_SYNTAX>

/**
 * Reads the arguments of `multiproc map`.
 *
 * @returns the settings, or `undefined` when help is asked for
 * @throws UsageError for whatever is wrong.
 */
export function parseMapOptions(args: readonly string[]): MapSettings | undefined {
  const { values, positionals } = parseOptions(MAP_SYNTAX, args)
  if (values.help === true) return undefined
  const [reference, ...inputs] = positionals
  if (reference === undefined) {
    throw new UsageError(
      'Nothing to call: no function was named\nTo fix: multiproc map <file>#<function> [inputs...], such as multiproc map ./resize.mjs#resize *.jpg',
    )
  }
  exclude(values, 'progress', 'no-progress')
  const input = parseInput(values, inputs)
  const output = parseChoice('output', values.output, MAP_SYNTAX.options.output.choices) ?? 'json'
  const target = parseTarget(values)
  return {
    reference,
    input,
    output,
    target,
    // Files of their own have no order, and what is written at once is lost to no kill.
    isUnordered: values.unordered === true || target.is === 'folder',
    cluster: parseCluster(values),
    processes: parseCount('processes', values.processes),
    context: parseContext(values),
    chunkSize: parseCount('chunk-size', values['chunk-size']),
    timeoutMs: parseTimeMs('timeout', values.timeout, { msMin: 1 }),
    ...parseRetries(values),
    halt: parseHalt(values),
    ...parseJobLog(values, { input, output, target }),
    showsProgress: values.progress === true ? true : values['no-progress'] === true ? false : undefined,
  }
}

function parseInput(values: Values, inputs: readonly string[]): MapSettings['input'] {
  const { choices } = MAP_SYNTAX.options.input
  const chosen = parseChoice('input', values.input, choices)
  const kind = chosen ?? (inputs.length > 0 ? 'args' : 'lines')
  const hasHeader = values['no-header'] !== true
  if ((kind === 'lines' || kind === 'csv') && inputs.length > 0) {
    throw new UsageError(
      `--input ${kind} reads standard input, but there are inputs on the command line, too: "${inputs[0]}"\nTo fix: leave out one of them, or name a file with --from`,
    )
  }
  if (values.from !== undefined && (inputs.length > 0 || kind === 'args' || kind === 'files')) {
    throw new UsageError(
      `--from reads inputs from a file, but ${inputs.length > 0 ? `there are inputs on the command line, too: "${inputs[0]}"` : `--input ${kind} takes them from the command line`}\nTo fix: leave out one of them`,
    )
  }
  if (kind === 'files' && inputs.length === 0) {
    throw new UsageError(
      '--input files needs names of files, or globs\nTo fix: pass some, such as "pictures/**/*.jpg"; to read names from standard input, leave --input files out',
    )
  }
  if (values.spread === true && kind !== 'json' && !(kind === 'csv' && !hasHeader)) {
    throw new UsageError(
      '--spread needs inputs that are arrays\nTo fix: add --input json and pass inputs such as [1, 2], or --input csv --no-header',
    )
  }
  only(values, 'null', { with: 'lines', kind })
  only(values, 'delimiter', { with: 'csv', kind })
  only(values, 'no-header', { with: 'csv', kind })
  return {
    kind,
    given: kind === 'args' || kind === 'files' || inputs.length > 0 ? inputs : undefined,
    from: values.from === '-' ? undefined : values.from,
    isNulSeparated: values.null === true,
    delimiter: parseDelimiter(values.delimiter),
    hasHeader,
    isSpread: values.spread === true,
  }
}

function parseDelimiter(text: string | undefined): string {
  if (text === undefined) return ','
  if (text === 'tab' || text === '\\t') return '\t'
  if (text.length === 1 && !/["\r\n]/.test(text)) return text
  throw new UsageError(
    `--delimiter must be one character, but it is "${text}"\nTo fix: pass one, such as ";", or the word tab`,
  )
}

function parseTarget(values: Values): Target {
  exclude(values, 'to', 'to-folder')
  if (values.to !== undefined) {
    if (values.from !== undefined && resolve(values.from) === resolve(values.to)) {
      throw new UsageError(
        `--to would overwrite the inputs: "${values.to}" is the file that --from reads\nTo fix: name another file`,
      )
    }
    return { is: 'file', path: values.to }
  }
  return values['to-folder'] === undefined ? { is: 'stdout' } : { is: 'folder', path: values['to-folder'] }
}

/** The work goes elsewhere only when the command says so: a variable of the environment alone does not send it away. */
function parseCluster(values: Values): MapSettings['cluster'] {
  const { cluster, name } = values
  if (cluster === undefined) {
    const others = [
      'name',
      'require-label',
      'require-resource',
      ...Object.keys(CLUSTER_OPTIONS),
    ] as (keyof Values)[]
    const other = others.find(option => values[option] !== undefined)
    if (other === undefined) return undefined
    throw new UsageError(
      `--${other} is for work that is done by a cluster\nTo fix: leave it out, or add --cluster nats://host:4222`,
    )
  }
  for (const option of ['processes', 'context', 'thread'] as const) {
    if (values[option] === undefined) continue
    throw new UsageError(
      `--${option} is about workers of this machine, but with --cluster they belong to the agents\nTo fix: leave it out, and see "multiproc worker --help" for what agents can be told`,
    )
  }
  if (name === undefined) {
    throw new UsageError(
      '--cluster needs the name of the pool that agents serve\nTo fix: add --name, such as --name render for agents that were started with --pool render',
    )
  }
  const options = clusterOptions(values)
  // Before anything is opened or emptied.
  const labels = parsePairs('require-label', values['require-label'])
  const resources = parsePairs('require-resource', values['require-resource'])
  const requires = labels || resources ? { labels, resources } : undefined
  orUsageErrorNow(() => {
    checkCluster(options, name)
    checkRequires(requires)
  })
  return { options, pool: name, requires }
}

function parseRetries(values: Values): { retries: number; retryDelayMs: number } {
  const retries = parseCount('retries', values.retries, { min: 0 }) ?? 0
  if (values['retry-delay'] !== undefined && retries === 0) {
    throw new UsageError(
      '--retry-delay has no meaning without retries\nTo fix: add --retries, such as --retries 3',
    )
  }
  return { retries, retryDelayMs: parseTimeMs('retry-delay', values['retry-delay'], { msMin: 0 }) ?? 0 }
}

function parseHalt(values: Values): HaltPolicy {
  exclude(values, 'halt', 'max-failures')
  exclude(values, 'halt', 'fail-fast')
  exclude(values, 'max-failures', 'fail-fast')
  if (values['fail-fast'] === true) return { when: 'now', failuresMin: 1, isPercent: false }
  const failuresMin = parseCount('max-failures', values['max-failures'])
  if (failuresMin !== undefined) return { when: 'now', failuresMin, isPercent: false }
  return values.halt === undefined ? NEVER_HALT : parseHaltPolicy(values.halt)
}

function parseJobLog(
  values: Values,
  { input, output, target }: { input: MapSettings['input']; output: OutputKind; target: Target },
): Pick<MapSettings, 'joblog' | 'isResume' | 'isFailedRetried'> {
  const { joblog } = values
  const isResume = values.resume === true
  const isFailedRetried = values['retry-failed'] === true
  if (isResume && joblog === undefined) {
    throw new UsageError(
      '--resume needs a job log, which says what is finished\nTo fix: add --joblog with a file, such as --joblog run.log, from the first run on',
    )
  }
  if (isFailedRetried && !isResume) {
    throw new UsageError(
      '--retry-failed is about the inputs that failed in an earlier run\nTo fix: add --resume; to run inputs again that fail now, use --retries',
    )
  }
  if (isFailedRetried && target.is === 'file' && (values.unordered !== true || output === 'records')) {
    throw new UsageError(
      output === 'records'
        ? '--retry-failed would write a second record of the same input to the file\nTo fix: use --output json, or --to-folder'
        : '--retry-failed cannot keep the order of results in a file: those of other inputs are there already\nTo fix: use --unordered from the first run on, or --to-folder',
    )
  }
  if (joblog !== undefined) {
    const others = [
      ['from', input.from],
      ['to', target.is === 'file' ? target.path : undefined],
    ] as const
    for (const [option, path] of others) {
      if (path !== undefined && resolve(path) === resolve(joblog)) {
        throw new UsageError(
          `--joblog and --${option} name the same file, "${path}"\nTo fix: name two different files`,
        )
      }
    }
  }
  return { joblog, isResume, isFailedRetried }
}

function exclude(values: Values, one: keyof Values, other: keyof Values): void {
  if (values[one] === undefined || values[other] === undefined) return
  throw new UsageError(`--${one} and --${other} exclude each other\nTo fix: leave out one of them`)
}

function only(
  values: Values,
  option: keyof Values,
  { with: needed, kind }: { with: InputKind; kind: InputKind },
): void {
  if (values[option] === undefined || kind === needed) return
  throw new UsageError(
    `--${option} is for --input ${needed}, but the inputs are ${kind}\nTo fix: leave --${option} out, or add --input ${needed}`,
  )
}
