/** `multiproc doctor`: says what this machine offers, and tries it. Exit code 1 when a worker does not work. */
import { HAS_DOORBELL } from '../platform/child-channel.ts'
import { type MachineFacts, type ResourceLimit, machineFacts } from '../platform/machine-facts.ts'
import { type NativeStatus, nativeStatus } from '../platform/native-addon.ts'
import { getAllStartMethods } from '../process/start-methods.ts'
import { renderHelp } from './command-syntax.ts'
import { DOCTOR_SYNTAX } from './doctor-syntax.ts'
import { EXIT_FAILED, EXIT_OK } from './exit-codes.ts'
import { packageVersion } from './package-version.ts'
import { parseOptions } from './parse-options.ts'
import { UsageError } from './usage-error.ts'
import { type WorkerCheck, checkWorker } from './worker-check.ts'

interface Diagnosis {
  version: string
  node: string
  /** Whether this Node.js runs .ts files by itself. */
  runsTypeScript: boolean
  machine: MachineFacts
  workers: WorkerCheck[]
  /** Whether the native addon is used, and from where, or why not. */
  native: NativeStatus
}

/** Runs the command and gives its exit code. */
export async function doctorCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseOptions(DOCTOR_SYNTAX, args)
  if (values.help === true) {
    process.stdout.write(renderHelp(DOCTOR_SYNTAX))
    return EXIT_OK
  }
  if (positionals.length > 0) {
    throw new UsageError(
      `"multiproc doctor" takes no inputs, but got "${positionals[0]}"\nTo fix: leave it out`,
    )
  }
  const diagnosis = await diagnose()
  process.stdout.write(values.json === true ? `${JSON.stringify(diagnosis, null, 2)}\n` : describe(diagnosis))
  return diagnosis.workers.every(({ error }) => error === undefined) ? EXIT_OK : EXIT_FAILED
}

async function diagnose(): Promise<Diagnosis> {
  const workers: WorkerCheck[] = []
  // One after the other, so that their times can be compared.
  for (const method of getAllStartMethods()) workers.push(await checkWorker(method))
  return {
    version: packageVersion(),
    node: process.versions.node,
    // Absent from the types of the oldest Node.js that we support.
    runsTypeScript: Boolean((process.features as { typescript?: unknown }).typescript),
    machine: machineFacts(),
    workers,
    native: nativeStatus(),
  }
}

function describe({ version, node, runsTypeScript, machine, workers, native }: Diagnosis): string {
  const { cpus, memory } = machine
  const rows: [title: string, text: string][] = [
    [
      'CPUs',
      `${cpus.usable} usable (machine ${cpus.machine}, affinity of this process ${cpus.affinity}, container's quota ${cpus.quota ?? 'none'})`,
    ],
    [
      'Memory',
      `${bytes(memory.machine)} (container's limit ${memory.container === undefined ? 'none' : bytes(memory.container)})`,
    ],
    ['Open files', describeLimit(machine.openFiles)],
    ['Processes', describeLimit(machine.processes)],
    ...workers.map((check): [string, string] => [
      check.method === 'spawn' ? 'Worker process' : 'Worker thread',
      describeWorker(check),
    ]),
    [
      'Closures',
      workers.every(({ hasClosures }) => hasClosures)
        ? 'yes, functions are sent with the variables that they use'
        : 'no, see above; exported functions of modules work where workers do',
    ],
    [
      'TypeScript',
      runsTypeScript
        ? 'this Node.js runs .ts files'
        : 'this Node.js does not run .ts files (22.18 and newer do); use a compiler or tsx',
    ],
    ['Native addon', native.isOn ? `used, from ${native.path}` : `not used: ${native.reason}`],
    [
      'Transport',
      `${native.isOn && HAS_DOORBELL ? 'shared memory' : 'sockets'} for processes, message ports for threads`,
    ],
    [
      'Shared memory',
      native.isOn ? 'for processes and threads' : 'for threads; for processes it needs the native addon',
    ],
    [
      'Locks, queues',
      native.isOn
        ? 'in shared memory'
        : 'in the process that makes them; others reach them by messages, 0.1 to 0.2 ms each',
    ],
    [
      'Journals',
      native.isOn
        ? 'in shared memory, to tell which item a worker ran when it died'
        : machine.journalFolder === undefined
          ? 'none: when a worker dies, it is less exactly known which item it ran'
          : `in ${machine.journalFolder}, to tell which item a worker ran when it died`,
    ],
  ]
  const lines = rows.map(([title, text]) => `${title.padEnd(16)}${text}`)
  return [
    `multiproc ${version}, Node.js ${node}, ${machine.platform} ${machine.arch}`,
    '',
    ...lines,
    '',
  ].join('\n')
}

function describeWorker({ method, firstAnswerMs, roundTripMs, error }: WorkerCheck): string {
  const start = `start method "${method}": `
  if (firstAnswerMs === undefined || roundTripMs === undefined) return `${start}does not work: ${error}`
  const times = `first answer after ${firstAnswerMs.toFixed(0)} ms, then ${roundTripMs.toFixed(2)} ms`
  return `${start}${times}${error === undefined ? '' : `; then failed: ${error}`}`
}

function describeLimit(limit: ResourceLimit | undefined): string {
  if (limit === undefined) return 'not known on this system'
  return `${limit.soft} (can be raised to ${limit.hard})`
}

function bytes(count: number): string {
  return `${(count / 2 ** 30).toFixed(1)} GiB`
}
