/**
 * A map on a cluster of three servers, while servers, agents and workers are killed and stopped: each item has one result,
 * and the numbers of a dict that machines share are exact. One server is down at a time, so that there is a majority.
 */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { childProcessesOf } from '../../cluster/child-processes.js'
import { range } from '../../cluster/noted.js'
import { StartedNodes } from '../../cluster/started-nodes.js'
import { POOL } from '../../cluster/started-server.js'
import { connectState } from 'multiproc/cluster'
import type { Round, Scenario } from '../round.js'

const ITEMS_AT_ONCE = 2000
const AGENTS = 2
/** An election takes seconds. */
const KILLS_MAX = 5

type Servers = Awaited<ReturnType<typeof StartedNodes.start>>

/** Who is killed leaves the socket by which it could be looked at until somebody looks; so it has none. */
async function startAgent(cluster: Servers): Promise<ChildProcess> {
  return await cluster.program('agent-program.js', cluster.agentArgs(1), { MULTIPROC_INSPECT: '0' })
}

async function killServer(round: Round, { nodes }: Servers): Promise<void> {
  const name = nodes.names[round.random(nodes.names.length)]!
  await nodes.killNode(name)
  await round.pause(round.random(3000))
  nodes.startNode(name)
  await round.within('the servers to have a leader', nodes.ready())
}

async function killAgent(round: Round, cluster: Servers, agents: ChildProcess[]): Promise<void> {
  const at = round.random(agents.length)
  const doomed = agents[at]!
  agents[at] = await round.within('an agent to start', startAgent(cluster))
  if (round.random(3) === 0) {
    // It may have been stopped for longer than its leases.
    doomed.kill('SIGSTOP')
    await round.pause(round.random(3000))
    doomed.kill('SIGCONT')
    await round.pause(round.random(100))
  }
  doomed.kill('SIGKILL')
  await round.within('an agent to end', once(doomed, 'exit'))
}

export const clusters: Scenario = {
  name: 'clusters',
  isNativeOnly: false,
  async run(round: Round) {
    await using cluster = await StartedNodes.start()
    const agents = await Promise.all(range(AGENTS).map(() => startAgent(cluster)))
    const pool = cluster.pool()
    await using state = await connectState({ cluster: cluster.options, name: POOL })
    const progress = { isOver: false, added: 0 }
    const mapping = (async () => {
      while (!progress.isOver) {
        const seen = new Set<number>()
        const results = pool.imapUnordered((n: number) => n, range(ITEMS_AT_ONCE), {
          chunkSize: 1 + round.random(20),
          // A worker that was killed was running one of them.
          retries: 10,
        })
        for await (const n of results) {
          if (seen.has(n)) round.fail(`The item ${n} has two results`)
          seen.add(n)
          round.operations++
        }
        if (seen.size !== ITEMS_AT_ONCE) round.fail(`${ITEMS_AT_ONCE - seen.size} items have no result`)
      }
    })()
    const adding = (async () => {
      const counts = state.dict<string, number>('counts')
      while (!progress.isOver) {
        await counts.update('n', (n = 0) => n + 1)
        progress.added++
      }
      return await counts.get('n')
    })()
    const both = Promise.all([mapping, adding])
    both.catch(() => {})
    for (let kill = 0; kill < Math.min(KILLS_MAX, round.plannedKills); kill++) {
      await round.pause(round.random(2000))
      const kind = round.random(3)
      if (kind === 0) await killServer(round, cluster)
      else if (kind === 1) await killAgent(round, cluster, agents)
      else {
        const workers = childProcessesOf(agents[round.random(AGENTS)]!.pid!)
        if (workers.length === 0) continue
        process.kill(workers[round.random(workers.length)]!, 'SIGKILL')
      }
      round.kills++
    }
    progress.isOver = true
    const [, count] = await round.within('the map, and the dict', both)
    if (count !== progress.added) round.fail(`${progress.added} increments made ${count}`)
  },
}
