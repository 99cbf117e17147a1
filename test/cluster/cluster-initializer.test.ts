/** The initializer of a pool on a cluster runs once in each worker of an agent, for its own pool. */
import assert from 'node:assert/strict'
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { type BrokenPoolError, Pool, currentTask } from 'multiproc'
import { checkLeaks } from '../leak-check.js'
import { POOL, TestCluster, needsServer } from './started-server.js'

checkLeaks()

function stateNow(): unknown {
  return currentTask().workerState
}

describe('the initializer of a pool on a cluster', needsServer, () => {
  test('runs once in each worker, with its arguments, and gives tasks their state', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent({ processes: 2 })
    const log = join(cluster.folder, 'initialized')
    writeFileSync(log, '')
    const pool = cluster.pool({
      initializer: async (file: string, start: number) => {
        appendFileSync(file, `${process.pid}\n`)
        await Promise.resolve()
        return { start, calls: 0 }
      },
      initArgs: [log, 100],
    })
    const results = await pool.map(
      (n: number) => {
        const state = currentTask<{ start: number; calls: number }>().workerState
        state.calls++
        return [process.pid, state.start + n]
      },
      Array.from({ length: 200 }, (_, index) => index),
    )
    assert.deepEqual(
      results.map(([, sum]) => sum),
      Array.from({ length: 200 }, (_, index) => index + 100),
    )
    const ran = readFileSync(log, 'utf8').trim().split('\n')
    assert.deepEqual(ran.toSorted(), [...new Set(results.map(([pid]) => String(pid)))].toSorted())
    assert.equal(await pool.apply((a: number, b: number) => a + b, [1, 2]), 3)
  })

  test('does not concern other pools, nor the initializer of the agent', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent({ processes: 1, initializer: () => 'of the agent' })
    const pools = [
      cluster.pool({ initializer: () => 'one' }),
      cluster.pool({ initializer: () => 'other' }),
      cluster.pool(),
    ]
    for (let round = 0; round < 3; round++) {
      assert.deepEqual(await Promise.all(pools.map(pool => pool.apply(stateNow))), [
        'one',
        'other',
        'of the agent',
      ])
    }
  })

  test('fails the calls when it throws, with what it threw, and they are not retried', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent({ processes: 1 })
    const pool = cluster.pool({
      initializer: () => {
        throw new RangeError('no licence')
      },
    })
    await assert.rejects(
      pool.map((n: number) => n, [1, 2], { retries: 3 }),
      (error: BrokenPoolError) => {
        assert.equal(error.code, 'ERR_INITIALIZER_FAILED')
        assert.match(error.message, /no licence/)
        return true
      },
    )
    assert.equal(await cluster.pool().apply(() => 'well'), 'well')
  })

  test('runs again in the worker that takes the place of a dead one, and for who attached to a job', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent({ processes: 1 })
    const pool = cluster.pool({ initializer: () => process.pid })
    const outcomes = await pool.mapSettled(
      (n: number) => {
        if (n === 1) process.kill(process.pid, 'SIGKILL')
        return currentTask().workerState === process.pid
      },
      [0, 1, 2],
      { chunkSize: 1, jobId: 'deadly' },
    )
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    )
    assert.equal((outcomes[2] as PromiseFulfilledResult<boolean>).value, true)
    const again = await Pool.attach<unknown[]>('deadly', { cluster: cluster.options, name: POOL })
    assert.equal(again.length, 3)
  })
})
