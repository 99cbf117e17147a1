/** What runs again after a failure, what does not, and when a pool gives up on an item or on itself. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import {
  BrokenPoolError,
  Pool,
  PoisonedItemError,
  TimeoutError,
  WorkerDiedError,
  currentTask,
} from 'multiproc'
import { RestartGuard, generationsMax } from '#src/pool/restart-guard.js'
import { checkRetries, isRetried, retryDelayMs } from '#src/pool/retry-policy.js'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks, eventually } from '../leak-check.js'
import { square } from './tasks.js'

checkLeaks()

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

forEachStartMethod(context => {
  describe('retries', () => {
    test('run an item again that threw or whose worker died, up to the limit, and no other', async () => {
      await using pool = new Pool({ processes: 2, context })
      const task = (x: number): number => {
        const { attempt } = currentTask()
        if (x === 3 && attempt < 3) throw new Error('not yet')
        if (x === 5 && attempt === 1) process.exit(1)
        if (x === 7) throw new RangeError(`attempt ${attempt}`)
        return 10 * x + attempt
      }
      const settled = await pool.mapSettled(task, range(9), { retries: 2, chunkSize: 3 })
      assert.deepEqual(
        settled.map(each => (each.status === 'fulfilled' ? each.value : (each.reason as Error).message)),
        [1, 11, 21, 33, 41, 52, 61, 'attempt 3', 81],
      )
    })

    test('give an item the data that it was given first, however large, whatever others are given meanwhile', async () => {
      await using pool = new Pool({ processes: 2, context })
      const task = (bytes: Uint8Array, fill: number, isKilled: boolean): number => {
        if (currentTask().attempt < 3 && fill % 2 === 1) {
          if (isKilled) process.exit(1)
          throw new Error('not yet')
        }
        return bytes.every(byte => byte === fill) ? fill : -1
      }
      const fills = range(24)
      const results = fills.map(fill => {
        const bytes = new Uint8Array(300_000).fill(fill)
        const result = pool.apply(task, [bytes, fill, fill % 8 === 1], { retries: { limit: 2, delay: 5 } })
        bytes.fill(255)
        return result
      })
      assert.deepEqual(await Promise.all(results), fills)
    })

    test('are decided by the policy, which sees the error and the attempt', async () => {
      await using pool = new Pool({ processes: 1, context })
      const seen: [string, number][] = []
      const task = (): never => {
        const { attempt } = currentTask()
        throw attempt === 1 ? new RangeError('passing') : new TypeError('lasting')
      }
      const when = (error: unknown, attempt: number): boolean => {
        seen.push([(error as Error).name, attempt])
        return error instanceof RangeError
      }
      await assert.rejects(pool.apply(task, [], { retries: { limit: 9, when } }).get(), TypeError)
      assert.deepEqual(seen, [
        ['RangeError', 1],
        ['TypeError', 2],
      ])
      const mistake = new SyntaxError('in the policy')
      const bad = pool.apply(task, [], {
        retries: {
          limit: 1,
          when: () => {
            throw mistake
          },
        },
      })
      await assert.rejects(bad.get(), mistake)
    })

    test('of the pool hold for its calls, and 0 lifts them', async () => {
      await using pool = new Pool({ processes: 1, context, retries: 1 })
      const task = (): number => {
        const { attempt } = currentTask()
        if (attempt === 1) throw new Error('once')
        return attempt
      }
      assert.equal(await pool.apply(task), 2)
      await assert.rejects(pool.apply(task, [], { retries: 0 }).get(), /once/)
    })

    test('that wait are given up with the pool', async () => {
      const pool = new Pool({ processes: 1, context })
      let failures = 0
      const when = (): boolean => ++failures > 0
      const waiting = pool.apply(
        () => {
          throw new Error('again')
        },
        [],
        { retries: { limit: 5, delay: 1e9, when } },
      )
      await eventually(() => failures > 0)
      await pool.terminate()
      await assert.rejects(waiting.get(), { code: 'ERR_TERMINATED' })
    })

    test('an item that kills one worker after the other is not sent a fourth time', async () => {
      await using pool = new Pool({ processes: 1, context })
      const settled = await pool.mapSettled(
        (x: number) => {
          if (x === 1) process.exit(9)
          return x
        },
        [0, 1, 2],
        { retries: Infinity, chunkSize: 3 },
      )
      const { reason } = settled[1] as PromiseRejectedResult
      assert.ok(reason instanceof PoisonedItemError && reason instanceof WorkerDiedError)
      const { code, deaths, taskIndex, exitCode } = reason
      assert.deepEqual(
        [code, deaths, taskIndex, exitCode, reason.reason],
        ['ERR_POISONED_ITEM', 3, 1, 9, 'exit'],
      )
      assert.deepEqual(
        settled.map(each => each.status),
        ['fulfilled', 'rejected', 'fulfilled'],
      )
    })
  })

  test('an item whose workers are killed for its time-out is poison, too', async () => {
    await using pool = new Pool({ processes: 1, context, gracePeriod: 0, maxDeathsPerItem: 2 })
    const spin = (): never => {
      for (;;);
    }
    const failure = await pool
      .apply(spin, [], { timeout: 100, retries: 5 })
      .catch((error: unknown) => error as Error)
    assert.ok(failure instanceof PoisonedItemError, String(failure))
    assert.equal(failure.deaths, 2)
    assert.equal(await pool.apply(square, [3]), 9)
  })

  test('join() during the pause before a restart waits for the work that is left', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
    const isWell = join(folder, 'isWell')
    const pool = new Pool({
      processes: 1,
      context,
      // Each worker is ready, and ends before anybody gives it something to do.
      initializer: () => {
        if (!existsSync(isWell)) setTimeout(() => process.exit(6), 20)
      },
    })
    await eventually(() => pool.stats().workers.length === 0)
    writeFileSync(isWell, '')
    const result = pool.apply(square, [3])
    pool.close()
    await pool.join()
    assert.equal(result.ready(), true)
    assert.equal(await result, 9)
    rmSync(folder, { recursive: true })
  })

  test('an initializer that never returns does not keep a closed pool from ending', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
    const hasBegun = join(folder, 'hasBegun')
    const pool = new Pool({
      processes: 1,
      context,
      initializer: () => {
        process.on('SIGTERM', () => {})
        writeFileSync(hasBegun, '')
        for (;;);
      },
    })
    await eventually(() => existsSync(hasBegun))
    pool.close()
    await pool.join()
    assert.deepEqual(pool.stats().workers, [])
    rmSync(folder, { recursive: true })
  })

  test('a pool whose workers die idle again and again breaks, and says why', async () => {
    const pool = new Pool({
      processes: 1,
      context,
      // Each worker is ready, and ends before anybody gives it something to do.
      initializer: () => void setTimeout(() => process.exit(6), 20),
    })
    await eventually(() => pool.stats().state === 'broken')
    let broken: unknown
    try {
      pool.apply(square, [1])
    } catch (error) {
      broken = error
    }
    assert.ok(broken instanceof BrokenPoolError)
    assert.equal(broken.code, 'ERR_RESTART_LIMIT')
    assert.match(broken.message, /6 times in a row.*exit code 6/)
    await pool.terminate()
  })
})

test(
  'heartbeat: a process that is stopped is killed, and one that computes is not',
  { skip: process.platform === 'win32' },
  async () => {
    await using pool = new Pool({ processes: 1, heartbeat: 500 })
    const died: unknown = await pool.apply(() => process.kill(process.pid, 'SIGSTOP')).catch(error => error)
    assert.ok(died instanceof WorkerDiedError)
    assert.deepEqual([died.reason, died.signal], ['frozen', 'SIGKILL'])
    const computed = await pool.apply(() => {
      const until = performance.now() + 1500
      while (performance.now() < until);
      return 'computed'
    })
    assert.equal(computed, 'computed')
  },
)

describe('a retry policy', () => {
  test('grows its delay by the factor up to delayMax, less what is left to chance', () => {
    const retries = checkRetries({ limit: 9, delay: 100, factor: 3, delayMax: 1000, jitter: 0.5 })!
    const delays = (chance: number): number[] =>
      [1, 2, 3, 4, 50].map(attempt => retryDelayMs(retries, attempt, () => chance))
    assert.deepEqual(delays(0), [100, 300, 900, 1000, 1000])
    assert.deepEqual(delays(1), [50, 150, 450, 500, 500])
  })

  test('counts deaths, errors and time-outs, but nothing that another run would only repeat', () => {
    const two = checkRetries(2)
    assert.equal(isRetried(two, new TimeoutError(''), 2), true)
    assert.equal(isRetried(two, 'text', 1), true)
    assert.equal(isRetried(two, new Error('late'), 3), false)
    assert.equal(isRetried(undefined, new Error('none'), 1), false)
    const facts = { pid: 1, workerName: '', exitCode: 1, signal: null }
    assert.equal(isRetried(two, new WorkerDiedError('', facts), 1), true)
    assert.equal(isRetried(two, new PoisonedItemError('', facts), 1), false)
  })
})

describe('RestartGuard', () => {
  test('counts workers that die together once, waits longer each time, and gives up', () => {
    const guard = new RestartGuard()
    for (let worker = 0; worker < 8; worker++) guard.noteUselessDeath(0)
    assert.deepEqual([guard.generation, guard.delayMs, guard.isExhausted], [1, 0, false])
    const delays: number[] = []
    while (!guard.isExhausted) {
      guard.noteUselessDeath(guard.generation)
      delays.push(guard.delayMs)
    }
    assert.equal(guard.generation, generationsMax)
    assert.deepEqual(delays, [50, 100, 200, 400, 800])
    guard.noteOutcome()
    assert.deepEqual([guard.generation, guard.delayMs], [0, 0])
  })
})
