/**
 * What a pool on a cluster shows to who inspects its program: the machines that serve it, the chunks that are there, and
 * how many dead letters there are. Invariant: agents and the server are asked only while somebody looks, and then once in
 * two seconds at most.
 */
import { type InspectedTable, addInspectedTable } from '../insights/inspected-tables.ts'
import { describeOffer } from '../pool/requirements.ts'
import type { AgentsView } from './agents-view.ts'
import type { Nats } from './nats-client.ts'
import type { PoolNames } from './names.ts'
import type { SentChunk } from './sent-chunk.ts'

/** What the tables are made of. */
export interface TableSource {
  nats: Nats
  names: PoolNames
  session: string
  agents: AgentsView
  /** The oldest first. */
  openChunks(): Iterable<SentChunk>
  readonly openCount: number
}

const askEveryMs = 2000
const chunksShownMax = 50

export class ClusterTables {
  readonly #source: TableSource
  readonly #removers: (() => void)[]
  #askedAtMs = -Infinity
  #deadCount = 0

  constructor(source: TableSource) {
    this.#source = source
    // Removed in close().
    this.#removers = [
      addInspectedTable(() => this.#machines()),
      addInspectedTable(() => this.#chunks()),
      addInspectedTable(() => this.#deadLetters()),
    ]
  }

  close(): void {
    for (const remove of this.#removers) remove()
  }

  #machines(): InspectedTable | undefined {
    this.#ask()
    const { agents, names } = this.#source
    const heard = agents.heard.toSorted((a, b) => (a.facts.agent < b.facts.agent ? -1 : 1))
    if (heard.length === 0) return undefined
    return {
      title: `Machines that serve the pool ${names.pool}`,
      columns: [
        'machine',
        'agent',
        'process id',
        'Node.js',
        'processes',
        'labels and resources',
        'chunks',
        'last heard',
      ],
      rows: heard.map(({ facts, heardAtMs }) => [
        facts.host,
        facts.agent,
        String(facts.pid),
        facts.node,
        String(facts.processes),
        describeOffer(facts),
        String(facts.chunks),
        `${secondsSince(heardAtMs)} ago`,
      ]),
    }
  }

  /** An agent that has taken a chunk within the last seconds may not have said so yet; then the chunk still "waits". */
  #chunks(): InspectedTable | undefined {
    const { openCount, names, agents } = this.#source
    if (openCount === 0) return undefined
    const holders = new Map(
      agents.heard.flatMap(({ facts, held }) => held.map(chunkId => [chunkId, facts.agent] as const)),
    )
    const rows: string[][] = []
    for (const { head, level, sentAtMs, sends, isPublishing } of this.#source.openChunks()) {
      if (rows.length >= chunksShownMax) break
      const where = isPublishing ? 'on its way' : (holders.get(head.chunkId) ?? 'waits')
      rows.push([
        String(head.chunkId),
        head.elsewhere?.taskName ?? '',
        String(head.count),
        level,
        where,
        secondsSince(sentAtMs),
        String(sends),
      ])
    }
    const more = openCount > rows.length ? `, the oldest ${rows.length} of ${openCount}` : ''
    return {
      title: `Chunks of the pool ${names.pool} without a result${more}`,
      columns: ['chunk', 'function', 'items', 'priority', 'agent', 'since', 'times sent'],
      rows,
    }
  }

  #deadLetters(): InspectedTable | undefined {
    if (this.#deadCount === 0) return undefined
    const { pool } = this.#source.names
    return {
      title: `Dead letters of the pool ${pool}`,
      columns: ['chunks that were given up', 'what they are'],
      rows: [[String(this.#deadCount), `multiproc cluster dead --pool ${pool}`]],
    }
  }

  /** What is not known here is there at the next look. */
  #ask(): void {
    const { nats, agents, session } = this.#source
    if (performance.now() - this.#askedAtMs < askEveryMs || nats.connection.isClosed()) return
    this.#askedAtMs = performance.now()
    agents.callRoll(session)
    void this.#countDeadLetters()
  }

  async #countDeadLetters(): Promise<void> {
    const { nats, names } = this.#source
    try {
      const { state } = await nats.manager.streams.info(names.dead)
      this.#deadCount = state.messages
    } catch {
      // The server is away, and the number stays what it was.
    }
  }
}

function secondsSince(atMs: number): string {
  return `${((performance.now() - atMs) / 1000).toFixed(1)} s`
}
