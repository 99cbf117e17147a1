/**
 * A machine with processes: the real `ServedPool`, `AgentRoom` and `RelayJob` over a simulated connection, and workers that take a while
 * for each item and die when the story says so.
 */
import { AgentResources } from '#src/cluster/agent-resources.js'
import { AgentRoom } from '#src/cluster/agent-room.js'
import { BundleFolder } from '#src/cluster/bundle-folder.js'
import { CodeCache } from '#src/cluster/code-cache.js'
import { type PoolHost, ServedPool } from '#src/cluster/served-pool.js'
import type { RelayJob } from '#src/cluster/relay-job.js'
import { type Body } from '#src/pool/protocol.js'
import { firstPart } from '#src/pool/job.js'
import type { ClusterSettings } from '#src/pool/cluster-option.js'
import { checkOffer } from '#src/pool/requirements.js'
import { type Network, SimulatedClient } from './simulated-client.js'
import { type Items, itemsIn, resultBody } from './simulated-items.js'

/** What becomes of an item that is begun. */
export type Fate = 'result' | 'worker dies' | 'agent dies'

export interface AgentEvents {
  fateOf(item: number): Fate
  /** These have run to their end. */
  onRun(items: Items): void
  /** A worker of it died. */
  onWorkerDeath(item: number): void
  onAgentDeath(agent: SimulatedAgent): void
  itemMs(): number
}

export class SimulatedAgent {
  readonly client: SimulatedClient
  readonly processes: number
  readonly name: string
  heldMax = 0
  isDead = false
  readonly #network: Network
  readonly #events: AgentEvents
  #pool: ServedPool | undefined
  readonly #pools: ServedPool[] = []
  readonly #room: AgentRoom
  readonly #waiting: RelayJob[] = []
  readonly #running = new Set<RelayJob>()

  constructor(
    network: Network,
    { name, processes, events }: { name: string; processes: number; events: AgentEvents },
  ) {
    this.#network = network
    this.name = name
    this.processes = processes
    this.#events = events
    this.client = new SimulatedClient(network)
    this.#room = new AgentRoom(processes, this.#pools)
  }

  async open(settings: ClusterSettings, inlineBytesMax: number): Promise<void> {
    const core = {
      functions: { shipBytes: () => ({ name: 'simulated' }) },
      assertRunning: () => {},
      submit: (job: RelayJob) => this.#submit(job),
      cancelJob: (job: RelayJob) => job.cancel(undefined),
      jobIsDropped: (job: RelayJob) => job.cancel(undefined),
      cancelItems: () => {},
    }
    const host = {
      core,
      code: new CodeCache(),
      bundles: new BundleFolder(),
      resources: new AgentResources(checkOffer({})),
      room: () => {
        this.heldMax = Math.max(this.heldMax, this.held)
        return this.#room.left
      },
      onRoom: (elapsedMs: number) => this.#room.onRoom(elapsedMs),
      facts: () => ({ agent: this.name, host: 'simulated', pid: 1, node: 'v0', processes: this.processes }),
    }
    // The rest of a PoolCore is for workers that are processes.
    this.#pool = await ServedPool.open(
      this.client.asNats(inlineBytesMax),
      settings,
      host as unknown as PoolHost,
    )
    if (this.isDead) {
      this.#pool.close()
      return
    }
    this.#pools.push(this.#pool)
    void this.#follow(this.#pool)
  }

  async #follow(pool: ServedPool): Promise<void> {
    for await (const { type } of this.client.status()) if (type === 'reconnect') pool.reconnected()
  }

  /** kill -9. */
  kill(): void {
    if (this.isDead) return
    this.isDead = true
    this.client.kill()
    // Its timers end with it. It says nothing, because the connection has ended before.
    this.#pool?.close()
    this.#room.close()
    this.#running.clear()
    this.#waiting.length = 0
    this.#events.onAgentDeath(this)
  }

  /** SIGTERM. */
  async stop(): Promise<void> {
    if (!this.#pool) {
      this.kill()
      return
    }
    await this.#pool.drain()
    if (this.isDead) return
    this.#pool.close()
    this.#room.close()
    await this.client.flush().catch(() => {})
    this.client.kill()
    this.isDead = true
  }

  get held(): number {
    return this.#pool?.heldCount ?? 0
  }

  // ---- Its workers ----

  #submit(job: RelayJob): void {
    job.onDone = () => {
      this.#running.delete(job)
      this.#begin()
    }
    this.#waiting.push(job)
    this.#begin()
  }

  #begin(): void {
    while (this.#running.size < this.processes) {
      const job = this.#waiting.shift()
      if (!job) return
      const part = job.take()
      // It was withdrawn or called off.
      if (!part) continue
      this.#running.add(job)
      this.#run(job, itemsIn((part.packed ?? part.bodies![0])!.bytes), part.first)
    }
  }

  #run(job: RelayJob, items: Items, first: number): void {
    const itemMs = this.#events.itemMs()
    const numbers = Array.from({ length: items.count }, (_, index) => items.first + index)
    const fates = numbers.map(item => this.#events.fateOf(item))
    const last = fates.findIndex(fate => fate !== 'result')
    const done = last < 0 ? items.count : last
    this.#network.time.after(itemMs * Math.min(items.count, done + 1), () => {
      if (this.isDead || job.isDone) return
      const elapsedMs = itemMs * done
      this.#events.onRun({ first: items.first, count: done })
      if (last < 0) {
        job.received(first, { count: done, isPacked: true, bodies: [resultBody(items)], elapsedMs })
        return
      }
      if (fates[last] === 'agent dies') {
        this.kill()
        return
      }
      this.#events.onWorkerDeath(items.first + done)
      if (done > 0) {
        const bodies: Body[] = numbers.slice(0, done).map(item => resultBody({ first: item, count: 1 }))
        job.received(first, { count: done, isPacked: false, bodies, elapsedMs })
      }
      job.died(first + done, new Error('the worker died'))
      const rest = items.count - done - 1
      if (rest > 0) job.again([firstPart(job, { first: first + done + 1, count: rest })])
    })
  }
}
