/** What the dashboard is told of a program whose pool is on a cluster, over the socket of the program. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import { jetstream } from '@nats-io/jetstream'
import { connectProgram } from '#src/dashboard/program-source.js'
import { type InspectedTable, inspectedTables } from '#src/insights/inspected-tables.js'
import { hostName } from '#src/platform/host-name.js'
import { inspectedNames } from '#src/platform/inspection-folder.js'
import { OwnTemporaryDirectory, look } from '../dashboard/inspected-program.js'
import { Latches } from '../latch.js'
import { checkLeaks, eventually } from '../leak-check.js'
import { POOL, TestCluster, connectAsStranger, needsServer } from './started-server.js'

checkLeaks()

/** The rows of a table as objects. */
function rowsOf(tables: readonly InspectedTable[], title: string): Record<string, string>[] {
  const table = tables.find(({ title: found }) => found.startsWith(title))
  if (!table) return []
  const { columns, rows } = table
  return rows.map(row => Object.fromEntries(row.map((cell, at) => [columns[at]!, cell])))
}

describe('the tables of a pool on a cluster', needsServer, () => {
  test('show its machines, which of them has which chunk, and how many chunks were given up', async () => {
    using _ = new OwnTemporaryDirectory()
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    // Who comes first says that what is not signed is given up at once.
    const first = await cluster.agent({ cluster: { ...cluster.options, maxDeliveries: 1 } })
    await first.stop()
    const agent = await cluster.agentProgram(1)
    const tag = randomBytes(6).toString('hex')
    const program = await cluster.program('submitter-program.js', [latches.address], {
      MULTIPROC_INSPECT: tag,
    })
    await latches.arrival('item 0')
    await eventually(() => inspectedNames(tag).length > 0)
    const source = await connectProgram(inspectedNames(tag)[0]!)
    /** Looks until there is what is looked for; the deadline of the test ends that. */
    const until = async (isThere: (tables: InspectedTable[]) => boolean): Promise<InspectedTable[]> => {
      for (;;) {
        const { tables } = await look(source)
        if (isThere(tables)) return tables
      }
    }
    const [pool] = (await look(source)).pools
    assert.deepEqual([pool!.processes, pool!.busyElsewhere], [1, 1])
    const host = hostName()
    const tables = await until(found =>
      rowsOf(found, 'Chunks of the pool test').some(({ agent: name }) => name!.startsWith(`${host}-`)),
    )
    const [machine] = rowsOf(tables, 'Machines that serve the pool test')
    assert.deepEqual(
      [machine!['machine'], machine!['process id'], machine!['processes']],
      [host, String(agent.pid), '1'],
    )
    assert.match(machine!['last heard']!, /^\d+\.\d s ago$/)
    const chunks = rowsOf(tables, 'Chunks of the pool test')
    assert.ok(chunks.some(chunk => chunk['agent'] === machine!['agent']))
    assert.ok(chunks.length >= 2, `${chunks.length} chunks`)
    assert.deepEqual(
      [chunks[0]!['function'], chunks[0]!['priority'], chunks[0]!['times sent']],
      ['anonymous', 'normal', '1'],
    )
    assert.deepEqual(rowsOf(tables, 'Dead letters'), [])

    const stranger = await connectAsStranger(cluster)
    await jetstream(stranger).publish(`mp.t.${POOL}.high.0123456789abcdef01234567.1`, 'no seal')
    await stranger.close()
    // The process is busy; an agent that has room finds it.
    await cluster.agent()
    const later = await until(found => rowsOf(found, 'Dead letters').length > 0)
    assert.equal(rowsOf(later, 'Dead letters of the pool test')[0]!['chunks that were given up'], '1')
    assert.equal(rowsOf(later, 'Machines that serve').length, 2)

    agent.kill('SIGKILL')
    await until(found => rowsOf(found, 'Machines that serve').length === 1)
    source.close()
    program.kill('SIGKILL')
  })

  test('are gone with the pool', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent()
    const pool = cluster.pool()
    assert.equal(await pool.apply(Math.sqrt, [9]), 3)
    assert.equal(rowsOf(inspectedTables(), 'Machines that serve').length, 1)
    await pool.terminate()
    assert.deepEqual(inspectedTables(), [])
  })
})
