/** `multiproc worker`: an agent as a program, for service managers and batch systems. It says on stderr what it does. */
import { startAgent } from '../cluster/agent.ts'
import { interruptSignal } from '../process/interrupt-signal.ts'
import { clusterOptions, messageForShell, orUsageError, poolNames } from './cluster-options.ts'
import { renderHelp } from './command-syntax.ts'
import { EXIT_FAILED, EXIT_OK } from './exit-codes.ts'
import { parseCount, parseOptions, parseTimeMs } from './parse-options.ts'
import { parsePairs } from './parse-pairs.ts'
import { UsageError } from './usage-error.ts'
import { WORKER_SYNTAX } from './worker-syntax.ts'

const bytesPerMebibyte = 1 << 20
const portMax = 65_535
/** As the option `lease`. */
const leaseMsMin = 1000

/** Runs the command and gives its exit code. */
export async function workerCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseOptions(WORKER_SYNTAX, args)
  if (values.help === true) {
    process.stdout.write(renderHelp(WORKER_SYNTAX))
    return EXIT_OK
  }
  if (positionals.length > 0) {
    throw new UsageError(
      `"multiproc worker" takes no inputs, but got "${positionals[0]}"\nTo fix: leave it out; pools are named by --pool`,
    )
  }
  const pools = poolNames(values.pool)
  if (pools === undefined) {
    throw new UsageError('It is not said which pool to work for\nTo fix: pass --pool <name>')
  }
  const drainMs = parseTimeMs('drain', values.drain, { msMin: 0 })
  const memoryMebibytes = parseCount('max-memory', values['max-memory'])
  const healthPort = parseCount('health-port', values['health-port'])
  if (healthPort !== undefined && healthPort > portMax) {
    throw new UsageError(`--health-port must be at most ${portMax}\nTo fix: pass such a number`)
  }
  const cluster = {
    ...clusterOptions(values),
    lease: parseTimeMs('lease', values.lease, { msMin: leaseMsMin }),
    maxDeliveries: parseCount('max-deliveries', values['max-deliveries']),
  }
  const labels = parsePairs('label', values.label)
  const resources = parsePairs('resource', values.resource)
  const interrupted = interruptSignal()
  try {
    const agent = await orUsageError(() =>
      startAgent({
        cluster,
        pools,
        processes: parseCount('processes', values.processes),
        labels,
        resources,
        preload: values.preload,
        maxTasksPerChild: parseCount('max-tasks', values['max-tasks']),
        maxMemoryPerChild: memoryMebibytes === undefined ? undefined : memoryMebibytes * bytesPerMebibyte,
        healthPort,
        healthHost: values['health-host'],
      }),
    )
    say(`${agent.name} works for ${pools.join(', ')} with processes: ${agent.processes}`)
    const stop = (): void => {
      say(`takes no more work, and finishes what it has (chunks: ${agent.chunks})`)
      void agent.stop({ timeout: drainMs })
    }
    if (interrupted.aborted) stop()
    else interrupted.addEventListener('abort', stop)
    await agent.ended
    return EXIT_OK
  } catch (error) {
    if (error instanceof UsageError) throw error
    say(error instanceof Error ? messageForShell(error) : String(error))
    return EXIT_FAILED
  }
}

function say(text: string): void {
  process.stderr.write(`multiproc worker: ${text}\n`)
}
