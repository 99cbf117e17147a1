/**
 * What people can see of a cluster and do about it, for `multiproc cluster`. Invariant: looking changes nothing, and
 * whoever calls work off has the key of its pool.
 */
import type { ConsumerInfo } from '@nats-io/jetstream'
import type { ClusterOptions, ClusterSettings } from '../pool/cluster-option.ts'
import { checkCluster } from '../pool/cluster-option.ts'
import { describeRequirements, requirementsIn } from '../pool/requirements.ts'
import { AgentsView } from './agents-view.ts'
import { type Nats, closeNats, connectNats } from './nats-client.ts'
import { LEVELS, PoolNames, chunkNameIn } from './names.ts'
import { PayloadStore } from './payload-store.ts'
import { sessionOf } from './kept-jobs.ts'
import { type PoolRules, lastMessage, openStreams, unlessMissing } from './pool-streams.ts'
import { Post } from './post.ts'
import { classesOf, laneOf, levelIn } from './requirement-classes.ts'
import { StateNames, checkStateName } from './state-names.ts'
import { StateStore } from './state-store.ts'
import { openQueueStream, openStateStream } from './state-streams.ts'
import type { AgentFacts, ControlHead, DriverHead, WorkHead } from './work-message.ts'

/** What `multiproc cluster status` tells of one pool. */
export interface PoolStatus {
  pool: string
  /** Chunks that wait, by priority. */
  waiting: Record<(typeof LEVELS)[number], number>
  /** Chunks that agents have. */
  running: number
  /** Of those that wait, the ones that require something of their machine. */
  requiring: { requires: string; waiting: number }[]
  /** Results that no program has taken yet. */
  results: number
  /** Chunks that were given up. */
  dead: number
  /** Agents with the same key. */
  agents: AgentFacts[]
}

/** A call with which programs can go on. */
export interface ShownJob {
  /** To be given to `Pool.attach()`. */
  jobId: string
  taskName: string
  items: number
  /** The program that goes on with it, or did. */
  host: string
  pid: number
}

/** The work of one program in the queue of a pool, or of a call that is kept. */
export interface QueuedJob {
  pool: string
  /** To be named to `multiproc cluster cancel`. */
  id: string
  /** Chunks that wait or run. */
  chunks: number
  /** Since when the oldest of them is there, or the call was made. */
  since: string
  job?: ShownJob
}

/** A chunk that no agent could answer. */
export interface DeadLetter {
  pool: string
  id: string
  sequence: number
  time: string
  byteLength: number
  /** What it called, and how many items it had, where it was sealed with this key and is kept whole. */
  taskName: string | undefined
  items: number | undefined
}

/** How long agents have to answer a roll call. */
const rollCallMs = 400
const deadShownMax = 100

export class ClusterAdmin {
  readonly #nats: Nats
  readonly #cluster: ClusterOptions
  readonly #pools: string[] | undefined

  private constructor(nats: Nats, cluster: ClusterOptions, pools: string[] | undefined) {
    this.#nats = nats
    this.#cluster = cluster
    this.#pools = pools
  }

  /** @throws ClusterError when the cluster cannot be used. `pools`: default all. */
  static async connect(
    cluster: ClusterOptions,
    { pools }: { pools?: string[] | undefined } = {},
  ): Promise<ClusterAdmin> {
    const settings = checkCluster(cluster, pools?.[0] ?? 'any')
    return new ClusterAdmin(await connectNats(settings, { name: 'admin' }), cluster, pools)
  }

  async close(): Promise<void> {
    await closeNats(this.#nats)
  }

  get server(): { name: string; version: string } {
    const { server_name: name, version } = this.#nats.connection.info!
    return { name, version }
  }

  /** The names of the pools that were asked for, or that there are. */
  async pools(): Promise<string[]> {
    if (this.#pools) return this.#pools
    const names: string[] = []
    for await (const name of this.#nats.manager.streams.names('mp.t.>'))
      if (name.startsWith('MP_T_')) names.push(name.slice('MP_T_'.length))
    return names.toSorted()
  }

  /**
   * Makes the streams of the pools that were asked for, so that their users need no right to make streams. Gives what
   * there is now, which for a pool that was there is what it had. @throws ClusterError.
   */
  async createPools(): Promise<(PoolRules & { pool: string })[]> {
    const made: (PoolRules & { pool: string })[] = []
    for (const pool of this.#pools ?? []) {
      const { names, settings } = this.#toolsOf(pool)
      made.push({ pool, ...(await openStreams(this.#nats, names, settings)) })
    }
    return made
  }

  /** The same for shared state and its queues, which are named `{ queue: maxSize }`; 0: a million. @throws ClusterError. */
  async createState(name: string, queues: Readonly<Record<string, number>>): Promise<void> {
    const names = new StateNames(name)
    for (const queue of Object.keys(queues)) checkStateName('a Queue', queue)
    const store = new StateStore(this.#nats, names, checkCluster(this.#cluster, name))
    await openStateStream(store)
    for (const [queue, maxSize] of Object.entries(queues)) await openQueueStream(store, queue, { maxSize })
  }

  async status(): Promise<PoolStatus[]> {
    const pools = await this.pools()
    return await Promise.all(pools.map(pool => this.#statusOf(pool)))
  }

  async #statusOf(pool: string): Promise<PoolStatus> {
    const { names, post } = this.#toolsOf(pool)
    const view = new AgentsView(this.#nats, names, { post, onChange: () => {} })
    const { manager } = this.#nats
    try {
      const [levels, results, dead] = await Promise.all([
        this.#consumersOf(names),
        manager.streams.info(names.results),
        manager.streams.info(names.dead),
        new Promise(resolve => {
          setTimeout(resolve, rollCallMs)
        }),
      ])
      const waiting = { high: 0, normal: 0, low: 0 }
      const requiring = new Map<string, number>()
      for (const { name, num_pending: count, config } of levels) {
        const level = levelIn(name)
        if (level) waiting[level] += count
        const requires = requirementsIn(config.metadata?.['requires'] ?? '')
        if (!requires || count === 0) continue
        const what = describeRequirements(requires)
        requiring.set(what, (requiring.get(what) ?? 0) + count)
      }
      return {
        pool,
        waiting,
        requiring: Array.from(requiring, ([requires, count]) => ({ requires, waiting: count })),
        running: levels.reduce((sum, { num_ack_pending: count }) => sum + count, 0),
        results: results.state.messages,
        dead: dead.state.messages,
        agents: view.all.toSorted((a, b) => (a.agent < b.agent ? -1 : 1)),
      }
    } finally {
      view.close()
    }
  }

  async #consumersOf({ tasks }: PoolNames): Promise<ConsumerInfo[]> {
    const found: ConsumerInfo[] = []
    for await (const info of this.#nats.manager.consumers.list(tasks)) found.push(info)
    return found
  }

  async jobs(): Promise<QueuedJob[]> {
    const pools = await this.pools()
    return (await Promise.all(pools.map(pool => this.#jobsOf(pool)))).flat()
  }

  async #jobsOf(pool: string): Promise<QueuedJob[]> {
    const { names } = this.#toolsOf(pool)
    const { manager } = this.#nats
    const { state } = await manager.streams.info(names.tasks, { subjects_filter: `mp.t.${pool}.>` })
    const oldest = new Map<string, { subject: string; chunkId: number; chunks: number }>()
    for (const subject of Object.keys(state.subjects ?? {})) {
      const { session, chunkId } = chunkNameIn(subject) ?? {}
      if (session === undefined || chunkId === undefined) continue
      const known = oldest.get(session)
      const chunks = (known?.chunks ?? 0) + 1
      if (known && known.chunkId < chunkId) oldest.set(session, { ...known, chunks })
      else oldest.set(session, { subject, chunkId, chunks })
    }
    const found = await this.#keptOf(pool)
    for (const kept of found) {
      kept.chunks = oldest.get(kept.id)?.chunks ?? 0
      oldest.delete(kept.id)
    }
    for (const [id, { subject, chunks }] of oldest) {
      const message = await lastMessage(this.#nats, names.tasks, subject)
      // It was done meanwhile.
      if (message) found.push({ pool, id, chunks, since: message.time.toISOString() })
    }
    return found
  }

  /** Calls that are kept, also those that are done, without their chunks. */
  async #keptOf(pool: string): Promise<QueuedJob[]> {
    const { names, post } = this.#toolsOf(pool)
    const filter = names.driver('*')
    const { state } = await this.#nats.manager.streams.info(names.results, { subjects_filter: filter })
    const found: QueuedJob[] = []
    for (const subject of Object.keys(state.subjects ?? {})) {
      const message = await lastMessage(this.#nats, names.results, subject)
      const driver = message && (post.readNote(subject, message.data)?.head as DriverHead | undefined)
      if (!driver) continue
      const { jobId, taskName, items, host, pid, since } = driver
      found.push({ pool, id: sessionOf(jobId), chunks: 0, since, job: { jobId, taskName, items, host, pid } })
    }
    return found
  }

  /**
   * Takes the work of a program out of the queue, and stops what runs of it. If the program lives, its pool breaks: all
   * its calls fail. A call that was kept is deleted. Gives the number of
   * chunks that were there, and whether there was anything.
   */
  async cancel(id: string): Promise<{ chunks: number; isThere: boolean }> {
    let count = 0
    let isThere = false
    for (const pool of await this.pools()) {
      const { names, post } = this.#toolsOf(pool)
      const control: ControlHead = { session: id, graceMs: 1000, isByOthers: true }
      const filter = names.tasksOf(id)
      // Counted before: a program that lives takes its work out of the queue itself as soon as it hears.
      const { state } = await this.#nats.manager.streams.info(names.tasks, { subjects_filter: filter })
      count += Object.keys(state.subjects ?? {}).length
      // The program hears it first, and does not send again what it misses.
      this.#nats.connection.publish(names.control, post.note(names.control, control))
      await this.#nats.connection.flush()
      await this.#nats.manager.streams.purge(names.tasks, { filter })
      const kept = await this.#nats.manager.streams.purge(names.results, { filter: names.resultsOf(id) })
      isThere ||= kept.purged > 0
    }
    return { chunks: count, isThere: isThere || count > 0 }
  }

  /** The dead letters, the newest first, a hundred of each pool at most. */
  async dead(): Promise<DeadLetter[]> {
    const letters: DeadLetter[] = []
    for (const pool of await this.pools()) letters.push(...(await this.#deadOf(pool)))
    return letters
  }

  async #deadOf(pool: string): Promise<DeadLetter[]> {
    const { names, post } = this.#toolsOf(pool)
    const { manager } = this.#nats
    const { state } = await manager.streams.info(names.dead)
    const classes = new Set((await classesOf(this.#nats, names)).keys())
    const letters: DeadLetter[] = []
    for (
      let sequence = state.last_seq;
      sequence >= state.first_seq && sequence > 0 && letters.length < deadShownMax;
      sequence--
    ) {
      const message = await unlessMissing(manager.streams.getMessage(names.dead, { seq: sequence }))
      const { session, chunkId } = chunkNameIn(message?.subject ?? '') ?? {}
      if (!message || session === undefined) continue
      const work = await workIn(post, names, { session, chunkId: chunkId!, bytes: message.data, classes })
      letters.push({
        pool,
        id: `${session}.${chunkId}`,
        sequence,
        time: message.time.toISOString(),
        byteLength: message.data.length,
        taskName: work?.chunk.elsewhere?.taskName,
        items: work?.chunk.count,
      })
    }
    return letters
  }

  /** Deletes all dead letters; gives their number. */
  async clearDead(): Promise<number> {
    let count = 0
    for (const pool of await this.pools()) {
      const { names } = this.#toolsOf(pool)
      count += (await this.#nats.manager.streams.purge(names.dead)).purged
    }
    return count
  }

  #toolsOf(pool: string): { names: PoolNames; post: Post; settings: ClusterSettings } {
    const settings = checkCluster(this.#cluster, pool)
    const names = new PoolNames(pool)
    return { names, settings, post: new Post(settings.key, this.#nats, new PayloadStore(this.#nats, names)) }
  }
}

/** A dead letter was sealed for the subject of its work, of which only the level and the kind are not in its own. */
async function workIn(
  post: Post,
  names: PoolNames,
  {
    session,
    chunkId,
    bytes,
    classes,
  }: { session: string; chunkId: number; bytes: Uint8Array; classes: ReadonlySet<string> },
): Promise<WorkHead | undefined> {
  for (const requires of [undefined, ...classes]) {
    for (const level of LEVELS) {
      const letter = await post.read(names.task(laneOf(level, requires), { session, chunkId }), bytes)
      if (typeof letter === 'object') return letter.head as WorkHead
    }
  }
  return undefined
}
