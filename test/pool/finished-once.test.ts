/** What a task has done it does not do again when the next one ends the worker, however both stand beside each other. */
import assert from 'node:assert/strict'
import {
  appendFileSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Pool, sharedArray } from 'multiproc'
import { nativeStatus } from '#src/platform/native-addon.js'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

/** Items that are no numbers from 0 on. */
const EFFECT = -1
const DEADLY = -2

/** What an item with an effect does besides. */
type Way = 'takes 3 ms' | 'gives back 1 MiB' | 'throws' | 'gives back 1 MiB later'

/** Runs quick items with one that writes to a file and, right behind it, one that ends the worker. */
async function runPair(
  pool: Pool,
  { way, at, count, chunkSize }: { way: Way; at: number; count: number; chunkSize: number },
): Promise<{ rejected: number[]; log: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
  const log = join(folder, 'log')
  writeFileSync(log, '')
  const task = (x: number): unknown => {
    if (x === -2) process.exit(4)
    if (x !== -1) return x
    appendFileSync(log, 'x')
    if (way === 'throws') throw new RangeError('thrown on purpose')
    if (way === 'gives back 1 MiB') return 'y'.repeat(1 << 20)
    if (way === 'gives back 1 MiB later') return Promise.resolve('y'.repeat(1 << 20))
    const end = performance.now() + 3
    while (performance.now() < end);
    return x
  }
  try {
    // Quick items are marked and timed together only after many of them.
    await pool.map(task, range(30_000), { chunkSize: 30_000 })
    const items = range(count)
      .with(at, EFFECT)
      .with(at + 1, DEADLY)
    const settled = await pool.mapSettled(task, items, { chunkSize })
    return {
      rejected: settled.flatMap((each, index) => (each.status === 'rejected' ? [index] : [])),
      log: readFileSync(log, 'utf8'),
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

forEachStartMethod(context => {
  for (const way of ['takes 3 ms', 'gives back 1 MiB', 'gives back 1 MiB later', 'throws'] as const) {
    test(`an item that ${way} among quick ones is not run again when the next one ends the worker`, async () => {
      await using pool = new Pool({ processes: 1, context })
      // Every place in a group of eight.
      for (let at = 300; at < (way === 'takes 3 ms' ? 308 : 302); at++) {
        const { rejected, log } = await runPair(pool, { way, at, count: 400, chunkSize: 400 })
        assert.deepEqual([rejected, log], [way === 'throws' ? [at, at + 1] : [at + 1], 'x'], `at ${at}`)
      }
    })

    test(`an item that ${way} at the end of a chunk is not run again when the next chunk ends the worker`, async () => {
      await using pool = new Pool({ processes: 1, context })
      for (let round = 0; round < 3; round++) {
        const { rejected, log } = await runPair(pool, { way, at: 99, count: 200, chunkSize: 100 })
        assert.deepEqual([rejected, log], [way === 'throws' ? [99, 100] : [100], 'x'])
      }
    })
  }

  test('items that only write one byte are run once each, though one of them ends the worker', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
    const log = join(folder, 'log')
    const warmUp = 1_000_000
    const task = (x: number): { x: number } => {
      if (x === -2) process.exit(4)
      if (x < 1_000_000) {
        const kept = globalThis as { logOfFinishedOnce?: number }
        writeSync((kept.logOfFinishedOnce ??= openSync(log, 'a')), 'x')
      }
      // No simple value, which would be kept anyway.
      return { x }
    }
    await using pool = new Pool({ processes: 1, context })
    await pool.map(
      task,
      range(30_000).map(x => x + warmUp),
      { chunkSize: 30_000 },
    )
    const settled = await pool.mapSettled(task, range(3000).with(2345, DEADLY), { chunkSize: 3000 })
    assert.deepEqual(
      settled.flatMap((each, index) => (each.status === 'rejected' ? [index] : [])),
      [2345],
    )
    assert.equal(readFileSync(log, 'utf8').length, 2999)
    await pool.terminate()
    rmSync(folder, { recursive: true })
  })

  test(
    'quick items that change shared memory are run once each, though the last of them ends the worker',
    { skip: context === 'spawn' && !nativeStatus().isOn && 'without the addon no memory is shared' },
    async () => {
      const counts = sharedArray(Int32Array, 3)
      const add = (x: number): number | boolean | null | undefined => {
        if (x === 19_999) process.exit(4)
        Atomics.add(counts, x % 3, 1)
        return x % 7 === 0 ? [undefined, null, true, false][x % 4] : x / 2
      }
      const expected = (x: number): unknown => (x % 7 === 0 ? [undefined, null, true, false][x % 4] : x / 2)
      await using pool = new Pool({ processes: 1, context })
      await pool.map((x: number) => x, range(30_000), { chunkSize: 30_000 })
      // More than the journal has room for, and fewer.
      for (const count of [20_000, 20_001]) {
        counts.fill(0)
        const settled = await pool.mapSettled(add, range(count), { chunkSize: count })
        for (const [index, outcome] of settled.entries()) {
          if (index === 19_999) assert.equal(outcome.status, 'rejected')
          else assert.deepEqual(outcome, { status: 'fulfilled', value: expected(index) })
        }
        assert.equal(
          counts.reduce((sum, each) => sum + each),
          count - 1,
        )
      }
    },
  )
})
