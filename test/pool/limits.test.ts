/** Time-outs and calling off: who is stopped, who is not, and what is left of the pool. */
import assert from 'node:assert/strict'
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { Pool, TimeoutError, currentTask } from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks, eventually } from '../leak-check.js'
import { square } from './tasks.js'

checkLeaks()

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
const spin = (): never => {
  for (;;);
}
/** Ends when it is told to, with the reason. */
const obey = async (): Promise<never> => {
  const { signal } = currentTask()
  await new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    if (signal.aborted) reject(signal.reason as Error)
  })
  throw new Error('not reached')
}
const failureOf = async (promise: PromiseLike<unknown>): Promise<Error & { code?: unknown }> => {
  try {
    await promise
  } catch (error) {
    return error as Error
  }
  return assert.fail('it did not reject')
}
const outcomes = (settled: readonly PromiseSettledResult<unknown>[]): unknown[] =>
  settled.map(each => (each.status === 'fulfilled' ? each.value : (each.reason as Error).name))

forEachStartMethod(context => {
  describe('a timeout', () => {
    test('one signal serves any number of calls, without a warning of too many listeners', async () => {
      await using pool = new Pool({ processes: 1, context })
      const warnings: string[] = []
      const note = ({ name }: Error): void => void warnings.push(name)
      process.on('warning', note)
      const { signal } = new AbortController()
      await Promise.all(Array.from({ length: 20 }, (_, n) => pool.apply(Math.abs, [n], { signal })))
      await new Promise(resolve => setImmediate(resolve))
      process.off('warning', note)
      assert.deepEqual(warnings, [])
    })

    test('of an item in synchronous code stops that item alone: the rest of its chunk is done', async () => {
      await using pool = new Pool({ processes: 1, context, gracePeriod: 0 })
      const settled = await pool.mapSettled((x: number) => (x === 2 ? spin() : x), range(5), {
        timeout: 200,
        chunkSize: 5,
      })
      assert.deepEqual(outcomes(settled), [0, 1, 'TimeoutError', 3, 4])
      const { reason } = settled[2] as PromiseRejectedResult
      assert.ok(reason instanceof TimeoutError)
      assert.match(reason.message, /item 2.* 200 ms/)
      assert.equal(reason.taskIndex, 2)
      assert.equal(await pool.apply(square, [3]), 9)
    })

    test('lets a task that listens end by itself, and its worker goes on', async () => {
      await using pool = new Pool({ processes: 1, context, gracePeriod: 60_000 })
      await pool.apply(square, [1])
      const [worker] = pool.stats().workers
      const failure = await failureOf(pool.apply(obey, [], { timeout: 50 }))
      assert.ok(failure instanceof TimeoutError)
      assert.equal(failure.taskIndex, undefined)
      assert.equal(await pool.apply(square, [3]), 9)
      assert.equal(pool.stats().workers[0]?.name, worker?.name)
    })

    test('counts from when the item begins, and not from the call', async () => {
      await using latches = await Latches.open()
      const { address } = latches
      await using pool = new Pool({ processes: 1, context })
      const before = pool.apply(passLatch, [address, 'before'])
      const waiting = pool.apply(square, [3], { timeout: 100 })
      await latches.arrival('before')
      // Sleep: longer than the timeout of the call that waits, which must not have begun to count.
      await new Promise(resolve => setTimeout(resolve, 200))
      latches.release('before')
      await before
      assert.equal(await waiting, 9)
    })

    test('of the pool holds for calls that say nothing, and Infinity lifts it', async () => {
      await using pool = new Pool({ processes: 1, context, timeout: 100 })
      assert.ok((await failureOf(pool.apply(obey))) instanceof TimeoutError)
      const patient = pool.apply(
        async () => {
          // Sleep: longer than the pool's timeout.
          await new Promise(resolve => setTimeout(resolve, 200))
          return 'done'
        },
        [],
        { timeout: Infinity },
      )
      assert.equal(await patient, 'done')
    })

    test('that is followed by a retry waits for the end of the first run', async () => {
      await using pool = new Pool({ processes: 2, context, gracePeriod: 0 })
      const task = async (): Promise<number> => {
        const { attempt } = currentTask()
        if (attempt < 3) await new Promise(() => {})
        return attempt
      }
      assert.equal(await pool.apply(task, [], { timeout: 150, retries: 5 }), 3)
      assert.ok((await failureOf(pool.apply(obey, [], { timeout: 50, retries: 1 }))) instanceof TimeoutError)
    })

    test('leaves the next item its own grace period', async () => {
      await using pool = new Pool({ processes: 1, context })
      const task = async (cleansUpMs: number): Promise<number> => {
        if (cleansUpMs < 0) return 0
        const { signal } = currentTask()
        await new Promise(resolve => {
          if (signal.aborted) resolve(undefined)
          else signal.addEventListener('abort', resolve, { once: true })
        })
        // Sleep: longer than what is left of the grace period of the one before.
        await new Promise(resolve => setTimeout(resolve, cleansUpMs))
        return 0
      }
      for (let round = 0; round < 20; round++) await pool.apply(task, [-1])
      const before = pool.stats().workers.map(each => each.name)
      // They travel together, and behind them many quick ones, so that the chunk has room for both.
      const first = pool.apply(task, [0], { timeout: 100, gracePeriod: 500 })
      const second = pool.apply(task, [1000], { timeout: 100, gracePeriod: 60_000 })
      const others = range(30).map(() => pool.apply(task, [-1]))
      assert.equal((await failureOf(first)).name, 'TimeoutError')
      assert.equal((await failureOf(second)).name, 'TimeoutError')
      await Promise.all(others)
      assert.deepEqual(
        pool.stats().workers.map(each => each.name),
        before,
      )
    })

    test('while the argument is decoded, which then fails, settles the item once', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
      const flag = join(folder, 'flag')
      const module = join(folder, 'argument.mjs')
      writeFileSync(
        module,
        `import { existsSync } from 'node:fs'
         import { isMainThread } from 'node:worker_threads'
         if (process.pid !== ${process.pid} || !isMainThread) {
           // Sleep: it is looked for the file again and again.
           while (!existsSync(${JSON.stringify(flag)})) await new Promise(resolve => setTimeout(resolve, 5))
           throw new Error('not here')
         }
         export const argument = () => 1`,
      )
      const { argument } = (await import(pathToFileURL(module).href)) as { argument: () => number }
      await using pool = new Pool({ processes: 1, context, gracePeriod: 60_000 })
      const settled = await pool.mapSettled((x: unknown) => typeof x, [argument, 2], {
        chunkSize: 1,
        timeout: 200,
        retries: {
          limit: 1,
          // Called when the time is up, and then the module goes on.
          when: () => {
            writeFileSync(flag, '')
            return false
          },
        },
      })
      assert.deepEqual(outcomes(settled), ['TimeoutError', 'number'])
      rmSync(folder, { recursive: true })
    })

    test('of a whole call stops what runs and never starts the rest', async () => {
      await using pool = new Pool({ processes: 1, context })
      const failure = await failureOf(pool.map(obey, range(100), { totalTimeout: 100 }))
      assert.ok(failure instanceof TimeoutError)
      assert.match(failure.message, /totalTimeout/)
      const iterator = pool.imap(obey, range(10), { totalTimeout: 100 })
      assert.ok((await failureOf(iterator.next())) instanceof TimeoutError)
      assert.equal(await pool.apply(square, [3]), 9)
    })
  })

  describe('AsyncResult.cancel()', () => {
    test('rejects at once, tells the task, and is false when there is nothing to cancel', async () => {
      await using pool = new Pool({ processes: 1, context })
      const result = pool.apply(obey)
      assert.equal(result.cancel(), true)
      const failure = await failureOf(result)
      assert.deepEqual([failure.name, failure instanceof DOMException], ['AbortError', true])
      assert.equal(result.cancel(), false)
      const done = pool.apply(square, [2])
      assert.equal(await done, 4)
      assert.equal(done.cancel(), false)
      const reason = new RangeError('changed my mind')
      const other = pool.apply(obey)
      other.cancel(reason)
      assert.equal(await failureOf(other), reason)
    })

    test('of a task in synchronous code has its worker replaced, and nothing else is lost', async () => {
      await using pool = new Pool({ processes: 1, context, gracePeriod: 0 })
      await pool.apply(square, [1])
      const endless = pool.apply(spin)
      const behind = range(20).map(x => pool.apply(square, [x]))
      endless.cancel()
      assert.equal((await failureOf(endless)).name, 'AbortError')
      assert.deepEqual(await Promise.all(behind), range(20).map(square))
    })

    const skip = context === 'thread' && 'a thread that imports a module is terminated only 15 s later'
    test(
      'while the function is loaded says nothing against the function, however often',
      { skip },
      async () => {
        const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
        const isLoading = join(folder, 'isLoading')
        const isWell = join(folder, 'isWell')
        const module = join(folder, 'slow.mjs')
        writeFileSync(
          module,
          `import { existsSync, writeFileSync } from 'node:fs'
         import { isMainThread } from 'node:worker_threads'
         if ((process.pid !== ${process.pid} || !isMainThread) && !existsSync(${JSON.stringify(isWell)})) {
           writeFileSync(${JSON.stringify(isLoading)}, '')
           await new Promise(() => setInterval(() => {}, 1000))
         }
         export const well = () => 'well'`,
        )
        const { well } = (await import(pathToFileURL(module).href)) as { well: () => string }
        await using pool = new Pool({ processes: 1, context, gracePeriod: 0 })
        for (let round = 0; round < 3; round++) {
          const result = pool.apply(well)
          await eventually(() => existsSync(isLoading))
          const [before] = pool.stats().workers
          result.cancel()
          await failureOf(result)
          await eventually(() => !pool.stats().workers.some(each => each.name === before?.name))
          rmSync(isLoading)
        }
        writeFileSync(isWell, '')
        assert.equal(await pool.apply(well), 'well')
        rmSync(folder, { recursive: true })
      },
    )

    test('of a map: what is queued never starts', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
      try {
        await using latches = await Latches.open()
        const { address } = latches
        const log = join(folder, 'log')
        writeFileSync(log, '')
        await using pool = new Pool({ processes: 1, context })
        const mapped = pool.map(
          async (x: number) => {
            appendFileSync(log, `${x}\n`)
            if (x === 1) await passLatch(address, 'running')
            return x
          },
          range(50),
          { chunkSize: 10 },
        )
        await latches.arrival('running')
        mapped.cancel()
        assert.equal((await failureOf(mapped)).name, 'AbortError')
        latches.release('running')
        assert.equal(await pool.apply(square, [3]), 9)
        assert.deepEqual(readFileSync(log, 'utf8').trim().split('\n'), ['0', '1'])
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    })

    test('of a map whose items never turn the event loop stops between two of them', async () => {
      await using pool = new Pool({ processes: 1, context, gracePeriod: 60_000 })
      await pool.apply(square, [1])
      const [worker] = pool.stats().workers
      // Without an end of its own before the deadline of the test, unless it is called off.
      const work = (): number => {
        const until = performance.now() + 5
        while (performance.now() < until);
        return 1
      }
      const mapped = pool.map(work, range(100_000), { chunkSize: 100_000 })
      const first = pool.apply(square, [2])
      mapped.cancel()
      await failureOf(mapped)
      assert.equal(await first, 4)
      assert.equal(pool.stats().workers[0]?.name, worker?.name)
    })
  })

  describe('an AbortSignal', () => {
    test('calls off a call, a map and an iterator, with its reason, and leaves no listener', async () => {
      await using pool = new Pool({ processes: 1, context })
      const controller = new AbortController()
      const { signal } = controller
      const calls = [
        pool.apply(obey, [], { signal }),
        pool.map(obey, range(10), { signal }),
        pool.imap(obey, range(10), { signal }).next(),
      ]
      const reason = new Error('enough')
      controller.abort(reason)
      for (const call of calls) assert.equal(await failureOf(call), reason)
      assert.equal(await failureOf(pool.apply(square, [1], { signal })), reason)
      assert.equal(await pool.apply(square, [3]), 9)
    })

    test('of the pool calls off all of its calls, and refuses later ones', async () => {
      const controller = new AbortController()
      await using pool = new Pool({ processes: 1, context, signal: controller.signal })
      const calls = [pool.apply(obey), pool.apply(square, [1]), pool.map(square, range(100))]
      controller.abort()
      for (const call of calls) assert.equal((await failureOf(call)).name, 'AbortError')
      assert.throws(() => pool.apply(square, [1]), { name: 'AbortError' })
    })

    test('leaving a loop over imap() starts nothing more, and lets what runs go on', async () => {
      await using pool = new Pool({ processes: 1, context })
      const seen: number[] = []
      for await (const value of pool.imap(square, range(1000))) {
        seen.push(value)
        if (seen.length === 3) break
      }
      assert.deepEqual(seen, [0, 1, 4])
      assert.equal(await pool.apply(square, [3]), 9)
    })
  })

  test('currentTask() knows the item behind one that cannot be sent', async () => {
    await using pool = new Pool({ processes: 1, context })
    const settled = await pool.mapSettled(() => currentTask().index, [1, new WeakMap(), 3, 4], {
      chunkSize: 4,
    })
    assert.deepEqual(outcomes(settled), [0, 'SerializeError', 2, 3])
  })

  test('currentTask() knows the item and the attempt, and exists only in tasks', async () => {
    assert.throws(() => currentTask(), { code: 'ERR_INVALID_STATE' })
    await using pool = new Pool({ processes: 1, context })
    const task = (x: number): unknown => {
      const { index, attempt, workerName, signal } = currentTask()
      if (x === 1 && attempt === 1) throw new Error('once more')
      return [index, attempt, workerName, signal.aborted]
    }
    assert.deepEqual(await pool.map(task, [0, 1, 2], { retries: 1 }), [
      [0, 1, 'PoolWorker-1', false],
      [1, 2, 'PoolWorker-1', false],
      [2, 1, 'PoolWorker-1', false],
    ])
    const single = await pool.apply(() => currentTask().index ?? 'none')
    assert.equal(single, 'none')
  })

  test('whoever is called off when: every other call runs exactly once', async t => {
    const seed = Number(process.env['SEED'] ?? 1)
    t.diagnostic(`SEED=${seed}`)
    let state = seed >>> 0
    const random = (): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state / 2 ** 32
    }
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
    try {
      const log = join(folder, 'log')
      writeFileSync(log, '')
      await using pool = new Pool({ processes: 2, context, gracePeriod: 0 })
      const work = (x: number, ms: number): number => {
        appendFileSync(log, `${x}\n`)
        const until = performance.now() + ms
        while (performance.now() < until);
        return x
      }
      await pool.map(square, range(10))
      const calls = range(400).map(x => ({ x, result: pool.apply(work, [x, 3 * random()]) }))
      const cancelled = new Set<number>()
      const attempts: Promise<void>[] = []
      for (const { x, result } of calls) {
        attempts.push(
          (async () => {
            // The next one, or one of those behind it, is called off while they begin.
            const value: unknown = await result.catch((error: unknown) => (error as Error).name)
            const victim = calls[x + 1 + Math.floor(random() * 3)]
            if (random() < 0.04 && victim?.result.cancel() === true) cancelled.add(victim.x)
            assert.ok(
              value === x || (cancelled.has(x) && value === 'AbortError'),
              `${x} gave ${String(value)}`,
            )
          })(),
        )
      }
      await Promise.all(attempts)
      const ran = readFileSync(log, 'utf8').trim().split('\n').map(Number)
      const expected = range(400).filter(x => !cancelled.has(x))
      assert.deepEqual(
        ran.filter(x => !cancelled.has(x)).toSorted((a, b) => a - b),
        expected,
      )
      assert.equal(new Set(ran).size, ran.length)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

test('options that make no sense are refused, with their names', async () => {
  await using pool = new Pool(1)
  const refused: [object, RegExp][] = [
    [{ timeout: 0 }, /"timeout"/],
    [{ timeout: '5' }, /"timeout"/],
    [{ gracePeriod: -1 }, /"gracePeriod"/],
    [{ retries: -1 }, /"retries/],
    [{ retries: 1.5 }, /"retries"/],
    [{ retries: { limit: 1, jitter: 2 } }, /"retries.jitter"/],
    [{ retries: { limit: 1, when: 3 } }, /"retries.when"/],
    [{ retries: { times: 1 } }, /"times"/],
    [{ signal: {} }, /"signal"/],
    [{ timeOut: 1 }, /"timeOut"/],
  ]
  for (const [options, message] of refused) {
    assert.throws(() => pool.apply(square, [1], options), { code: 'ERR_INVALID_ARGUMENT', message })
    assert.throws(() => pool.map(square, [1], options), { code: 'ERR_INVALID_ARGUMENT', message })
  }
  assert.throws(() => new Pool({ context: 'thread', heartbeat: 1000 }), /"heartbeat"/)
  assert.throws(() => new Pool({ signal: AbortSignal.abort() }), { name: 'AbortError' })
})
