/**
 * Three servers, with all work and results on each of them (`replicas: 3`): one or two are killed while a map runs, and
 * each item has one result. Nobody's call ends with an error while there is a majority again in time.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { Pool } from 'multiproc'
import { connectState } from 'multiproc/cluster'
import { checkLeaks } from '../leak-check.js'
import { noted, notesIn, range } from './noted.js'
import { POOL, needsServer } from './started-server.js'
import { StartedNodes } from './started-nodes.js'
import { StateProgram } from './state-cluster.js'

checkLeaks()

const ITEMS = 1500

/** Runs a map, and does something when a fifth of it is done; each item has run, and is given once. */
async function checkMap(pool: Pool, folder: string, disturb: () => Promise<void>): Promise<void> {
  const file = join(folder, 'ran')
  const given: number[] = []
  const results = pool.imapUnordered((n: number) => noted(file, n), range(ITEMS), { chunkSize: 5 })
  for await (const n of results) if (given.push(n) === ITEMS / 5) await disturb()
  assert.deepEqual(
    given.toSorted((a, b) => a - b),
    range(ITEMS),
  )
  assert.equal(new Set(notesIn(file)).size, ITEMS)
}

describe('with three servers, every item has one result', needsServer, () => {
  for (const [what, stream, consumer] of [
    ['the leader of the tasks', `MP_T_${POOL}`, undefined],
    ['the leader of what is given to agents', `MP_T_${POOL}`, 'normal'],
    ['the leader of the results', `MP_R_${POOL}`, undefined],
  ] as const) {
    test(`after kill -9 of ${what}`, async () => {
      await using cluster = await StartedNodes.start()
      await cluster.agentProgram(2)
      await checkMap(cluster.pool(), cluster.folder, async () => {
        await cluster.nodes.killNode(await cluster.nodes.leaderOf(stream, consumer))
      })
    })
  }

  test('after kill -9 of the server of the program, and of that of the agent when the first is back', async () => {
    await using cluster = await StartedNodes.start()
    const { nodes } = cluster
    // Each knows one server only, and hears of the others from it.
    await cluster.program('agent-program.js', cluster.agentArgs(2), { CLUSTER_URL: nodes.urlOf('node1') })
    const pool = cluster.pool({ cluster: { servers: nodes.urlOf('node2') } })
    await checkMap(pool, cluster.folder, async () => {
      await nodes.killNode('node2')
      nodes.startNode('node2')
      await nodes.ready()
      await nodes.killNode('node1')
    })
  })

  test('after kill -9 of two of them, without whom nothing is taken, when one is back', async () => {
    await using cluster = await StartedNodes.start()
    const { nodes } = cluster
    await cluster.agentProgram(2)
    await checkMap(cluster.pool(), cluster.folder, async () => {
      const leader = await nodes.leaderOf(`MP_T_${POOL}`)
      const other = nodes.names.find(name => name !== leader)!
      await Promise.all([nodes.killNode(leader), nodes.killNode(other)])
      nodes.startNode(other)
    })
  })

  test('without a majority for connectionTimeout, calls fail with ERR_CLUSTER_SERVER', async () => {
    await using cluster = await StartedNodes.start()
    const { nodes } = cluster
    await cluster.agentProgram(1)
    const pool = cluster.pool({ cluster: { connectionTimeout: 3000 } })
    await pool.apply(() => {})
    await Promise.all([nodes.killNode('node1'), nodes.killNode('node2')])
    await assert.rejects(
      pool.apply(() => {}),
      { name: 'ClusterError', code: 'ERR_CLUSTER_SERVER' },
    )
  })
})

describe('with three servers, shared state', needsServer, () => {
  test('counts exactly, and its tokens grow, while its leader is killed again and again', async () => {
    await using cluster = await StartedNodes.start()
    const { nodes } = cluster
    const options = { cluster: cluster.options, name: POOL }
    await using state = await connectState(options)
    const programs = range(2).map(() => new StateProgram(cluster.url, ['increment', 'counts', '150']))
    const tokens: number[] = []
    const counts = state.dict<string, number>('counts')
    for (const _ of range(2)) {
      const leader = await nodes.leaderOf(`MP_S_${POOL}`)
      const held = await state.Lock('l', { lease: 1000 }).guard({ recover: true })
      tokens.push(held.token)
      await nodes.killNode(leader)
      await counts.update('n', (n = 0) => n + 1)
      nodes.startNode(leader)
      await nodes.ready()
      await held.release().catch(() => {})
    }
    for (const program of programs) await program.said('done')
    await using held = await state.Lock('l').guard({ recover: true })
    tokens.push(held.token)
    assert.ok(
      tokens.every((token, index) => index === 0 || token > tokens[index - 1]!),
      `tokens ${tokens.join(', ')}`,
    )
    assert.equal(await counts.get('n'), 302)
    for (const program of programs) await program.kill()
  })
})
