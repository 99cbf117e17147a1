/** `defaultPool()` and pools whose workers start on demand. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { after, describe, test } from 'node:test'
import { Pool, SharedArray, cpuCount, defaultPool } from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks, eventually } from '../leak-check.js'
import { square } from './tasks.js'

checkLeaks()

/** A program whose pool ends with it. */
async function outputOf(code: string): Promise<{ code: number; output: string }> {
  const child = spawn(process.execPath, [
    '--input-type=module',
    '-e',
    `import * as multiproc from ${JSON.stringify(import.meta.resolve('multiproc'))}\n${code}`,
  ])
  let output = ''
  child.stdout.on('data', data => (output += String(data)))
  child.stderr.on('data', data => (output += String(data)))
  const [exitCode] = (await once(child, 'close')) as [number]
  return { code: exitCode, output }
}

forEachStartMethod(method => {
  describe('onDemand', () => {
    test('starts no worker before there is work, and no more than the work needs', async () => {
      await using latches = await Latches.open()
      await using pool = new Pool({ processes: 3, context: method, onDemand: true })
      assert.deepEqual(pool.stats().workers, [])
      assert.equal(await pool.apply(square, [2]), 4)
      assert.equal(pool.stats().workers.length, 1)
      const held = [1, 2].map(() => pool.apply(passLatch, [latches.address, 'go']))
      await eventually(() => pool.stats().workers.filter(({ items }) => items > 0).length === 2)
      assert.equal(pool.stats().workers.length, 2)
      await eventually(() => {
        latches.release('go')
        return held.every(result => result.ready())
      })
      assert.deepEqual(await pool.map(square, [1, 2, 3]), [1, 4, 9])
    })

    test('what is submitted just before close() is done', async () => {
      const pool = new Pool({ processes: 2, context: method, onDemand: true })
      const result = pool.apply(square, [3])
      pool.close()
      await pool.join()
      assert.equal(await result, 9)
    })

    test('so it is when the idle workers have ended', async () => {
      const pool = new Pool({ processes: 1, context: method, idleTimeout: 1 })
      await eventually(() => pool.stats().workers.length === 0)
      const result = pool.apply(square, [3])
      pool.close()
      await pool.join()
      assert.equal(await result, 9)
    })

    test('a pool without work ends at once', async () => {
      const pool = new Pool({ processes: 2, context: method, onDemand: true })
      pool.close()
      await pool.join()
      assert.deepEqual(pool.stats().workers, [])
    })

    test('a larger pool has more workers only for the work that waits', async () => {
      await using latches = await Latches.open()
      await using pool = new Pool({ processes: 1, context: method, onDemand: true })
      const held = [1, 2, 3].map(() => pool.apply(passLatch, [latches.address, 'go']))
      await latches.arrival('go')
      await pool.resize(2)
      await eventually(() => pool.stats().workers.filter(({ items }) => items > 0).length === 2)
      assert.equal(pool.stats().workers.length, 2)
      await eventually(() => {
        latches.release('go')
        return held.every(result => result.ready())
      })
    })
  })

  describe('defaultPool()', () => {
    const pool = defaultPool({ method })
    // Its idle workers would end in 10 s: of a program that goes on, somebody has to stop them.
    after(async () => await Pool.prototype.terminate.call(pool))

    test('is one pool, whose workers start when they are needed', async () => {
      assert.equal(defaultPool({ method }), pool)
      assert.ok(pool instanceof Pool)
      assert.equal(pool.processes, cpuCount())
      assert.deepEqual(pool.stats().workers, [])
      assert.deepEqual(await pool.map(square, [1, 2, 3]), [1, 4, 9])
    })

    test('grows to the largest number that anybody asks for, and does not shrink', () => {
      const more = cpuCount() + 1
      assert.equal(defaultPool({ method, processes: more }), pool)
      assert.equal(pool.processes, more)
      assert.equal(defaultPool({ method, processes: 1 }).processes, more)
      assert.throws(() => pool.resize(1), { code: 'ERR_INVALID_STATE' })
    })

    test('cannot be closed, terminated or disposed of by one of its users', async () => {
      assert.throws(() => pool.close(), { code: 'ERR_INVALID_STATE', message: /other parts of the program/ })
      await assert.rejects(pool.terminate(), { code: 'ERR_INVALID_STATE' })
      await assert.rejects(pool.join(), { code: 'ERR_INVALID_STATE' })
      {
        await using mine = defaultPool({ method })
        assert.equal(await mine.apply(square, [2]), 4)
      }
      assert.equal(await pool.apply(square, [3]), 9)
    })

    test('in a worker is a pool of that worker, within the limits of nested pools', async () => {
      const nested = async (start: typeof method): Promise<number[]> => {
        const own = defaultPool({ method: start })
        const results = await own.map(n => n + 1, [1, 2])
        // Node.js leaks the files of a thread that ends with its parent while it loads its modules.
        while (own.stats().workers.some(({ state }) => state === 'starting')) {
          await new Promise(resolve => setImmediate(resolve))
        }
        return results
      }
      assert.deepEqual(await pool.apply(nested, [method]), [2, 3])
    })

    test('a worker that dies fails its task, and another takes its place', async () => {
      const ran = new SharedArray('i', 1)
      await assert.rejects(pool.apply(() => process.exit(3)).get(), { code: 'ERR_WORKER_DIED' })
      await pool.apply(() => ran.set([1], 0))
      assert.deepEqual([...ran], [1])
    })

    test('neither keeps the program alive nor warns when it ends', async () => {
      const program = `
        console.log(await multiproc.defaultPool({ method: '${method}' }).apply(x => x + 1, [1]))`
      assert.deepEqual(await outputOf(program), { code: 0, output: '2\n' })
    })
  })
})

test('a default pool that is broken is replaced by the next call', async () => {
  const program = `
    multiproc.setExecutable('/nowhere')
    const pool = multiproc.defaultPool()
    await pool.apply(x => x, [1]).catch(error => console.log(error.code))
    multiproc.setExecutable(process.execPath)
    const other = multiproc.defaultPool()
    console.log(other !== pool, await other.apply(x => x + 1, [1]))`
  assert.deepEqual(await outputOf(program), { code: 0, output: 'ERR_START_FAILED\ntrue 2\n' })
})

test('options that make no sense are refused', () => {
  assert.throws(() => defaultPool({ method: 'fork' as never }), /"method" must be 'spawn' or 'thread'/)
  assert.throws(() => defaultPool({ processes: 0 }), RangeError)
  assert.throws(() => defaultPool({ threads: 3 } as never), /no option "threads"/)
  assert.throws(() => new Pool({ onDemand: 1 as never }), /"onDemand"/)
})
