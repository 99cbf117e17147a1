/** `multiproc cluster`: what runs on a cluster, for people and for scripts. */
import { ProcessError } from '../errors.ts'
import { ClusterAdmin, type DeadLetter, type PoolStatus, type QueuedJob } from '../cluster/cluster-admin.ts'
import { describeOffer } from '../pool/requirements.ts'
import { interruptSignal } from '../process/interrupt-signal.ts'
import { runDevCluster } from './cluster-dev.ts'
import { clusterOptions, messageForShell, orUsageError, poolNames } from './cluster-options.ts'
import { CLUSTER_ACTIONS, CLUSTER_SYNTAX } from './cluster-syntax.ts'
import { type OptionValues, renderHelp } from './command-syntax.ts'
import { EXIT_FAILED, EXIT_OK } from './exit-codes.ts'
import { parseCount, parseOptions, parseTimeMs } from './parse-options.ts'
import { UsageError } from './usage-error.ts'

type Values = OptionValues<typeof CLUSTER_SYNTAX>

const topEveryMs = 1000
/** As the option `lease`. */
const leaseMsMin = 1000
const clearScreen = '\u001B[H\u001B[J'

/** Runs the command and gives its exit code. */
export async function clusterCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseOptions(CLUSTER_SYNTAX, args)
  if (values.help === true) {
    process.stdout.write(renderHelp(CLUSTER_SYNTAX))
    return EXIT_OK
  }
  const [text, id, ...others] = positionals
  const action = CLUSTER_ACTIONS.find(name => name === text)
  if (action === undefined) {
    throw new UsageError(
      `${text === undefined ? 'It is not said what to do' : `"${text}" is nothing that can be done`}\nTo fix: use one of ${CLUSTER_ACTIONS.join(', ')}; "multiproc cluster --help" shows what they do`,
    )
  }
  const isIdNeeded = action === 'cancel'
  if (others.length > 0 || (id !== undefined) !== isIdNeeded) {
    throw new UsageError(
      isIdNeeded
        ? 'Which work to cancel is said by one id\nTo fix: see "multiproc cluster jobs"'
        : `"multiproc cluster ${action}" takes no inputs\nTo fix: leave them out`,
    )
  }
  if (action === 'create') queuesToCreate(values)
  try {
    if (action === 'dev') return await runDevCluster(values)
    return await withAdmin(values, admin => act(admin, { action, id, values }))
  } catch (error) {
    if (!(error instanceof ProcessError)) throw error
    process.stderr.write(`multiproc: ${messageForShell(error)}\n`)
    return EXIT_FAILED
  }
}

async function withAdmin(values: Values, use: (admin: ClusterAdmin) => Promise<number>): Promise<number> {
  const options = {
    ...clusterOptions(values),
    replicas: parseCount('replicas', values.replicas),
    lease: parseTimeMs('lease', values.lease, { msMin: leaseMsMin }),
    maxDeliveries: parseCount('max-deliveries', values['max-deliveries']),
  }
  const admin = await orUsageError(() =>
    ClusterAdmin.connect({ connectionTimeout: 5000, ...options }, { pools: poolNames(values.pool) }),
  )
  try {
    return await use(admin)
  } finally {
    await admin.close()
  }
}

async function act(
  admin: ClusterAdmin,
  {
    action,
    id,
    values,
  }: { action: Exclude<(typeof CLUSTER_ACTIONS)[number], 'dev'>; id: string | undefined; values: Values },
): Promise<number> {
  const isJson = values.json === true
  switch (action) {
    case 'status': {
      const pools = await admin.status()
      print(isJson ? { server: admin.server, pools } : describeStatus(admin, pools))
      return EXIT_OK
    }
    case 'top':
      return await showAgainAndAgain(admin)
    case 'jobs': {
      const jobs = await admin.jobs()
      print(isJson ? jobs : describeJobs(jobs))
      return EXIT_OK
    }
    case 'cancel': {
      const { chunks, isThere } = await admin.cancel(id!)
      print(`${chunks} of its chunks were taken out of the queue\n`)
      return isThere ? EXIT_OK : EXIT_FAILED
    }
    case 'dead': {
      if (values.clear === true) {
        print(`${await admin.clearDead()} dead letters were deleted\n`)
        return EXIT_OK
      }
      const letters = await admin.dead()
      print(isJson ? letters : describeDead(letters))
      return EXIT_OK
    }
    case 'create':
      return await create(admin, values)
    default:
      throw new Error(`This is a bug in multiproc, please report it: nobody does "${String(action)}"`)
  }
}

async function create(admin: ClusterAdmin, values: Values): Promise<number> {
  const { state } = values
  const queues = queuesToCreate(values)
  const pools = await admin.createPools()
  if (state !== undefined) await orUsageError(() => admin.createState(state, queues))
  if (values.json === true) {
    print({ pools, ...(state === undefined ? {} : { state, queues: Object.keys(queues) }) })
    return EXIT_OK
  }
  for (const { pool, leaseMs, deliveriesMax, replicas } of pools) {
    print(
      `The pool ${pool} is there: lease ${leaseMs} ms, deliveries at most ${deliveriesMax}, replicas ${replicas}\n`,
    )
  }
  if (state !== undefined) {
    const withQueues =
      Object.keys(queues).length === 0 ? '' : `, with the queues ${Object.keys(queues).join(', ')}`
    print(`The shared state ${state} is there${withQueues}\n`)
  }
  return EXIT_OK
}

/** How much each takes. @throws UsageError when nothing is named. */
function queuesToCreate({ pool, queue, state }: Values): Record<string, number> {
  if (poolNames(pool) === undefined && state === undefined) {
    throw new UsageError(
      'It is not said what to create\nTo fix: name a pool with --pool, shared state with --state, or both',
    )
  }
  if (queue !== undefined && state === undefined) {
    throw new UsageError('--queue is of shared state\nTo fix: name that with --state')
  }
  const named = (queue ?? '').split(',').filter(part => part !== '')
  return Object.fromEntries(
    named.map(part => {
      const [name, size] = part.split('=', 2)
      return [name!, parseCount('queue', size) ?? 0]
    }),
  )
}

async function showAgainAndAgain(admin: ClusterAdmin): Promise<number> {
  const interrupted = interruptSignal()
  while (!interrupted.aborted) {
    const text = describeStatus(admin, await admin.status())
    print(process.stdout.isTTY ? `${clearScreen}${text}` : text)
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, topEveryMs)
      interrupted.addEventListener('abort', () => {
        clearTimeout(timer)
        resolve()
      })
    })
  }
  return EXIT_OK
}

function print(what: unknown): void {
  process.stdout.write(typeof what === 'string' ? what : `${JSON.stringify(what, null, 2)}\n`)
}

function describeStatus({ server }: ClusterAdmin, pools: readonly PoolStatus[]): string {
  const lines = [`NATS ${server.version} at ${server.name}`, '']
  if (pools.length === 0) lines.push('No program and no agent has used a pool here yet', '')
  for (const { pool, waiting, running, results, dead, agents, requiring } of pools) {
    const { high, normal, low } = waiting
    const processes = agents.reduce((sum, agent) => sum + agent.processes, 0)
    const special = requiring.map(
      ({ requires, waiting: left }) => `  waiting for ${requires}: ${count(left, 'chunk')}`,
    )
    lines.push(
      `Pool ${pool}: ${count(agents.length, 'agent')} with ${count(processes, 'process', 'es')}`,
      `  chunks waiting ${high + normal + low} (high ${high}, normal ${normal}, low ${low}), running ${running}, given up ${dead}; results not taken ${results}`,
      ...special,
      ...agents.map(
        ({ agent, host, pid, processes: own, chunks, node, ...offer }) =>
          `  ${agent}  ${host} pid ${pid}, Node.js ${node}: ${count(chunks, 'chunk')}, ${count(own, 'process', 'es')}, ${describeOffer(offer)}`,
      ),
      '',
    )
  }
  return lines.join('\n')
}

function count(number: number, what: string, plural = 's'): string {
  return `${number} ${what}${number === 1 ? '' : plural}`
}

function describeJobs(jobs: readonly QueuedJob[]): string {
  if (jobs.length === 0) return 'No program has work in the queue\n'
  return jobs
    .map(({ pool, id, chunks, since, job }) => {
      const call = job
        ? `; job ${job.jobId}: "${job.taskName}" with ${count(job.items, 'item')}, of pid ${job.pid} on ${job.host}`
        : ''
      return `${id}  pool ${pool}: ${count(chunks, 'chunk')} since ${since}${call}\n`
    })
    .join('')
}

function describeDead(letters: readonly DeadLetter[]): string {
  if (letters.length === 0) return 'Nothing was given up\n'
  return letters
    .map(({ pool, id, time, byteLength, taskName, items }) => {
      const what =
        taskName === undefined
          ? 'not signed with this key, or not kept'
          : `"${taskName}" with ${count(items ?? 0, 'item')}`
      return `${id}  pool ${pool}: ${what}, ${byteLength} bytes, ${time}\n`
    })
    .join('')
}
