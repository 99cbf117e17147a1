/** Tasks that require something are run by agents that have it, as many at once as these have, and by no others. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { type ClusterError, type ResourceShare, currentTask } from 'multiproc'
import { classesMax } from '#src/cluster/requirement-classes.js'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks } from '../leak-check.js'
import { POOL, TestCluster, connectAsStranger, needsServer } from './started-server.js'

checkLeaks()

/** A task that says where it runs. */
export function whereAmI(): string {
  return currentTask().workerName
}

async function passed(address: string, name: string): Promise<Readonly<Record<string, ResourceShare>>> {
  await passLatch(address, name)
  return currentTask().resources
}

const gpu = { resources: { gpu: 1 } }

describe('tasks that require something', needsServer, () => {
  test('run on agents whose labels they name, and all others run anywhere', async () => {
    await using cluster = await TestCluster.start()
    const [eu, us] = await Promise.all([
      cluster.agent({ labels: { zone: 'eu', disk: 'ssd' } }),
      cluster.agent({ labels: { zone: 'us' } }),
    ])
    const pool = cluster.pool({ requires: { labels: { zone: 'eu' } } })
    const items = Array.from({ length: 50 }, (_, index) => index)
    for (const where of await pool.map(whereAmI, items)) assert.ok(where.startsWith(eu.name), where)
    const requires = { labels: { zone: 'us' } }
    for (const where of await pool.map(whereAmI, items, { requires }))
      assert.ok(where.startsWith(us.name), where)
    const either = { labels: { zone: ['us', 'eu'], disk: 'ssd' } }
    assert.ok((await pool.apply(whereAmI, [], { requires: either })).startsWith(eu.name))
    assert.match(await pool.apply(whereAmI, [], { requires: {} }), new RegExp(`${eu.name}|${us.name}`))
    const found: string[] = []
    for await (const where of pool.imap(whereAmI, items.slice(0, 5), { requires })) found.push(where)
    assert.ok(found.every(where => where.startsWith(us.name)))
  })

  test('are given the numbers of what they have, and as many run at once as there is of it', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    await cluster.agent({ processes: 4, resources: { gpu: 2, memory: '8G' } })
    const pool = cluster.pool()
    const { address } = latches
    const requires = { resources: { gpu: 1, memory: '1G' } }
    const [first, second] = ['a', 'b'].map(name => pool.apply(passed, [address, name], { requires }))
    for (const name of ['a', 'b']) await latches.arrival(name)
    const third = pool.apply(passed, [address, 'c'], { requires })
    let isThere = false
    const thirdArrival = latches.arrival('c').then(() => (isThere = true))
    // Two processes are left for what requires nothing.
    const other = pool.apply(passed, [address, 'other'])
    await latches.arrival('other')
    latches.release('other')
    assert.deepEqual(await other, {})
    assert.equal(isThere, false)
    latches.release('a')
    const { gpu: own, memory } = await first!
    await thirdArrival
    latches.release('b')
    latches.release('c')
    const indexes = [own, (await second!)['gpu'], (await third)['gpu']].map(share => share!.indexes[0]!)
    assert.deepEqual(new Set(indexes.slice(0, 2)), new Set([0, 1]))
    assert.equal(indexes[2], indexes[0])
    assert.deepEqual(memory, { amount: 2 ** 30, indexes: [] })
  })

  test('wait for the agent that can run them, and agents that come later find what waits', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent()
    const pool = cluster.pool()
    const waiting = pool.map(whereAmI, [1, 2, 3], { requires: gpu })
    // It keeps nothing else waiting.
    await pool.map(
      (n: number) => n,
      Array.from({ length: 200 }, (_, index) => index),
    )
    assert.equal(waiting.ready(), false)
    const able = await cluster.agent({ resources: { gpu: 1 } })
    for (const where of await waiting) assert.ok(where.startsWith(able.name), where)
  })

  test('fail with what is missing when no agent has it for agentTimeout, and nothing else fails', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent({ labels: { zone: 'eu' }, resources: { gpu: 1 } })
    const pool = cluster.pool({ cluster: { agentTimeout: 200 } })
    const requires = { labels: { zone: 'us' }, resources: { gpu: 2 } }
    const many = Array.from({ length: 500 }, (_, index) => index)
    const outcomes = await pool.mapSettled((n: number) => n, many, { requires })
    for (const { status } of outcomes) assert.equal(status, 'rejected')
    const error = (outcomes[499] as PromiseRejectedResult).reason as ClusterError
    assert.equal(error.name, 'ClusterError')
    assert.equal(error.code, 'ERR_CLUSTER_NO_AGENTS')
    assert.match(error.message, /requires \(zone=us, gpu=2\).* They have: zone=eu, gpu=1\n/)
    assert.match(error.message, /multiproc worker --pool test --label zone=us --resource gpu=2/)
    assert.equal(await pool.apply(() => 'well', [], { requires: gpu }), 'well')
    await cluster.agent({ labels: { zone: 'us' }, resources: { gpu: 2 } })
    assert.equal(await pool.apply(() => 'well', [], { requires }), 'well')
  })

  test('that were fetched while others have what they need go to an agent that has it', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    await cluster.agent({ processes: 2, resources: { gpu: 1 } })
    const pool = cluster.pool()
    const { address } = latches
    const running = pool.apply(passed, [address, 'first'], { requires: gpu })
    await latches.arrival('first')
    // Its request for this level was open before.
    const urgent = pool.apply(whereAmI, [], { requires: gpu, priority: 1 })
    const idle = await cluster.agent({ resources: { gpu: 1 } })
    assert.ok((await urgent).startsWith(idle.name))
    latches.release('first')
    assert.deepEqual((await running)['gpu'], { amount: 1, indexes: [0] })
  })

  test('that were called off keep what they have until they have ended', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    await cluster.agent({ processes: 2, resources: { gpu: 1 } })
    const pool = cluster.pool()
    const { address } = latches
    const stubborn = pool.apply(passed, [address, 'stubborn'], { requires: gpu, gracePeriod: Infinity })
    await latches.arrival('stubborn')
    const why = new Error('not wanted')
    stubborn.cancel(why)
    await assert.rejects(stubborn, why)
    const next = pool.apply(passed, [address, 'next'], { requires: gpu })
    let isThere = false
    const nextArrival = latches.arrival('next').then(() => (isThere = true))
    for (let turn = 0; turn < 20; turn++) await pool.apply(() => {})
    assert.equal(isThere, false)
    latches.release('stubborn')
    await nextArrival
    latches.release('next')
    assert.equal((await next)['gpu']!.amount, 1)
  })

  test('survive kill -9 of their agent on another one that has what they need', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    const { address } = latches
    const doomed = await cluster.program('agent-program.js', cluster.agentArgs(1, { resources: { gpu: 1 } }))
    await cluster.agent()
    const pool = cluster.pool()
    const result = pool.apply(
      async (latch: string) => {
        await passLatch(latch, 'running')
        return [process.ppid, currentTask().resources['gpu']!.indexes[0]]
      },
      [address],
      { requires: gpu },
    )
    await latches.arrival('running')
    doomed.kill('SIGKILL')
    await once(doomed, 'exit')
    latches.release('running')
    await cluster.agent({ resources: { gpu: 1 } })
    await latches.arrival('running')
    latches.release('running')
    assert.deepEqual(await result, [process.pid, 0])
  })

  test('survive kill -9 of the server', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent({ resources: { gpu: 1 } })
    const pool = cluster.pool()
    assert.equal(await pool.apply(() => 1, [], { requires: gpu }), 1)
    await cluster.killServer()
    const results = pool.map((n: number) => n * 2, [1, 2, 3], { requires: gpu })
    await cluster.restartServer()
    assert.deepEqual(await results, [2, 4, 6])
  })

  test('are not run by an agent that is told by a liar that it can', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent({ labels: { zone: 'eu' } })
    const pool = cluster.pool()
    const requires = { labels: { zone: 'us' } }
    const waiting = pool.apply(whereAmI, [], { requires })
    const stranger = await connectAsStranger(cluster)
    const manager = await jetstreamManager(stranger)
    const lanes = async (): Promise<string[]> => {
      const found: string[] = []
      for await (const { name } of manager.consumers.list(`MP_T_${POOL}`))
        if (name.endsWith('-normal')) found.push(name)
      return found
    }
    while ((await lanes()).length === 0) await pool.apply(() => {})
    const [lane] = await lanes()
    const key = JSON.stringify([{ zone: ['eu'] }, {}])
    await manager.consumers.update(`MP_T_${POOL}`, lane!, { metadata: { requires: key } })
    // What nobody sealed is not heard either.
    await jetstream(stranger).publish(`mp.t.${POOL}.high.0123456789abcdef01234567.1`, 'no seal')
    stranger.publish(`mp.c.${POOL}`, 'no seal')
    await cluster.agent({ labels: { zone: 'eu' } })
    await pool.map(whereAmI, [1, 2, 3, 4])
    assert.equal(waiting.ready(), false)
    await manager.consumers.update(`MP_T_${POOL}`, lane!, {
      metadata: { requires: JSON.stringify([{ zone: ['us'] }, {}]) },
    })
    await stranger.close()
    const able = await cluster.agent({ labels: { zone: 'us' } })
    assert.ok((await waiting).startsWith(able.name))
  })

  test('of more kinds than a pool may have fail with ERR_LIMIT', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent({ resources: { gpu: 1000 } })
    const pool = cluster.pool()
    for (let count = 1; count <= classesMax; count++)
      assert.equal(await pool.apply(() => 1, [], { requires: { resources: { gpu: count } } }), 1)
    await assert.rejects(
      pool.apply(() => 1, [], { requires: { resources: { gpu: 999 } } }),
      {
        code: 'ERR_LIMIT',
      },
    )
    assert.equal(await pool.apply(() => 1, [], { requires: gpu }), 1)
  })
})
