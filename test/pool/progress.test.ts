/** What a call tells while it runs: `onProgress`, and what its tasks report to `onReport`. */
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { Pool, type Progress, type ReportInfo, SerializeError, currentTask } from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks } from '../leak-check.js'
import { refuse, square } from './tasks.js'

checkLeaks()

const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
const counts = ({ done, failed, retried, total, state }: Progress): unknown => ({
  done,
  failed,
  retried,
  total,
  state,
})

/** The next warning of a listener that failed. */
async function listenerWarning(): Promise<Error> {
  for (;;) {
    const [warning] = (await once(process, 'warning')) as [Error]
    if (warning.name === 'ListenerWarning') return warning
  }
}

forEachStartMethod(context => {
  describe('onProgress', () => {
    test('is told the final numbers once, before the result is there', async () => {
      await using pool = new Pool({ processes: 2, context })
      const seen: Progress[] = []
      await pool.map(square, range(1000), { onProgress: progress => void seen.push(progress) })
      const ended = seen.filter(({ state }) => state !== 'running')
      assert.deepEqual(ended.map(counts), [
        { done: 1000, failed: 0, retried: 0, total: 1000, state: 'finished' },
      ])
      assert.equal(seen.at(-1), ended[0])
      assert.equal(ended[0]!.workers, 2)
    })

    test('tells how many workers are busy while a call runs', async () => {
      await using latches = await Latches.open()
      const { address } = latches
      await using pool = new Pool({ processes: 2, context })
      let resolve!: (progress: Progress) => void
      const isBusy = new Promise<Progress>(settle => {
        resolve = settle
      })
      const result = pool.map(
        async (name: string) => {
          await passLatch(address, name)
        },
        ['a', 'b', 'c'],
        {
          chunkSize: 1,
          onProgress: progress => {
            if (progress.busyWorkers === 2 && progress.done === 1) resolve(progress)
          },
        },
      )
      await latches.arrival('a')
      latches.release('a')
      await latches.arrival('b')
      await latches.arrival('c')
      assert.deepEqual(counts(await isBusy), { done: 1, failed: 0, retried: 0, total: 3, state: 'running' })
      latches.release('b')
      latches.release('c')
      await result
    })

    test('counts failures and repeated runs, of map, mapSettled and imap', async () => {
      await using pool = new Pool({ processes: 2, context })
      const ends: unknown[] = []
      const options = {
        retries: 2,
        onProgress: (progress: Progress) => {
          if (progress.state !== 'running') ends.push(counts(progress))
        },
      }
      await assert.rejects(async () => await pool.map(refuse, [1, 2], options))
      await pool.mapSettled(refuse, [1, 2], options)
      for (const results = pool.imap(refuse, [1, 2], options); ;) {
        const next = await results.next().catch(() => undefined)
        if (next?.done) break
      }
      const each = { done: 2, failed: 2, retried: 4, total: 2, state: 'finished' }
      assert.deepEqual(ends, [each, each, each])
    })

    test('knows the total of a generator when it has ended, or when it is told', async () => {
      await using pool = new Pool({ processes: 1, context })
      function* numbers(): Generator<number> {
        yield* range(10)
      }
      const totals = new Set<number | undefined>()
      let first: Progress | undefined
      for await (const each of pool.imap(square, numbers(), {
        progress: { total: 10, clear: true, label: 'generator' },
        bufferSize: 1,
        onProgress: progress => {
          first ??= progress
          totals.add(progress.total)
        },
      })) {
        assert.equal(typeof each, 'number')
      }
      assert.deepEqual([...totals], [10])
    })

    test('says "stopped" when the call ends before its items: called off, dropped, terminated', async () => {
      await using latches = await Latches.open()
      const { address } = latches
      const pool = new Pool({ processes: 1, context })
      const states: string[] = []
      const onProgress = ({ state }: Progress): void => {
        if (state !== 'running') states.push(state)
      }
      const wait = async (name: string): Promise<void> => {
        await passLatch(address, name)
      }
      const called = pool.map(wait, ['a', 'b'], { onProgress })
      await latches.arrival('a')
      called.cancel()
      await assert.rejects(async () => await called)
      latches.release('a')
      const dropped = pool.imap(wait, ['c', 'd'], { onProgress })
      await latches.arrival('c')
      await dropped.return()
      latches.release('c')
      const terminated = pool.map(wait, ['e', 'f'], { onProgress })
      await latches.arrival('e')
      await pool.terminate()
      await assert.rejects(async () => await terminated)
      assert.deepEqual(states, ['stopped', 'stopped', 'stopped'])
    })

    test('a listener that throws or rejects is a warning, and the call goes on', async () => {
      await using pool = new Pool({ processes: 1, context })
      for (const onProgress of [
        () => {
          throw new RangeError('on purpose')
        },
        // oxlint-disable-next-line typescript/require-await -- it rejects
        async () => {
          throw new RangeError('on purpose')
        },
      ]) {
        const warned = listenerWarning()
        assert.deepEqual(await pool.map(square, [3], { onProgress }), [9])
        const warning = await warned
        assert.match(warning.message, /"onProgress".*on purpose/)
        assert.ok(warning.cause instanceof RangeError)
      }
    })

    test('is called in the async context of the call', async () => {
      await using pool = new Pool({ processes: 1, context })
      const storage = new AsyncLocalStorage<string>()
      const seen = new Set<string | undefined>()
      await storage.run('request 7', async () => {
        await pool.map(square, [1], {
          onProgress: () => void seen.add(storage.getStore()),
          onReport: () => void seen.add(storage.getStore()),
        })
        await pool.apply(() => currentTask().report(1), [], {
          onReport: () => void seen.add(storage.getStore()),
        })
      })
      assert.deepEqual([...seen], ['request 7'])
    })

    test('options that make no sense fail at the call', async () => {
      await using pool = new Pool({ processes: 1, context })
      const wrong = [
        { progress: 'yes' },
        { progress: { totl: 1 } },
        { progress: { label: 1 } },
        { onProgress: 1 },
        { onReport: 'x' },
      ]
      for (const options of wrong)
        assert.throws(() => pool.map(square, [1], options as object), { code: 'ERR_INVALID_ARGUMENT' })
      assert.throws(() => pool.apply(square, [1], { onReport: 1 } as object), {
        code: 'ERR_INVALID_ARGUMENT',
      })
    })
  })

  describe('currentTask().report()', () => {
    test('gives values to the call in order, before the result of the item, with its index', async () => {
      await using pool = new Pool({ processes: 2, context })
      const log: unknown[] = []
      const task = (x: number): number => {
        currentTask().report({ step: 1, x })
        currentTask().report([2n, x])
        return x
      }
      const results = pool.imapUnordered(task, [5, 6, 7], {
        chunkSize: 1,
        onReport: (value, { index, attempt, dropped }) => log.push([index, value, attempt, dropped]),
      })
      for await (const x of results) {
        const own = log.filter(entry => (entry as unknown[])[0] === x - 5)
        assert.deepEqual(own, [
          [x - 5, { step: 1, x }, 1, 0],
          [x - 5, [2n, x], 1, 0],
        ])
      }
    })

    test('comes while the task runs, also from one that gives the event loop no turn', async () => {
      await using pool = new Pool({ processes: 1, context })
      const path = join(folder, `${context}-turn`)
      const result = pool.apply(
        (file: string) => {
          currentTask().report('waiting')
          const deadline = Date.now() + 60_000
          while (!process.getBuiltinModule('node:fs').existsSync(file))
            if (Date.now() > deadline) return 'too late'
          return 'seen'
        },
        [path],
        { onReport: () => writeFileSync(path, '') },
      )
      assert.equal(await result, 'seen')
    })

    test('says in which run of an item it was made, after a failure and after the death of a worker', async () => {
      await using pool = new Pool({ processes: 1, context })
      for (const isDeadly of [false, true]) {
        const seen: unknown[] = []
        const result = await pool.map(
          (dies: boolean) => {
            const { attempt } = currentTask()
            currentTask().report(attempt)
            if (attempt === 1 && dies) process.exit(3)
            if (attempt === 1) throw new Error('on purpose')
            return attempt
          },
          [isDeadly],
          { retries: 1, onReport: (value, { attempt }) => seen.push([value, attempt]) },
        )
        assert.deepEqual(result, [2])
        assert.deepEqual(seen, [
          [1, 1],
          [2, 2],
        ])
      }
    })

    test('a task that reports among many quick ones and dies is the only one that fails', async () => {
      await using pool = new Pool({ processes: 1, context })
      const seen: unknown[] = []
      const outcomes = await pool.mapSettled(
        (x: number) => {
          if (x === 700) {
            currentTask().report(x)
            process.exit(3)
          }
          return x
        },
        range(1000),
        { chunkSize: 1000, onReport: value => seen.push(value) },
      )
      assert.deepEqual(seen, [700])
      assert.deepEqual(
        outcomes.flatMap(({ status }, index) => (status === 'rejected' ? [index] : [])),
        [700],
      )
    })

    test('fails at the call for a value that cannot be sent', async () => {
      await using pool = new Pool({ processes: 1, context })
      const failure = await pool
        .apply(() => currentTask().report(new WeakMap()), [], { onReport: () => {} })
        .catch((error: unknown) => error)
      assert.ok(failure instanceof SerializeError)
    })

    test('gives false when nobody listens, and when the task has ended', async () => {
      await using pool = new Pool({ processes: 1, context })
      assert.equal(await pool.apply(() => currentTask().report(1)), false)
      const seen: unknown[] = []
      const later = await pool.apply(
        () => {
          const task = currentTask()
          ;(globalThis as { left?: unknown }).left = task
          return task.report('in time')
        },
        [],
        { onReport: value => seen.push(value) },
      )
      const isLate = await pool.apply(
        () => (globalThis as unknown as { left: { report(value: unknown): boolean } }).left.report('late'),
        [],
        { onReport: value => seen.push(value) },
      )
      assert.deepEqual([later, isLate, seen], [true, false, ['in time']])
    })

    test('drops what the pool does not take, tells how many, and keeps the memory of the worker bounded', async () => {
      await using pool = new Pool({ processes: 1, context })
      const path = join(folder, `${context}-full`)
      const infos: ReportInfo[] = []
      const [sent, dropped] = await pool.apply(
        async (file: string) => {
          const task = currentTask()
          const value = 'x'.repeat(16 * 1024)
          let [accepted, refused] = [0, 0]
          while (refused < 10) {
            if (task.report(value)) accepted++
            else refused++
            if (accepted > 10_000) return [accepted, -1]
          }
          process.getBuiltinModule('node:fs').writeFileSync(file, '')
          while (!task.report('last')) {
            refused++
            // Sleep: the pool takes what is there whenever it has the time.
            await new Promise(resolve => setTimeout(resolve, 1))
          }
          return [accepted + 1, refused]
        },
        [path],
        {
          onReport: (_value, info) => {
            // The pool is busy with something else until the worker has noticed.
            const deadline = Date.now() + 60_000
            while (!existsSync(path) && Date.now() < deadline);
            infos.push(info)
          },
        },
      )
      assert.equal(infos.length, sent)
      assert.ok(dropped >= 10)
      assert.equal(infos.at(-1)!.dropped, dropped)
      assert.equal(infos[0]!.dropped, 0)
    })
  })
})
