/** Large binary data in and out of workers: always a copy, whoever changes it, dies or is asked again. */
import assert from 'node:assert/strict'
import { fstatSync } from 'node:fs'
import { describe, test } from 'node:test'
import { Pool, Process, WorkerDiedError } from 'multiproc'
import { sharedHeap } from '#src/platform/shared-heap.js'
import { forEachStartMethod } from '../conformance.js'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks, eventually } from '../leak-check.js'

checkLeaks()

const heap = sharedHeap()
const MIB = 1 << 20

/** The memory that the heap takes up now. */
function usedBytes(): number {
  heap.reap()
  return heap.fd === undefined ? 0 : fstatSync(heap.fd).blocks * 512
}

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))

forEachStartMethod(context => {
  test(`arrays of many sizes come back as they were sent (SEED=${seed})`, async () => {
    await using pool = new Pool({ processes: 2, context })
    let state = (seed % 2_147_483_646) + 1
    const random = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
    const sizes = [0, 1, 65_535, 65_536, 65_537, 262_143, 262_144, 3_000_000]
    for (let index = 0; index < 40; index++) sizes.push(Math.floor(random() * 300_000))
    const inputs = sizes.map((size, index) => new Uint8Array(size).map((_, at) => at * 31 + index))
    const same = (bytes: Uint8Array): Uint8Array => bytes
    assert.deepEqual(await Promise.all(inputs.map(bytes => pool.apply(same, [bytes]))), inputs)
    assert.deepEqual(await pool.map(same, inputs), inputs)
    const outputs: Uint8Array[] = []
    for await (const bytes of pool.imap(same, inputs)) outputs.push(bytes)
    assert.deepEqual(outputs, inputs)
  })

  test('an array that changes after the call arrives as it was, and what a worker changes stays with it', async () => {
    await using pool = new Pool({ processes: 2, context })
    const bytes = new Uint8Array(MIB)
    const overwrite = (array: Uint8Array): number => {
      const first = array[0]!
      if (!array.every(byte => byte === first)) return -1
      array.fill(0xee)
      return first
    }
    const results = Array.from({ length: 60 }, (_, index) => {
      // Every third call sends the same again.
      if (index % 3 === 0) bytes.fill(index)
      return pool.apply(overwrite, [bytes])
    })
    bytes.fill(0xff)
    assert.deepEqual(
      await Promise.all(results),
      results.map((_, index) => index - (index % 3)),
    )
    assert.ok(bytes.every(byte => byte === 0xff))
  })

  test('a result that a worker goes on changing arrives as it was', async () => {
    await using pool = new Pool({ processes: 1, context })
    const next = (): Uint8Array => {
      const own = globalThis as { array?: Uint8Array; count?: number }
      own.array ??= new Uint8Array(MIB)
      own.count = (own.count ?? 0) + 1
      return own.array.fill(own.count)
    }
    const results = await Promise.all(Array.from({ length: 20 }, () => pool.apply(next)))
    for (const [index, array] of results.entries()) assert.ok(array.every(byte => byte === index + 1))
  })

  test('a result is ordinary memory, which can be transferred', async () => {
    await using pool = new Pool({ processes: 1, context })
    const result = await pool.apply((size: number) => new Uint8Array(size).fill(7), [MIB])
    const moved = structuredClone(result, { transfer: [result.buffer] })
    assert.equal(result.length, 0)
    assert.deepEqual([moved.length, moved[MIB - 1]], [MIB, 7])
  })

  test('a large argument of the initializer reaches every worker, and those that replace them', async () => {
    const setUp = (bytes: Uint8Array): void => {
      ;(globalThis as { table?: Uint8Array }).table = bytes
    }
    const sum = (index: number): number => {
      const { table } = globalThis as unknown as { table: Uint8Array }
      const value = table[index]!
      table.fill(0xee)
      return value
    }
    const table = new Uint8Array(MIB).fill(3)
    await using pool = new Pool({
      processes: 2,
      context,
      initializer: setUp,
      initArgs: [table],
      maxTasksPerChild: 1,
    })
    table.fill(4)
    assert.deepEqual(
      await Promise.all([1, 2, 3, 4, 5, 6].map(index => pool.apply(sum, [index]))),
      [3, 3, 3, 3, 3, 3],
    )
  })

  test('what waited behind a task that killed its worker is run with the data that was sent', async () => {
    await using latches = await Latches.open()
    await using pool = new Pool({ processes: 1, context })
    const bytes = new Uint8Array(MIB).fill(1)
    const die = async (array: Uint8Array, address: string): Promise<void> => {
      array.fill(9)
      await passLatch(address, 'dying')
      process.exit(5)
    }
    const dead = pool.apply(die, [bytes, latches.address])
    await latches.arrival('dying')
    const rest = Array.from({ length: 5 }, (_, index) =>
      pool.apply(
        (array: Uint8Array) => array.every(byte => byte === array[0]) && array[0],
        [bytes.fill(index)],
      ),
    )
    latches.release('dying')
    await assert.rejects(dead, WorkerDiedError)
    assert.deepEqual(await Promise.all(rest), [0, 1, 2, 3, 4])
  })

  test('a process gets large arguments and returns a large result, at its very end', async () => {
    const child = new Process({
      target: (one: Uint8Array, two: Float64Array) => {
        setImmediate(() => process.exit(0))
        return { sum: one[5]! + two[5]!, large: new Uint8Array(30 * 2 ** 20).fill(8) }
      },
      args: [new Uint8Array(MIB).fill(2), new Float64Array(MIB).fill(0.5)],
      context,
    })
    child.start()
    const { sum, large } = await child.result()
    assert.equal(sum, 2.5)
    assert.ok(large.length === 30 * MIB && large.every(byte => byte === 8))
    await child.join()
  })
})

describe('memory', { skip: !heap.isNative }, () => {
  test('it does not grow with the number of messages, nor with the number of pools', async () => {
    const round = async (): Promise<void> => {
      await using pool = new Pool({ processes: 2 })
      const bytes = new Uint8Array(MIB)
      for (let turn = 0; turn < 10; turn++) {
        bytes.fill(turn)
        const copy = (array: Uint8Array): Uint8Array => array.slice()
        const fail = (array: Uint8Array): never => {
          throw new Error(`of ${array.length}`)
        }
        await Promise.all([
          ...Array.from({ length: 10 }, () => pool.apply(copy, [bytes])),
          ...Array.from({ length: 10 }, () => assert.rejects(pool.apply(fail, [bytes]))),
          pool.map(copy, [bytes, bytes.slice(), bytes.slice()]),
        ])
      }
    }
    await round()
    const after = usedBytes()
    for (let count = 0; count < 4; count++) await round()
    await eventually(() => usedBytes() <= after + 8 * MIB)
  })

  test('workers that are killed while large data comes and goes leave none of it behind', async () => {
    const before = usedBytes()
    for (let round = 0; round < 3; round++) {
      const pool = new Pool({ processes: 2 })
      const bytes = new Uint8Array(4 * MIB).fill(round)
      const work = Array.from({ length: 40 }, () =>
        pool
          .apply((array: Uint8Array) => array.slice(), [bytes])
          .then(
            array => array.every(byte => byte === round),
            (error: unknown) => error instanceof WorkerDiedError,
          ),
      )
      for (let count = 0; count < 4; count++) {
        await work[count * 5]
        const worker = pool.stats().workers.find(({ state }) => state === 'ready')
        if (worker?.pid !== undefined) process.kill(worker.pid, 'SIGKILL')
      }
      assert.ok((await Promise.all(work)).every(Boolean))
      await pool.terminate()
    }
    await eventually(() => usedBytes() <= before + 64 * MIB)
  })
})
