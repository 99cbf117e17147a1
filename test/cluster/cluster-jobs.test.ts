/** Calls that outlive their programs: whoever attaches gets each result once and in order, whatever was killed before. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { appendFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { AuthenticationError, Pool, currentTask } from 'multiproc'
import { ClusterAdmin } from '#src/cluster/cluster-admin.js'
import { sessionOf } from '#src/cluster/kept-jobs.js'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks, eventually } from '../leak-check.js'
import { POOL, TestCluster, connectAsStranger, needsServer } from './started-server.js'

checkLeaks()

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}

/** Where tasks of kept-program.ts note that they ran. */
function newLog(cluster: TestCluster): string {
  const log = join(cluster.folder, 'ran')
  writeFileSync(log, '')
  return log
}

function ranIn(log: string): number[] {
  return readFileSync(log, 'utf8').trim().split('\n').map(Number)
}

function where(cluster: TestCluster): { cluster: TestCluster['options']; name: string } {
  return { cluster: cluster.options, name: POOL }
}

/** Looks again and again; the deadline of the test ends that. */
async function until(look: () => Promise<boolean>): Promise<void> {
  while (!(await look()));
}

/** Resolves when the queue has something. */
async function untilQueued(cluster: TestCluster): Promise<void> {
  const stranger = await connectAsStranger(cluster)
  const manager = await jetstreamManager(stranger)
  await until(async () => {
    const info = await manager.streams.info(`MP_T_${POOL}`).catch(() => undefined)
    return (info?.state.messages ?? 0) > 0
  })
  await stranger.close()
}

describe('a call with a jobId', needsServer, () => {
  test('gives what every map gives, and gives it again to whoever attaches when it is done', async () => {
    await using cluster = await TestCluster.start()
    const agent = await cluster.agent()
    const pool = cluster.pool()
    const offset = 5
    const results = await pool.map((n: number) => n + offset, range(1000), { jobId: 'one' })
    assert.deepEqual(
      results,
      range(1000).map(n => n + 5),
    )
    const settled = await pool.mapSettled(
      (n: number) => {
        if (n === 1) throw new RangeError('one')
        return n
      },
      [0, 1, 2],
      { jobId: 'settled' },
    )
    assert.deepEqual(
      settled.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    )
    await pool.starmap((a: number, b: number) => a * b, [[2, 3]], { jobId: 'star' })
    await pool.terminate()
    // No agent is needed for what is done.
    await agent.stop()
    for (let times = 0; times < 2; times++)
      assert.deepEqual(await Pool.attach('one', where(cluster)), results)
    assert.deepEqual(await Pool.attach('star', where(cluster)), [6])
    const again = await Pool.attach<PromiseSettledResult<number>[]>('settled', where(cluster))
    assert.deepEqual(
      again.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    )
    assert.ok((again[1] as PromiseRejectedResult).reason instanceof RangeError)
  })

  test('goes on when its program is killed: done items do not run again, and those that run are not lost', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    const log = newLog(cluster)
    await cluster.agent({ processes: 2 })
    // Chunks of two items: 0 and 1 are done, 2 and 6 hold two processes, and most was never sent.
    const args = ['nightly', '200', latches.address, '2,6', log]
    const program = await cluster.program('kept-program.js', args)
    await latches.arrival('item 2')
    await latches.arrival('item 6')
    program.kill('SIGKILL')
    await once(program, 'exit')
    const progress: number[] = []
    const attached = Pool.attach<number[]>('nightly', {
      ...where(cluster),
      onProgress: ({ done }) => void progress.push(done),
    })
    await eventually(() => progress.some(done => done >= 2))
    latches.release('item 2')
    latches.release('item 6')
    assert.deepEqual(
      await attached,
      range(200).map(n => n * 10),
    )
    // Nothing failed here, so nothing has run twice.
    assert.deepEqual(
      ranIn(log).toSorted((a, b) => a - b),
      range(200),
    )
    assert.equal(attached.ready(), true)
  })

  test('survives its program, its agent and the server being killed, one after the other', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    const log = newLog(cluster)
    const doomed = await cluster.agentProgram(2)
    const args = ['nightly', '100', latches.address, '4', log]
    const program = await cluster.program('kept-program.js', args)
    await latches.arrival('item 4')
    program.kill('SIGKILL')
    doomed.kill('SIGKILL')
    await Promise.all([once(program, 'exit'), once(doomed, 'exit')])
    latches.release('item 4')
    await cluster.killServer()
    await cluster.restartServer()
    const attached = Pool.attach<number[]>('nightly', where(cluster))
    await cluster.agent({ processes: 2 })
    await latches.arrival('item 4')
    await cluster.killServer()
    latches.release('item 4')
    await cluster.restartServer()
    assert.deepEqual(
      await attached,
      range(100).map(n => n * 10),
    )
  })

  test('belongs to who attached last: the program that waits for it is told, and may be alive', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    const log = newLog(cluster)
    await cluster.agent({ processes: 2 })
    const args = ['nightly', '40', latches.address, '0', log]
    const program = await cluster.program('kept-program.js', args)
    const lines = createInterface(program.stdout!)
    await latches.arrival('item 0')
    const first = Pool.attach<number[]>('nightly', where(cluster))
    const [line] = (await once(lines, 'line')) as [string]
    assert.equal(line, 'failed ERR_TERMINATED')
    const second = Pool.attach<number[]>('nightly', where(cluster))
    await assert.rejects(first, { name: 'ClusterError', code: 'ERR_TERMINATED' })
    latches.release('item 0')
    assert.deepEqual(
      await second,
      range(40).map(n => n * 10),
    )
  })

  test('takes over failures and what was run again as far as they had come, so that no run is repeated', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    const log = newLog(cluster)
    await cluster.agent({ processes: 3 })
    const pool = cluster.pool()
    const { address } = latches
    const abandoned = pool.map(
      async (n: number) => {
        const { attempt } = currentTask()
        appendFileSync(log, `${n * 10 + attempt}\n`)
        if (attempt === 1) throw new Error('the first time')
        if (attempt === 2 && n % 4 === 1) await passLatch(address, `item ${n}`)
        if (n % 4 === 3 && attempt === 2) throw new Error('the second time')
        return n
      },
      range(8),
      { jobId: 'retries', chunkSize: 4, retries: 2 },
    )
    abandoned.catch(() => {})
    await latches.arrival('item 1')
    await latches.arrival('item 5')
    await pool.terminate()
    const attached = Pool.attach('retries', where(cluster))
    latches.release('item 1')
    latches.release('item 5')
    assert.deepEqual(await attached, range(8))
    const runs = range(8).flatMap(n => (n % 4 === 3 ? [1, 2, 3] : [1, 2]).map(attempt => n * 10 + attempt))
    assert.deepEqual(
      ranIn(log).toSorted((a, b) => a - b),
      runs,
    )
  })

  test('is retried by its policy and has what it requires, also for who attached', async () => {
    await using cluster = await TestCluster.start()
    const pool = cluster.pool()
    const abandoned = pool.map(
      (n: number) => {
        const { attempt, workerName, resources } = currentTask()
        if (attempt < 3) throw new Error(`attempt ${attempt} of ${n}`)
        return [workerName, resources['gpu']!.amount]
      },
      range(20),
      {
        jobId: 'retried',
        requires: { resources: { gpu: 1 } },
        retries: { limit: 5, when: (error: unknown) => (error as Error).message.startsWith('attempt') },
      },
    )
    abandoned.catch(() => {})
    await untilQueued(cluster)
    await pool.terminate()
    await assert.rejects(abandoned, { code: 'ERR_TERMINATED' })
    const able = await cluster.agent({ resources: { gpu: 1 } })
    await cluster.agent()
    const found = await Pool.attach<[string, number][]>('retried', where(cluster))
    assert.equal(found.length, 20)
    assert.ok(found.every(([name, amount]) => name.startsWith(able.name) && amount === 1))
  })

  test('that was called off is gone, and so is one that an administrator deletes', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    await cluster.agent({ processes: 1 })
    const pool = cluster.pool()
    const { address } = latches
    const why = new Error('not wanted')
    const called = pool.map((name: string) => passLatch(address, name), ['a', 'b'], {
      jobId: 'off',
      gracePeriod: 10,
    })
    await latches.arrival('a')
    called.cancel(why)
    await assert.rejects(called, why)
    await until(async () => {
      const failure: unknown = await Pool.attach('off', where(cluster)).catch((error: unknown) => error)
      return (failure as { code?: string }).code === 'ERR_NOT_FOUND'
    })
    // The name is free again.
    assert.deepEqual(await pool.map((n: number) => n, [1], { jobId: 'off' }), [1])
    const admin = await ClusterAdmin.connect(cluster.options)
    const [shown] = await admin.jobs()
    assert.deepEqual([shown!.job!.jobId, shown!.job!.items, shown!.chunks], ['off', 1, 0])
    assert.deepEqual(await admin.cancel(shown!.id), { chunks: 0, isThere: true })
    assert.deepEqual(await admin.jobs(), [])
    assert.deepEqual(await admin.cancel(shown!.id), { chunks: 0, isThere: false })
    await admin.close()
    await assert.rejects(Pool.attach('off', where(cluster)), { code: 'ERR_NOT_FOUND' })
  })

  test('whose name was used before has nothing to do with what is left of that one', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent({ processes: 1 })
    const pool = cluster.pool()
    const results: number[][] = []
    for (const offset of [10, 20, 30]) {
      results.push(await pool.map((n: number) => n + offset, [1, 2, 3], { jobId: 'same', chunkSize: 1 }))
      const admin = await ClusterAdmin.connect(cluster.options)
      const [{ id } = { id: '' }] = await admin.jobs()
      // What is known of it goes; its results may stay, as after a day.
      const stranger = await connectAsStranger(cluster)
      const manager = await jetstreamManager(stranger)
      for (const what of ['job', 'driver'])
        await manager.streams.purge(`MP_R_${POOL}`, { filter: `mp.r.${POOL}.${id}.${what}` })
      await stranger.close()
      await admin.close()
    }
    assert.deepEqual(results, [
      [11, 12, 13],
      [21, 22, 23],
      [31, 32, 33],
    ])
    assert.deepEqual(await pool.map((n: number) => n + 40, [1], { jobId: 'same' }), [41])
    assert.deepEqual(await Pool.attach('same', where(cluster)), [41])
  })

  test('is called off by a signal while it is being stored', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent({ processes: 1 })
    const pool = cluster.pool()
    const controller = new AbortController()
    const called = pool.map((n: number) => n, [1, 2, 3], { jobId: 'early', signal: controller.signal })
    controller.abort(new Error('early'))
    await assert.rejects(called, /early/)
    await until(async () => {
      const failure: unknown = await Pool.attach('early', where(cluster)).catch((error: unknown) => error)
      return (failure as { code?: string }).code === 'ERR_NOT_FOUND'
    })
  })

  test('is refused where it cannot be kept, and where its name is taken', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent()
    const pool = cluster.pool()
    const id = (n: number): number => n
    assert.deepEqual(await pool.map(id, [], { jobId: 'empty' }), [])
    await assert.rejects(pool.map(id, [1], { jobId: 'empty' }), { code: 'ERR_ALREADY_EXISTS' })
    assert.deepEqual(await Pool.attach('empty', where(cluster)), [])
    await assert.rejects(Pool.attach('unknown', where(cluster)), { code: 'ERR_NOT_FOUND' })
    assert.throws(() => Pool.attach('a b', where(cluster)), { code: 'ERR_INVALID_ARGUMENT' })
    assert.throws(() => pool.map(id, [1], { jobId: '' }), { code: 'ERR_INVALID_ARGUMENT' })
    assert.throws(() => pool.map(id, [1], { jobId: 'x', into: Float64Array }), { code: 'ERR_NOT_SUPPORTED' })
    async function* items(): AsyncGenerator<number> {
      yield 1
    }
    assert.throws(() => pool.map(id, items(), { jobId: 'x' }), { code: 'ERR_INVALID_ARGUMENT' })
    await using here = new Pool(1)
    assert.throws(() => here.map(id, [1], { jobId: 'x' }), { code: 'ERR_NOT_SUPPORTED' })
  })

  test('of another key, or that somebody without the key has written, is not decoded', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent()
    await cluster.pool().map((n: number) => n, [1, 2], { jobId: 'mine' })
    const other = { ...cluster.options, authKey: 'another key of thirty-two bytes' }
    await assert.rejects(Pool.attach('mine', { cluster: other, name: POOL }), AuthenticationError)
    const stranger = await connectAsStranger(cluster)
    const publisher = jetstream(stranger)
    await publisher.publish(`mp.r.${POOL}.${sessionOf('forged')}.job`, 'no seal')
    await assert.rejects(Pool.attach('forged', where(cluster)), AuthenticationError)
    // A result, a driver and a chunk that nobody sealed.
    await publisher.publish(`mp.r.${POOL}.${sessionOf('mine')}.4294967297`, 'no seal')
    await publisher.publish(`mp.r.${POOL}.${sessionOf('mine')}.99`, 'no seal')
    await publisher.publish(`mp.r.${POOL}.${sessionOf('mine')}.driver`, 'no seal')
    assert.deepEqual(await Pool.attach('mine', where(cluster)), [1, 2])
    const manager = await jetstreamManager(stranger)
    const { state } = await manager.streams.info(`MP_T_${POOL}`)
    assert.equal(state.messages, 0)
    await stranger.close()
  })

  test('whose function is of a module that agents do not have goes on by value', async () => {
    await using cluster = await TestCluster.start()
    const file = join(cluster.folder, 'work.mjs')
    writeFileSync(
      file,
      'const rate = 3\nconst pay = n => n * rate\nexport function wage(hours) { return pay(hours) }\n',
    )
    const { wage } = (await import(pathToFileURL(file).href)) as { wage: (hours: number) => number }
    const pool = cluster.pool()
    const abandoned = pool.map(wage, [1, 2, 3], { jobId: 'wages' })
    abandoned.catch(() => {})
    await untilQueued(cluster)
    await pool.terminate()
    rmSync(file)
    await cluster.agent()
    assert.deepEqual(await Pool.attach('wages', where(cluster)), [3, 6, 9])
  })
})
