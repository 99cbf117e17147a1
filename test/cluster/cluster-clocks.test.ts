/**
 * Machines whose clocks are hours apart, or are set while they work: nothing depends on clocks, neither leases nor
 * time-outs nor waits for a server.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, test } from 'node:test'
import { TimeoutError } from 'multiproc'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks } from '../leak-check.js'
import { notesIn, range } from './noted.js'
import { TestCluster, needsServer } from './started-server.js'
import { StateCluster } from './state-cluster.js'
import { setClock } from './wrong-clock.js'

checkLeaks()

const hourMs = 3600_000

/** The environment of a program whose clock is wrong by so much. */
function clockOffset(ms: number): NodeJS.ProcessEnv {
  return {
    NODE_OPTIONS: `--import ${new URL('skewed-clock.js', import.meta.url).href}`,
    CLOCK_OFFSET_MS: String(ms),
  }
}

describe('clocks', needsServer, () => {
  test('of an agent and of programs that are hours apart: maps, time-outs and retries are as ever', async () => {
    await using cluster = await TestCluster.start()
    const args = cluster.agentArgs(2)
    await cluster.program('agent-program.js', args, clockOffset(5 * hourMs))
    const file = join(cluster.folder, 'ran')
    const late = await cluster.program('map-program.js', [file, '500'], clockOffset(-7 * hourMs))
    const [line] = (await once(createInterface(late.stdout!), 'line')) as [string]
    assert.deepEqual(JSON.parse(line), { given: 500, different: 500 })
    assert.equal(new Set(notesIn(file)).size, 500)
    const pool = cluster.pool()
    const offsetMs = (await pool.apply(() => Date.now())) - Date.now()
    assert.ok(Math.abs(offsetMs - 5 * hourMs) < hourMs, 'the agent has another clock')
    await assert.rejects(
      pool.apply(() => new Promise(() => {}), [], { timeout: 200 }),
      TimeoutError,
    )
    const again = pool.map(
      async (n: number) => {
        const { currentTask } = await import('multiproc')
        if (currentTask().attempt === 1) throw new Error('once')
        return n
      },
      range(3),
      { retries: { limit: 2, delay: 10 } },
    )
    assert.deepEqual(await again, range(3))
  })

  test('of agents that are hours apart: what a killed one had runs on the other after the lease', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    const pool = cluster.pool()
    const { address } = latches
    const args = cluster.agentArgs(1)
    const doomed = await cluster.program('agent-program.js', args, clockOffset(9 * hourMs))
    const result = pool.apply(async () => {
      await passLatch(address, `${process.ppid} runs`)
      return process.ppid
    })
    await latches.arrival(`${doomed.pid} runs`)
    doomed.kill('SIGKILL')
    const heir = await cluster.program('agent-program.js', args, clockOffset(-9 * hourMs))
    await latches.arrival(`${heir.pid} runs`)
    latches.release(`${heir.pid} runs`)
    assert.equal(await result, heir.pid)
  })

  test('that are set back and forward by hours while the server restarts: program and agent are back at once', async () => {
    await using cluster = await TestCluster.start()
    try {
      await cluster.agent()
      const pool = cluster.pool({ cluster: { connectionTimeout: 15_000 } })
      for (const offsetMs of [-5 * hourMs, 6 * hourMs, 0]) {
        assert.deepEqual(await pool.map((n: number) => n, range(100)), range(100))
        setClock(offsetMs)
        await cluster.killServer()
        await cluster.restartServer()
      }
      assert.deepEqual(await pool.map((n: number) => n, range(100)), range(100))
    } finally {
      setClock(0)
    }
  })

  test('of programs that share a lock: who is killed loses it after its lease, by whatever clock', async () => {
    await using cluster = await StateCluster.start()
    const holder = cluster.programWith(clockOffset(5 * hourMs), 'hold', 'l')
    const token = Number(await holder.said('token '))
    const next = cluster.programWith(clockOffset(-5 * hourMs), 'hold', 'l')
    await holder.kill()
    assert.ok(Number(await next.said('token ')) > token)
    const state = await cluster.connect()
    assert.equal(await state.Lock('l').locked(), true)
  })
})
