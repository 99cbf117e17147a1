/**
 * Programs that do not read what arrives for them, and more items than anybody could look at: each has one result.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, test } from 'node:test'
import { checkLeaks } from '../leak-check.js'
import { notesIn, range } from './noted.js'
import { TestCluster, needsServer } from './started-server.js'
import { StartedNodes } from './started-nodes.js'

checkLeaks()

/** The server gives up who has not read for so long. (By default it is 10 s.) */
const impatient = { count: 1, more: ['write_deadline: "500ms"'] }

describe('a program that does not read its results', needsServer, () => {
  test('because it is stopped until the server has given it up: it has each of them once when it goes on', async () => {
    await using cluster = await StartedNodes.start(impatient)
    const { nodes } = cluster
    await cluster.agent()
    const file = join(cluster.folder, 'ran')
    const program = await cluster.program('map-program.js', [file, '2000'])
    const clients = await nodes.clientsOf('node1')
    program.kill('SIGSTOP')
    // Sleep: a server tells of its clients only who asks.
    while ((await nodes.clientsOf('node1')) >= clients) await new Promise(resolve => setTimeout(resolve, 50))
    program.kill('SIGCONT')
    const [line] = (await once(createInterface(program.stdout!), 'line')) as [string]
    assert.deepEqual(JSON.parse(line), { given: 2000, different: 2000 })
    assert.equal(new Set(notesIn(file)).size, 2000)
  })

  test('because it computes for 9 s while 40 MB of them arrive: it has each of them once', async () => {
    await using cluster = await StartedNodes.start(impatient)
    const agent = await cluster.agentProgram(2)
    const pool = cluster.pool()
    const long = (n: number): string => String(n).padEnd(20_000, '.')
    const results = pool.map(long, range(2000), { chunkSize: 10 })
    await pool.apply(() => {})
    // Sleep: the program is to compute for that long.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 9000)
    assert.deepEqual((await results).map(Number.parseFloat), range(2000))
    assert.equal(agent.exitCode, null)
  })
})

describe('a million items', needsServer, () => {
  test('on two agents, one of which is killed: each has one result', async () => {
    await using cluster = await TestCluster.start()
    const [doomed] = await Promise.all([cluster.agentProgram(1), cluster.agentProgram(1)])
    const pool = cluster.pool()
    let given = 0
    const seen = new Uint8Array(1e6)
    for await (const n of pool.imapUnordered((item: number) => item, range(1e6))) {
      seen[n]!++
      if (++given === 2e5) doomed.kill('SIGKILL')
    }
    assert.equal(given, 1e6)
    assert.equal(
      seen.findIndex(count => count !== 1),
      -1,
    )
    assert.equal(doomed.signalCode, 'SIGKILL')
  })
})
