/**
 * Works for pools on a cluster: one agent on each machine fetches chunks and runs them in worker processes of its own.
 * Invariant: the agent itself runs no task, so that nothing keeps it from renewing its leases; and it ends only when
 * what it has is done or given back.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { ProcessError, invalidArgument } from '../errors.ts'
import { cpuCount } from '../platform/cpu-count.ts'
import { hostName } from '../platform/host-name.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { type ClusterOptions, type ClusterSettings, checkCluster } from '../pool/cluster-option.ts'
import { openCore } from '../pool/open-core.ts'
import { checkCount, checkMilliseconds } from '../pool/option-checks.ts'
import type { PoolCore } from '../pool/pool-core.ts'
import type { PoolOptions } from '../pool/pool-options.ts'
import { checkOffer } from '../pool/requirements.ts'
import { AgentResources } from './agent-resources.ts'
import { AgentRoom } from './agent-room.ts'
import { BundleFolder } from './bundle-folder.ts'
import { CodeCache } from './code-cache.ts'
import { type Nats, closeNats, connectNats, connectionError } from './nats-client.ts'
import { ServedPool } from './served-pool.ts'
import type { AgentFacts } from './work-message.ts'

/** Options of {@link startAgent}. Those of `new Pool()` that are about workers are for the workers of this machine. */
export interface AgentOptions extends Pick<
  PoolOptions,
  | 'maxTasksPerChild'
  | 'maxMemoryPerChild'
  | 'preload'
  | 'niceness'
  | 'affinity'
  | 'threadPoolSize'
  | 'heartbeat'
  | 'initializer'
  | 'initArgs'
  | 'finalizer'
> {
  /** Where the work is, as in `new Pool({ cluster })`. */
  cluster: string | ClusterOptions
  /** The names of the pools that it works for. */
  pools: string | readonly string[]
  /** How many worker processes. Default: `cpuCount()`, which knows the limits of containers and of batch systems. */
  processes?: number | undefined
  /** What it is, for tasks that choose by the option `requires`: `{ zone: 'eu', gpu: 'a100' }`. Default: nothing. */
  labels?: Readonly<Record<string, string>> | undefined
  /**
   * What it has for tasks that require it, each for one task at a time: `{ gpu: 2, memory: '64G' }`. It is counted and
   * not measured. Default: nothing.
   */
  resources?: Readonly<Record<string, number | string>> | undefined
  /** Serves `GET /healthz` on this port of 127.0.0.1: 200 while it works, 503 when it has no server or is ending. */
  healthPort?: number | undefined
  /** On which address the port is. Default: 127.0.0.1. */
  healthHost?: string | undefined
}

const AGENT_OPTIONS = ['cluster', 'pools', 'labels', 'resources', 'healthPort', 'healthHost']
const WORKER_OPTIONS = [
  'processes',
  'maxTasksPerChild',
  'maxMemoryPerChild',
  'preload',
  'niceness',
  'affinity',
  'threadPoolSize',
  'heartbeat',
  'initializer',
  'initArgs',
  'finalizer',
]
const drainMsDefault = 30_000

/**
 * An agent at work; see {@link startAgent}.
 *
 * @example
 * ```ts
 * import { startAgent } from 'multiproc/cluster'
 *
 * const agent = await startAgent({ cluster: 'nats://127.0.0.1:4222', pools: 'render' })
 * process.once('SIGTERM', () => void agent.stop())
 * await agent.ended
 * ```
 */
export interface Agent {
  /** What it is called in `multiproc cluster status`: the machine, and a number. */
  readonly name: string
  readonly processes: number
  /** Resolves when it has ended; rejects when it cannot go on. */
  readonly ended: Promise<void>
  /** How many chunks it has. */
  readonly chunks: number
  /**
   * Takes no more work, finishes what it has, and ends.
   *
   * @param options - `timeout`: milliseconds after which what is not done is given to other agents. Default: 30000
   */
  stop(options?: { timeout?: number | undefined }): Promise<void>
}

/**
 * Starts to work for pools on a cluster, with processes of this machine: what `multiproc worker` does. It runs any code
 * that it is sent by whoever has the key.
 *
 * @throws TypeError or RangeError for options that make no sense, ClusterError when the cluster cannot be used,
 * ProcessError `ERR_START_FAILED` when its health port is taken.
 * @example
 * ```ts
 * import { startAgent } from 'multiproc/cluster'
 *
 * const agent = await startAgent({ cluster: 'nats://127.0.0.1:4222', pools: 'render', processes: 4 })
 * console.log(agent.processes) // 4
 * await agent.stop()
 * ```
 */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  assertKnownOptions('startAgent', options, [...AGENT_OPTIONS, ...WORKER_OPTIONS])
  const pools = typeof options.pools === 'string' ? [options.pools] : [...(options.pools ?? [])]
  if (pools.length === 0) {
    throw invalidArgument(
      TypeError,
      'An agent needs the name of at least one pool\nTo fix: pass { pools: \'render\' }, the "name" that programs give to their pools',
    )
  }
  const settings = [...new Set(pools)].map(name => checkCluster(options.cluster, name))
  const healthPort = checkCount('healthPort', options.healthPort, { max: 65_535 })
  const processes = checkCount('processes', options.processes) ?? processesHere()
  const resources = new AgentResources(checkOffer(options))
  const nats = await connectNats(settings[0]!, { name: 'agent' })
  try {
    return await RunningAgent.start(nats, { ...options, processes, healthPort }, { settings, resources })
  } catch (error) {
    await closeNats(nats)
    throw error
  }
}

/** A batch system gives a job fewer CPUs than the machine has, and not every one of them also keeps it to these. */
function processesHere(): number {
  const ofBatchJob = Number(process.env['SLURM_CPUS_PER_TASK'] ?? Infinity)
  return ofBatchJob >= 1 ? Math.min(cpuCount(), ofBatchJob) : cpuCount()
}

/** What was checked. */
interface AgentSetup {
  settings: readonly ClusterSettings[]
  resources: AgentResources
}

class RunningAgent implements Agent {
  readonly #hostName = hostName()
  readonly name = `${this.#hostName}-${randomBytes(3).toString('hex')}`
  readonly processes: number
  readonly ended: Promise<void>
  readonly #nats: Nats
  readonly #core: PoolCore
  readonly #settings: readonly ClusterSettings[]
  readonly #resources: AgentResources
  readonly #code = new CodeCache()
  readonly #bundles = new BundleFolder()
  readonly #pools: ServedPool[] = []
  readonly #room: AgentRoom
  #health: Server | undefined
  #lost: NodeJS.Timeout | undefined
  #stopping: Promise<void> | undefined
  #resolve!: () => void
  #reject!: (reason: unknown) => void

  private constructor(nats: Nats, options: AgentOptions & { processes: number }, given: AgentSetup) {
    const { settings, resources } = given
    this.#nats = nats
    this.#settings = settings
    this.#resources = resources
    this.processes = options.processes
    this.#room = new AgentRoom(this.processes, this.#pools)
    const workers = Object.fromEntries(
      WORKER_OPTIONS.map(key => [key, options[key as keyof AgentOptions]]),
    ) as PoolOptions
    this.#core = openCore(
      { ...workers, context: 'spawn' },
      { opener: startAgent, name: this.name, workerName: number => `${this.name}-${number}` },
    )
    this.ended = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    // Who does not look at it learns nothing, and that is no error of the program.
    this.ended.catch(() => {})
    this.#core.onBroken = error => this.#fail(error)
  }

  static async start(
    nats: Nats,
    options: AgentOptions & { processes: number },
    given: AgentSetup,
  ): Promise<RunningAgent> {
    const agent = new RunningAgent(nats, options, given)
    try {
      await agent.#open(options)
    } catch (error) {
      // Also what has been opened by then: it would keep the program alive, and work for nobody.
      await agent.#end()
      throw error
    }
    return agent
  }

  async #open({ healthPort, healthHost = '127.0.0.1' }: AgentOptions): Promise<void> {
    for (const settings of this.#settings) {
      this.#pools.push(
        await ServedPool.open(this.#nats, settings, {
          core: this.#core,
          code: this.#code,
          bundles: this.#bundles,
          resources: this.#resources,
          room: () => this.#room.left,
          onRoom: elapsedMs => this.#room.onRoom(elapsedMs),
          facts: () => this.#facts(),
        }),
      )
    }
    void this.#follow()
    if (healthPort !== undefined) await this.#serveHealth(healthPort, healthHost)
  }

  get chunks(): number {
    return this.#room.chunks
  }

  async stop({ timeout }: { timeout?: number | undefined } = {}): Promise<void> {
    const timeoutMs = checkMilliseconds('timeout', timeout, 0) ?? drainMsDefault
    this.#stopping ??= this.#stop(timeoutMs)
    await this.#stopping
  }

  #facts(): Omit<AgentFacts, 'chunks'> {
    return {
      agent: this.name,
      host: this.#hostName,
      pid: process.pid,
      node: process.version,
      processes: this.processes,
      ...this.#resources.offer,
    }
  }

  async #follow(): Promise<void> {
    for await (const { type } of this.#nats.connection.status()) {
      if (type === 'disconnect') {
        const [settings] = this.#settings
        const { connectionMsMax } = settings!
        this.#lost ??= setTimeout(
          () =>
            this.#fail(
              connectionError(settings!, `it has been away for ${connectionMsMax} ms`, this.#nats.refusal()),
            ),
          connectionMsMax,
        )
      } else if (type === 'reconnect') {
        clearTimeout(this.#lost)
        this.#lost = undefined
        for (const pool of this.#pools) pool.reconnected()
      }
    }
  }

  async #serveHealth(port: number, host: string): Promise<void> {
    const server = createServer((request, response) => {
      const isWell = this.#lost === undefined && this.#stopping === undefined
      const isKnown = request.url === '/healthz'
      response.writeHead(isKnown ? (isWell ? 200 : 503) : 404, { 'content-type': 'application/json' })
      response.end(
        isKnown ? `${JSON.stringify({ ...this.#facts(), chunks: this.chunks, isWell })}\n` : '{}\n',
      )
    })
    this.#health = server
    try {
      server.listen(port, host)
      await once(server, 'listening')
    } catch (cause) {
      throw new ProcessError(
        'ERR_START_FAILED',
        `The agent cannot serve its health on port ${port} of ${host} (${(cause as Error).message})\nTo fix: choose another port (--health-port, or "healthPort" of startAgent())`,
        { cause },
      )
    }
    server.unref()
  }

  async #stop(timeoutMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>(resolve => {
      if (timeoutMs !== Infinity) timer = setTimeout(resolve, timeoutMs)
    })
    await Promise.race([Promise.all(this.#pools.map(pool => pool.drain())), late])
    clearTimeout(timer)
    await this.#end()
    this.#resolve()
  }

  #fail(error: unknown): void {
    if (this.#stopping) return
    this.#stopping = this.#endBy(error)
  }

  async #endBy(error: unknown): Promise<void> {
    await this.#end()
    this.#reject(error)
  }

  async #end(): Promise<void> {
    this.#room.close()
    clearTimeout(this.#lost)
    for (const pool of this.#pools) pool.close()
    this.#health?.close()
    this.#core.terminate()
    await Promise.all([this.#core.join(), closeNats(this.#nats)])
  }
}
