/**
 * The network between a machine and the server is cut, so that packets vanish and nobody is told: what it had runs
 * elsewhere after the lease, each item has one result, and the machine goes on by itself when the network is back.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, test } from 'node:test'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks } from '../leak-check.js'
import { noted, notesIn, range } from './noted.js'
import { OtherMachine, needsMachines } from './other-machine.js'
import { needsServer } from './started-server.js'
import { StartedNodes } from './started-nodes.js'

checkLeaks()

const ITEMS = 1000
const reachable = { count: 1, host: '0.0.0.0' }
const needed = needsServer.skip === false ? needsMachines() : needsServer
/** Nobody waits for the end of it. */
const longLeaseMs = 600_000
const shortCutMs = 1500

type Servers = Awaited<ReturnType<typeof StartedNodes.start>>

/** Resolves when the server has given up a client that answers nothing. */
async function untilGivenUp({ nodes }: Servers, clients: number): Promise<void> {
  // Sleep: a server tells of its clients only who asks.
  while ((await nodes.clientsOf('node1')) >= clients) await new Promise(resolve => setTimeout(resolve, 50))
}

async function cutShortly(machine: OtherMachine): Promise<void> {
  machine.cut()
  // Sleep: the cut has to last for some time.
  await new Promise(resolve => setTimeout(resolve, shortCutMs))
  machine.mend()
}

describe('while packets between an agent and the server vanish', needed, () => {
  test('its work is done elsewhere after the lease, its own result is no second one, and it comes back', async () => {
    using machine = new OtherMachine()
    await using cluster = await StartedNodes.start(reachable)
    await using latches = await Latches.open()
    const { nodes } = cluster
    const env = { CLUSTER_URL: nodes.urlOf('node1', machine.host) }
    const far = await cluster.program('agent-program.js', cluster.agentArgs(1), env, machine.command)
    const pool = cluster.pool()
    const { address } = latches
    const file = join(cluster.folder, 'ran')
    const run = async (n: number): Promise<number> => {
      if (n === 0) await passLatch(address, `${process.ppid} runs`)
      noted(file, n)
      return process.ppid
    }
    const results = pool.map(run, range(20), { chunkSize: 5 })
    await latches.arrival(`${far.pid} runs`)
    const clients = await nodes.clientsOf('node1')
    machine.cut()
    const near = await cluster.agent({ processes: 1 })
    await latches.arrival(`${process.pid} runs`)
    await untilGivenUp(cluster, clients + 1)
    // Both go on; what the one that is cut off writes arrives when the network is back.
    latches.release(`${far.pid} runs`)
    latches.release(`${process.pid} runs`)
    assert.equal((await results)[0], process.pid)
    await near.stop()
    machine.mend()
    assert.equal(await pool.apply(() => process.ppid), far.pid)
    assert.deepEqual(new Set(notesIn(file)), new Set(range(20)))
    assert.equal(notesIn(file).filter(n => n === 0).length, 2)
  })

  test('for a shorter time than the lease, nothing runs twice', async () => {
    using machine = new OtherMachine()
    await using cluster = await StartedNodes.start(reachable)
    const args = cluster.agentArgs(2, { lease: longLeaseMs })
    const env = { CLUSTER_URL: cluster.nodes.urlOf('node1', machine.host) }
    await cluster.program('agent-program.js', args, env, machine.command)
    const pool = cluster.pool({ cluster: { lease: longLeaseMs } })
    const file = join(cluster.folder, 'ran')
    let done = 0
    const run = (n: number): number => noted(file, n)
    for await (const _ of pool.imapUnordered(run, range(ITEMS), { chunkSize: 5 })) {
      if (++done === ITEMS / 5) await cutShortly(machine)
    }
    assert.equal(done, ITEMS)
    assert.deepEqual(
      notesIn(file).toSorted((a, b) => a - b),
      range(ITEMS),
    )
  })
})

describe('while packets between a program and the server vanish', needed, () => {
  for (const [how, isLong] of [
    ['until the server has given it up', true],
    ['for a shorter time', false],
  ] as const) {
    test(`${how}, agents go on, and it has each result once when the network is back`, async () => {
      using machine = new OtherMachine()
      await using cluster = await StartedNodes.start(reachable)
      await cluster.agent()
      const file = join(cluster.folder, 'ran')
      const env = { CLUSTER_URL: cluster.nodes.urlOf('node1', machine.host) }
      const program = await cluster.program('map-program.js', [file, String(ITEMS)], env, machine.command)
      const clients = await cluster.nodes.clientsOf('node1')
      if (isLong) {
        machine.cut()
        await untilGivenUp(cluster, clients)
        machine.mend()
      } else await cutShortly(machine)
      const [line] = (await once(createInterface(program.stdout!), 'line')) as [string]
      assert.deepEqual(JSON.parse(line), { given: ITEMS, different: ITEMS })
      assert.equal(new Set(notesIn(file)).size, ITEMS)
    })
  }
})
