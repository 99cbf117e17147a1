/** What `Pool.stats()` and `statsTable()` tell of the workers: data, and a table. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Pool, type WorkerStats } from 'multiproc'
import { LongestTasks } from '#src/insights/longest-tasks.js'
import { shortForm } from '#src/pool/short-form.js'
import { statsTable } from '#src/pool/stats-table.js'
import { forEachStartMethod } from '../conformance.js'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks, eventually } from '../leak-check.js'
import { refuse, square } from './tasks.js'

checkLeaks()

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

/** Keeps the processor busy. */
function spin(ms: number): number {
  for (const endMs = performance.now() + ms; performance.now() < endMs;);
  return ms
}

forEachStartMethod(context => {
  describe('Pool.stats()', () => {
    test('counts items, failures and bytes of each worker, and of all', async () => {
      await using pool = new Pool({ processes: 2, context })
      await pool.map(square, range(1000))
      await assert.rejects(async () => await pool.map(refuse, [1, 2, 3]))
      const { workers, ended, total } = pool.stats()
      const sum = (pick: (worker: WorkerStats) => number): number =>
        workers.reduce((all, worker) => all + pick(worker), 0)
      assert.deepEqual([total.workers, total.done, total.failed], [2, 1003, 3])
      assert.deepEqual([sum(each => each.done), sum(each => each.failed)], [1003, 3])
      assert.equal(
        sum(each => each.bytesSent),
        total.bytesSent,
      )
      assert.ok(total.bytesSent >= 1000 && total.bytesReceived >= 1000)
      assert.deepEqual(ended, [])
      assert.ok(workers.every(({ memoryBytes, done }) => done === 0 || memoryBytes! > 1e6))
    })

    test('tells where the time of a worker went: init, working, waiting, exit', async () => {
      const pool = new Pool({
        processes: 1,
        context,
        initializer: spin,
        initArgs: [30],
        finalizer: () => {
          for (const endMs = performance.now() + 20; performance.now() < endMs;);
        },
      })
      await pool.map(spin, [40, 40])
      const bornMs = performance.now()
      pool.close()
      await pool.join()
      const exitedMs = performance.now() - bornMs
      const [{ times, state }] = pool.stats().ended as [WorkerStats]
      assert.equal(state, 'ended')
      assert.ok(times.startMs > 0, `start ${times.startMs}`)
      assert.ok(times.initMs >= 30, `init ${times.initMs}`)
      assert.ok(times.workingMs >= 80, `working ${times.workingMs}`)
      assert.ok(times.exitMs >= 20 && times.exitMs <= exitedMs + 5, `exit ${times.exitMs} of ${exitedMs}`)
      assert.ok(times.waitingMs >= 0)
    })

    test('a worker that runs a long task is working, before it has given a result', async () => {
      await using latches = await Latches.open()
      const { address } = latches
      await using pool = new Pool({ processes: 1, context })
      await pool.apply(square, [1])
      const result = pool.apply(async () => {
        await passLatch(address, 'long')
      })
      await latches.arrival('long')
      const before = pool.stats().workers[0]!.times
      spin(20)
      const after = pool.stats().workers[0]!.times
      latches.release('long')
      await result
      assert.ok(after.workingMs - before.workingMs >= 20)
      assert.ok(after.waitingMs - before.waitingMs < 20)
    })

    test('keeps the workers that ended last and the sum of all', async () => {
      await using pool = new Pool({ processes: 2, context, maxTasksPerChild: 1 })
      await pool.map(square, range(40), { chunkSize: 1 })
      await eventually(() => pool.stats().ended.length >= 32)
      const { ended, total } = pool.stats()
      assert.equal(ended.length, 32)
      assert.equal(total.done, 40)
      assert.ok(total.workers >= 40)
    })

    test('names the five longest tasks, the longest first, with their arguments and items', async () => {
      await using pool = new Pool({ processes: 2, context })
      await pool.map(spin, [3, 60, 4, 5, 90, 6], { chunkSize: 1 })
      await pool.apply(
        function named(options: { ms: number }, text: string) {
          for (const endMs = performance.now() + options.ms; performance.now() < endMs;);
          return text
        },
        [{ ms: 120 }, 'text'],
      )
      const { longestTasks } = pool.stats()
      assert.equal(longestTasks.length, 5)
      const durations = longestTasks.map(task => task.durationMs)
      assert.deepEqual(
        durations,
        durations.toSorted((a, b) => b - a),
      )
      const find = (given: string): unknown => {
        const found = longestTasks.find(task => task.arguments === given)
        return found && { name: found.name, index: found.index, count: found.count }
      }
      assert.deepEqual(find('{ ms: 120 }, "text"'), { name: 'named', index: undefined, count: 1 })
      assert.deepEqual(find('90'), { name: 'spin', index: 4, count: 1 })
      assert.deepEqual(find('60'), { name: 'spin', index: 1, count: 1 })
    })

    test('finds the slow one among many quick ones, alone or as one of a few', async () => {
      await using pool = new Pool({ processes: 1, context })
      await pool.map((x: number) => {
        if (x === 15_000) for (const endMs = performance.now() + 200; performance.now() < endMs;);
        return x
      }, range(20_000))
      const [slowest] = pool.stats().longestTasks
      assert.ok(slowest!.durationMs >= 200)
      assert.ok(slowest!.count <= 32)
      assert.ok(
        slowest!.index! <= 15_000 && 15_000 < slowest!.index! + slowest!.count,
        String(slowest!.index),
      )
    })

    test('a task that throws can be one of the longest', async () => {
      await using pool = new Pool({ processes: 1, context })
      const failing = (ms: number): never => {
        for (const endMs = performance.now() + ms; performance.now() < endMs;);
        throw new Error('on purpose')
      }
      await pool.mapSettled(failing, [30])
      assert.equal(pool.stats().longestTasks[0]!.arguments, '30')
    })

    test('statsTable() has a line for each worker, one for all, and the longest tasks', async () => {
      await using pool = new Pool({ processes: 2, context })
      await pool.map(spin, [20, 20], { chunkSize: 1 })
      const lines = pool.statsTable().split('\n')
      assert.match(
        lines[0]!,
        /^worker +state +done +failed +start +init +waiting +working +exit +sent +received +memory$/,
      )
      assert.match(lines[1]!, /^PoolWorker-1 \((pid|thread) \d+\) +(starting|ready) +\d/)
      assert.match(lines[3]!, /^all 2 +2 +0 /)
      assert.equal(lines[5], 'longest tasks:')
      assert.match(lines[6]!, /^ {2}\d+ ms {2}spin\(20\) item [01]$/)
    })
  })
})

test('the table is aligned, whatever is in it', () => {
  const times = { startMs: 40, initMs: 0.4, waitingMs: 1234, workingMs: 99_999, exitMs: 0 }
  const work = { done: 7, failed: 1, times, bytesSent: 1023, bytesReceived: 5 * 1024 ** 3 }
  const table = statsTable({
    state: 'running',
    jobs: 0,
    workers: [
      {
        ...work,
        name: 'PoolWorker-10',
        pid: 7,
        threadId: undefined,
        state: 'ready',
        isSpare: false,
        items: 0,
        memoryBytes: 3 * 1024 ** 2,
      },
    ],
    ended: [],
    total: { ...work, workers: 1 },
    longestTasks: [],
  })
  assert.equal(
    table,
    [
      'worker                 state  done  failed  start  init  waiting  working  exit    sent  received   memory',
      'PoolWorker-10 (pid 7)  ready     7       1  40 ms  0 ms    1.2 s  100.0 s  0 ms  1023 B   5.0 GiB  3.0 MiB',
      'all 1                            7       1  40 ms  0 ms    1.2 s  100.0 s  0 ms  1023 B   5.0 GiB',
    ].join('\n'),
  )
})

test('the longest tasks are five at most, and what is short is none of them', () => {
  const longest = new LongestTasks<{ durationMs: number }>()
  for (const durationMs of [0.5, 1, 9, 2, 8, 3, 7, 4, 6, 5]) longest.add({ durationMs })
  assert.deepEqual(
    longest.tasks.map(task => task.durationMs),
    [9, 8, 7, 6, 5],
  )
  assert.equal(longest.thresholdMs, 5)
})

test('arguments have a short form, without running code of theirs and whatever their size', () => {
  let calls = 0
  const trap = new Proxy({}, { ownKeys: () => [String(calls++)], get: () => calls++ })
  const computed = Object.defineProperty({}, 'x', { enumerable: true, get: () => calls++ })
  const cases: [unknown, string][] = [
    [7, '7'],
    ['a'.repeat(50), `"${'a'.repeat(40)}"…`],
    [[1, 2, 3, 4, 5], '[1, 2, 3, … 2 more]'],
    [{ a: 1, b: [1], c: { d: {} }, e: 1 }, '{ a: 1, b: [1], c: { d: {…} }, … }'],
    [new Float64Array(2), 'Float64Array of 16 bytes'],
    [new Map([[1, 2]]), '[Map]'],
    [square, '[Function square]'],
    [trap, '[Proxy]'],
    [computed, '{ x: … }'],
    [{}, '{}'],
    [null, 'null'],
  ]
  for (const [value, text] of cases) assert.equal(shortForm(value, 'item'), text)
  assert.equal(calls, 0)
  assert.equal(shortForm([1, 'b'], 'arguments'), '1, "b"')
  assert.equal(shortForm('x'.repeat(1000), 'arguments').length <= 80, true)
  assert.ok(
    shortForm(
      range(3).map(() => 'y'.repeat(40)),
      'item',
    ).endsWith('…'),
  )
})
