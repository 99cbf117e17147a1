/** How many workers a pool has, for how long, and who takes whose place. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { isMainThread } from 'node:worker_threads'
import { Barrier, BrokenPoolError, ClosedError, Pool, WorkerDiedError, type StartMethod } from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks, eventually, isRunning } from '../leak-check.js'
import { randomNumbers, seed } from '../queue/random-numbers.js'
import { square } from './tasks.js'

checkLeaks()

const MIB = 2 ** 20
const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
const names = (pool: Pool): string[] => pool.stats().workers.map(worker => worker.name)
const ready = (pool: Pool, { isSpare }: { isSpare: boolean }): string[] =>
  pool
    .stats()
    .workers.filter(worker => worker.state === 'ready' && worker.isSpare === isSpare)
    .map(worker => worker.name)
const numberOf = (name: string): number => Number(name.split('-')[1])

/** Keeps what it is given from being freed, in this worker. */
const leak = (bytes: number): number => {
  const kept = ((globalThis as { kept?: Uint8Array[] }).kept ??= [])
  kept.push(new Uint8Array(bytes).fill(1))
  return kept.length
}

/** What a fresh worker of this kind has, and room for a little more. */
async function freshBytes(context: StartMethod): Promise<number> {
  await using pool = new Pool({ processes: 1, context })
  return await pool.apply(() => {
    const { rss, heapUsed, arrayBuffers } = process.memoryUsage()
    return isMainThread ? rss : heapUsed + arrayBuffers
  })
}

forEachStartMethod(context => {
  describe('maxMemoryPerChild', () => {
    test('replaces a worker that has grown above it, and no item is lost', async () => {
      const maxMemoryPerChild = (await freshBytes(context)) + 150 * MIB
      await using pool = new Pool({ processes: 1, context, maxMemoryPerChild })
      const counts = await pool.map(leak, Array<number>(16).fill(40 * MIB), { chunkSize: 1 })
      assert.equal(counts.length, 16)
      // Four of them reach the limit, and nobody goes on much longer.
      const restarts = counts.filter(count => count === 1).length
      assert.ok(restarts >= 2, counts.join(' '))
      assert.ok(Math.max(...counts) <= 8, counts.join(' '))
      assert.ok(names(pool).every(name => numberOf(name) > 1))
    })

    test('leaves workers alone that stay below it', async () => {
      await using pool = new Pool({ processes: 1, context, maxMemoryPerChild: 4096 * MIB })
      await pool.map(leak, Array<number>(10).fill(1000), { chunkSize: 1 })
      assert.deepEqual(names(pool), ['PoolWorker-1'])
    })

    test('below what a fresh worker has warns once, and the work is done', async () => {
      const warning = once(process, 'warning')
      await using pool = new Pool({ processes: 1, context, maxMemoryPerChild: MIB })
      assert.deepEqual(await pool.map(square, range(5)), [0, 1, 4, 9, 16])
      const [warned] = (await warning) as [Error]
      assert.equal(warned.name, 'MemoryLimitWarning')
      assert.match(warned.message, /before its first item.*To fix/s)
    })
  })

  describe('Pool.resize()', () => {
    test('starts more workers at once, and resolves when they are ready', async () => {
      await using pool = new Pool({ processes: 1, context })
      assert.equal(await pool.apply(square, [2]), 4)
      await pool.resize(3)
      assert.equal(pool.processes, 3)
      assert.equal(ready(pool, { isSpare: false }).length, 3)
    })

    test('to fewer ends those that are idle, and lets a busy one finish', async () => {
      await using latches = await Latches.open()
      await using pool = new Pool({ processes: 3, context })
      await pool.resize(3)
      const busy = pool.apply(passLatch, [latches.address, 'busy'])
      await latches.arrival('busy')
      const worker = pool.stats().workers.find(each => each.items > 0)!
      await pool.resize(1)
      assert.deepEqual(names(pool), [worker.name])
      latches.release('busy')
      await busy
      assert.equal(await pool.apply(square, [3]), 9)
      assert.deepEqual(names(pool), [worker.name])
    })

    test('to fewer while all are busy resolves when one has finished what it ran', async () => {
      await using latches = await Latches.open()
      const { address } = latches
      await using pool = new Pool({ processes: 2, context })
      const results = pool.map((name: string) => passLatch(address, name).then(() => name), ['a', 'b', 'c'], {
        chunkSize: 1,
      })
      await latches.arrival('a')
      await latches.arrival('b')
      let isResized = false
      const resized = pool.resize(1).then(() => (isResized = true))
      assert.equal(isResized, false)
      latches.release('a')
      latches.release('b')
      await resized
      await latches.arrival('c')
      latches.release('c')
      assert.deepEqual(await results, ['a', 'b', 'c'])
      assert.equal(pool.stats().workers.length, 1)
    })

    test('that is called again before it is done resolves with the second', async () => {
      await using pool = new Pool({ processes: 1, context })
      await Promise.all([pool.resize(4), pool.resize(2), pool.resize(1)])
      assert.equal(pool.processes, 1)
      assert.equal(pool.stats().workers.filter(each => each.state === 'ready').length, 1)
      assert.equal(await pool.apply(square, [3]), 9)
    })

    test('in the middle of a map loses and repeats nothing', async () => {
      await using pool = new Pool({ processes: 3, context })
      const results: number[] = []
      for await (const result of pool.imap(square, range(300), { chunkSize: 1 })) {
        results.push(result)
        if (results.length % 100 === 0) void pool.resize((results.length / 100) % 3 || 2)
      }
      assert.deepEqual(results, range(300).map(square))
    })

    test('refuses numbers that make no sense, and a pool that was closed', async () => {
      await using pool = new Pool({ processes: 1, context })
      for (const bad of [0, -1, 1.5, '2', undefined, 4001]) {
        assert.throws(() => pool.resize(bad as never), { code: 'ERR_INVALID_ARGUMENT', message: /To fix/ })
      }
      pool.close()
      assert.throws(() => pool.resize(2), ClosedError)
    })

    test('of a pool that ends meanwhile rejects, and nobody has to listen', async () => {
      const pool = new Pool({ processes: 1, context })
      const resized = pool.resize(2)
      void pool.resize(3)
      await pool.terminate()
      await assert.rejects(async () => await resized, ClosedError)
    })

    test('to workers that cannot be initialized rejects as the work does', async () => {
      const pool = new Pool({
        processes: 1,
        context,
        initializer: () => {
          throw new Error('no')
        },
      })
      await assert.rejects(async () => await pool.resize(2), BrokenPoolError)
      await pool.terminate()
    })
  })

  describe('idleTimeout', () => {
    test('ends workers that have nothing to do, and starts others when there is work', async () => {
      await using pool = new Pool({ processes: 2, context, idleTimeout: 50 })
      assert.deepEqual(await pool.map(square, range(10)), range(10).map(square))
      await eventually(() => pool.stats().workers.length === 0)
      assert.equal(pool.processes, 2)
      assert.equal(await pool.apply(square, [7]), 49)
      assert.deepEqual(await pool.map(square, range(10)), range(10).map(square))
    })

    test('starts one for a call that would otherwise wait behind one which was expected to be short', async () => {
      await using pool = new Pool({ processes: 2, context, idleTimeout: 50, minProcesses: 1 })
      const barrier = new Barrier(2)
      const meet = async (waits: boolean): Promise<void> => {
        if (waits) await barrier.wait()
      }
      await pool.map(
        meet,
        range(200).map(() => false),
      )
      await eventually(() => pool.stats().workers.length === 1)
      await pool.map(meet, [true, true])
    })

    test('starts as many again as there is work for', async () => {
      await using latches = await Latches.open()
      const { address } = latches
      await using pool = new Pool({ processes: 3, context, idleTimeout: 50 })
      await eventually(() => pool.stats().workers.length === 0)
      const both = ['a', 'b'].map(name => pool.apply(passLatch, [address, name]))
      await latches.arrival('a')
      await latches.arrival('b')
      assert.equal(pool.stats().workers.length, 2)
      latches.release('a')
      latches.release('b')
      await Promise.all(both)
    })

    test('keeps minProcesses', async () => {
      await using pool = new Pool({ processes: 3, context, idleTimeout: 50, minProcesses: 1 })
      await eventually(() => pool.stats().workers.length === 1)
      assert.equal(await pool.apply(square, [3]), 9)
      assert.equal(pool.stats().workers.length, 1)
    })

    test('does not end a worker that runs something', async () => {
      await using latches = await Latches.open()
      await using pool = new Pool({ processes: 2, context, idleTimeout: 50 })
      const task = pool.apply(passLatch, [latches.address, 'slow'])
      await latches.arrival('slow')
      await eventually(() => pool.stats().workers.length === 1)
      latches.release('slow')
      await task
    })

    test('an imap that nobody reads on does not start workers again', async () => {
      await using pool = new Pool({ processes: 1, context, idleTimeout: 50 })
      const results = pool.imap(square, range(100), { bufferSize: 2, chunkSize: 1 })
      assert.equal((await results.next()).value, 0)
      await eventually(() => pool.stats().workers.length === 0)
      const rest: number[] = []
      for await (const result of results) rest.push(result)
      assert.deepEqual(rest, range(100).slice(1).map(square))
      const started = numberOf((await pool.apply(square, [1]), names(pool)[0]!))
      assert.ok(started <= 3, `${started} workers`)
    })
  })

  describe('spares', () => {
    test('take the place of a worker that dies, and are refilled', async () => {
      await using pool = new Pool({ processes: 1, context, spares: 1 })
      await eventually(() => ready(pool, { isSpare: true }).length === 1)
      const [worker] = ready(pool, { isSpare: false })
      const [spare] = ready(pool, { isSpare: true })
      await assert.rejects(async () => await pool.apply(() => process.exit(3)), WorkerDiedError)
      assert.deepEqual(ready(pool, { isSpare: false }), [spare])
      assert.notEqual(spare, worker)
      await eventually(() => ready(pool, { isSpare: true }).length === 1)
      assert.equal(await pool.apply(square, [3]), 9)
    })

    test('take the place of a worker that is recycled, initialized, and get no work before', async () => {
      await using pool = new Pool({
        processes: 1,
        context,
        spares: 2,
        maxTasksPerChild: 3,
        initializer: () => {
          ;(globalThis as { isPrepared?: boolean }).isPrepared = true
        },
      })
      const isPrepared = (): boolean => (globalThis as { isPrepared?: boolean }).isPrepared === true
      const all = await pool.map(isPrepared, range(20), { chunkSize: 1 })
      assert.ok(all.every(Boolean))
      for (const { isSpare, items } of pool.stats().workers) assert.ok(!isSpare || items === 0)
    })

    test('that die are replaced, and do not count as work', async () => {
      await using pool = new Pool({ processes: 1, context: 'spawn', spares: 1 })
      await eventually(() => ready(pool, { isSpare: true }).length === 1)
      const spare = pool.stats().workers.find(each => each.isSpare)!
      process.kill(spare.pid!, 'SIGKILL')
      await eventually(() => {
        const now = ready(pool, { isSpare: true })
        return now.length === 1 && now[0] !== spare.name
      })
      assert.equal(await pool.apply(square, [3]), 9)
    })

    test('do not keep a pool from giving up when its workers die one after the other', async () => {
      const pool = new Pool({
        processes: 1,
        context,
        spares: 1,
        initializer: () => void setTimeout(() => process.exit(6), 20),
      })
      const lasting = pool.apply(() => new Promise(() => {}), [], { retries: 100 })
      await assert.rejects(async () => await lasting, {
        name: /BrokenPoolError|PoisonedItemError|WorkerDiedError/,
      })
      await pool.terminate()
    })
  })
})

test('workers that are killed at random while a pool is resized cost nothing but their own items', async () => {
  const random = randomNumbers(seed)
  await using pool = new Pool({ processes: 2, spares: 1, retries: 50, maxDeathsPerItem: 50 })
  const results: number[] = []
  for await (const result of pool.imap(square, range(400), { chunkSize: 2, bufferSize: 20 })) {
    results.push(result)
    if (results.length % 20 !== 0) continue
    void pool.resize(1 + random(3))
    const { workers } = pool.stats()
    const { pid, state } = workers[random(workers.length)]!
    // One that dies before it is ready counts against the pool.
    if (state === 'ready') process.kill(pid!, 'SIGKILL')
  }
  assert.deepEqual(results, range(400).map(square))
  await pool.resize(2)
  await eventually(() => ready(pool, { isSpare: true }).length === 1)
  assert.equal(ready(pool, { isSpare: false }).length, 2)
})

test(
  'workers and spares end when their program is killed',
  { skip: process.platform === 'win32' },
  async () => {
    const child = spawn(process.execPath, [
      '--input-type=module',
      '-e',
      `import { Pool } from ${JSON.stringify(import.meta.resolve('multiproc'))}
     const pool = new Pool({ processes: 1, spares: 1, finalizer: () => new Promise(() => {}), finalizerTimeout: Infinity })
     await pool.apply(x => x, [1])
     while (pool.stats().workers.length < 2) await new Promise(resolve => setImmediate(resolve))
     console.log(pool.stats().workers.map(worker => worker.pid).join(' '))
     await pool.apply(() => new Promise(() => {}))`,
    ])
    const [line] = (await once(child.stdout, 'data')) as [Buffer]
    const pids = line.toString().trim().split(' ').map(Number)
    assert.equal(pids.length, 2)
    child.kill('SIGKILL')
    await once(child, 'close')
    await eventually(() => !pids.some(isRunning))
  },
)

test('a pool with spares and idle workers does not keep its program alive', async () => {
  const child = spawn(process.execPath, [
    '--input-type=module',
    '-e',
    `import { Pool } from ${JSON.stringify(import.meta.resolve('multiproc'))}
     // Where it is not collected, which would be told.
     const pool = (globalThis.pool = new Pool({ processes: 1, spares: 1, idleTimeout: 60_000 }))
     await pool.resize(2)
     console.log(await pool.apply(x => x + 1, [1]))`,
  ])
  let output = ''
  child.stdout.on('data', data => (output += String(data)))
  child.stderr.on('data', data => (output += String(data)))
  const [code] = await once(child, 'close')
  assert.deepEqual({ code, output }, { code: 0, output: '2\n' })
})

test('new Pool() refuses options about the life of workers that make no sense, naming them', () => {
  const bad: [object, RegExp][] = [
    [{ maxMemoryPerChild: 500 }, /"maxMemoryPerChild" must be a number of bytes/],
    [{ maxMemoryPerChild: '1g' }, /"maxMemoryPerChild"/],
    [{ idleTimeout: 0 }, /"idleTimeout"/],
    [{ minProcesses: 1 }, /"minProcesses" has no meaning without "idleTimeout"/],
    [{ processes: 2, idleTimeout: 5, minProcesses: 3 }, /"minProcesses" must be at most 2/],
    [{ spares: -1 }, /"spares"/],
    [{ processes: 4000, spares: 1 }, /"spares" must be at most 0/],
    [{ preload: 5 }, /"preload"/],
    [{ preload: [''] }, /"preload"/],
    [{ finalizer: 1 }, /"finalizer"/],
    [{ finalizerTimeout: -1 }, /"finalizerTimeout"/],
    [{ niceness: 20 }, /"niceness" must be a whole number from -20 to 19/],
    [{ niceness: 1.5 }, /"niceness"/],
    [{ affinity: [] }, /"affinity"/],
    [{ affinity: 'first' }, /"affinity"/],
    [{ threadPoolSize: 0 }, /"threadPoolSize"/],
    [{ threadPoolSize: 1025 }, /"threadPoolSize" must be at most 1024/],
    [{ context: 'thread', threadPoolSize: 4 }, /"threadPoolSize" is for processes/],
  ]
  for (const [options, message] of bad) {
    assert.throws(() => new Pool(options), { code: 'ERR_INVALID_ARGUMENT', message })
  }
})
