/** What workers do before their first task and at their end, and what lives in them between tasks. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { BrokenPoolError, ModuleLoadError, Pool, SerializeError, currentTask } from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks, eventually } from '../leak-check.js'
import { square } from './tasks.js'

checkLeaks()

const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
after(() => rmSync(folder, { recursive: true, force: true }))

let fileCount = 0
const newFile = (name: string, text?: string): string => {
  const path = join(folder, `${++fileCount}-${name}`)
  if (text !== undefined) writeFileSync(path, text)
  return path
}
const linesOf = (path: string): string[] =>
  existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean) : []
const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
const marksOf = (): string[] => (globalThis as { marks?: string[] }).marks ?? []

/** The next warning of that name; work of a pool must keep the program alive meanwhile. */
const finalizerWarning = async (): Promise<Error> => {
  for (;;) {
    const [warning] = (await once(process, 'warning')) as [Error]
    if (warning.name === 'FinalizerWarning') return warning
  }
}

forEachStartMethod(context => {
  describe('preload', () => {
    const marking = (mark: string): string =>
      `globalThis.marks = [...(globalThis.marks ?? []), ${JSON.stringify(mark)}]\nawait null\n`

    test('imports modules in their order, before the initializer', async () => {
      const first = newFile('first.mjs', marking('first'))
      const second = newFile('second.mjs', marking('second'))
      await using pool = new Pool({
        processes: 1,
        context,
        preload: [first, pathToFileURL(second), 'node:assert'],
        initializer: () => void (globalThis as { marks?: string[] }).marks!.push('initializer'),
      })
      assert.deepEqual(await pool.apply(marksOf), ['first', 'second', 'initializer'])
    })

    test('looks relative names up from the main file of the program', async () => {
      const name = `preloaded-${process.pid}-${context}.mjs`
      const path = join(process.argv[1]!, '..', name)
      writeFileSync(path, marking('relative'))
      try {
        await using pool = new Pool({ processes: 1, context, preload: `./${name}` })
        assert.deepEqual(await pool.apply(marksOf), ['relative'])
      } finally {
        rmSync(path)
      }
    })

    test('of a module that throws, or is not there, breaks the pool and says which', async () => {
      for (const [module, reason] of [
        [newFile('throws.mjs', 'throw new RangeError("not today")'), /not today/],
        [newFile('absent.mjs'), /absent/],
      ] as const) {
        const pool = new Pool({ processes: 1, context, preload: [module] })
        const failure = await pool.apply(square, [1]).catch((error: unknown) => error)
        assert.ok(failure instanceof BrokenPoolError)
        assert.equal(failure.code, 'ERR_INITIALIZER_FAILED')
        assert.match(failure.message, /"preload"/)
        assert.match(failure.message, reason)
        assert.ok(failure.cause instanceof ModuleLoadError)
        await pool.join()
      }
    })

    test('of a module that makes a pool itself is an error, and not a pool in each worker', async () => {
      const library = import.meta.resolve('multiproc')
      const module = newFile('pool.mjs', `import { Pool } from ${JSON.stringify(library)}\nnew Pool(1)`)
      const pool = new Pool({ processes: 1, context, preload: module })
      await assert.rejects(async () => await pool.apply(square, [1]), /still importing/)
      await pool.join()
    })
  })

  describe('workerState', () => {
    test('is what the initializer returned, one for each worker and the same for all of its tasks', async () => {
      await using pool = new Pool({
        processes: 2,
        context,
        // oxlint-disable-next-line typescript/require-await
        initializer: async (start: number) => ({ count: start }),
        initArgs: [10],
      })
      const counts = await pool.map(() => ++currentTask<{ count: number }>().workerState.count, range(40), {
        chunkSize: 1,
      })
      const repeated = counts.filter(count => count === 11).length
      assert.ok(repeated === 1 || repeated === 2, counts.join(' '))
      assert.equal(new Set(counts).size, Math.max(...counts) - 10)
    })

    test('is undefined without an initializer, and may be what cannot be sent', async () => {
      await using plain = new Pool({ processes: 1, context })
      assert.equal(await plain.apply(() => currentTask().workerState), undefined)
      await using pool = new Pool({ processes: 1, context, initializer: () => new WeakMap() })
      assert.equal(await pool.apply(() => currentTask().workerState instanceof WeakMap), true)
    })
  })

  describe('finalizer', () => {
    test('runs once in each worker when the pool is closed, after all tasks, with the state', async () => {
      const path = newFile('log')
      const pool = new Pool({
        processes: 2,
        context,
        initializer: () => ({ tasks: 0 }),
        finalizer: async ({ tasks }: { tasks: number }) => {
          await new Promise(resolve => setImmediate(resolve))
          appendFileSync(path, `${tasks}\n`)
        },
      })
      await pool.resize(2)
      await pool.map(() => void currentTask<{ tasks: number }>().workerState.tasks++, range(20))
      pool.close()
      await pool.join()
      const counts = linesOf(path).map(Number)
      assert.equal(counts.length, 2)
      assert.equal(counts[0]! + counts[1]!, 20)
    })

    test('runs when a worker is recycled, idle, or one too many', async () => {
      const recycled = newFile('recycled')
      {
        await using pool = new Pool({
          processes: 1,
          context,
          maxTasksPerChild: 2,
          finalizer: () => appendFileSync(recycled, 'end\n'),
        })
        await pool.map(square, range(4))
        await eventually(() => linesOf(recycled).length === 2)
      }
      const idle = newFile('idle')
      const finalizer = (): void => appendFileSync(idle, 'end\n')
      await using pool = new Pool({ processes: 2, context, idleTimeout: 50, minProcesses: 1, finalizer })
      await eventually(() => linesOf(idle).length === 1)
      assert.equal(pool.processes, 2)
      await using other = new Pool({ processes: 2, context, finalizer })
      await other.resize(2)
      await other.resize(1)
      assert.equal(linesOf(idle).length, 2)
    })

    test('does not run when the pool is terminated', async () => {
      const path = newFile('terminated')
      const pool = new Pool({ processes: 1, context, finalizer: () => appendFileSync(path, 'end\n') })
      await pool.apply(square, [1])
      await pool.terminate()
      assert.deepEqual(linesOf(path), [])
    })

    test('that throws is a warning with the cause, and the pool ends', async () => {
      const warning = finalizerWarning()
      const pool = new Pool({
        processes: 1,
        context,
        name: 'books',
        finalizer: () => {
          throw new RangeError('cannot balance')
        },
      })
      await pool.apply(square, [1])
      pool.close()
      await pool.join()
      const { message, cause } = await warning
      assert.match(message, /"books".*PoolWorker-1.*cannot balance/)
      assert.ok(cause instanceof RangeError)
    })

    for (const [name, finalizer] of Object.entries({
      'waits for ever': () => new Promise(() => {}),
      'is an endless loop': () => {
        for (;;);
      },
    })) {
      test(`that ${name} is a warning, and its worker is killed`, async () => {
        const warning = finalizerWarning()
        const pool = new Pool({ processes: 1, context, finalizerTimeout: 100, finalizer })
        await pool.apply(square, [1])
        pool.close()
        await pool.join()
        assert.match((await warning).message, /longer than 100 ms/)
      })
    }

    test('that ends its worker with another code than 0, or an error outside of it, is a warning', async () => {
      for (const [finalizer, reason] of [
        [() => process.exit(7), /exit code 7/],
        [
          () => {
            setImmediate(() => {
              throw new Error('left behind')
            })
            return new Promise(() => {})
          },
          /exit code 1/,
        ],
      ] as const) {
        const warning = finalizerWarning()
        const pool = new Pool({ processes: 1, context, finalizer })
        await pool.apply(square, [1])
        pool.close()
        await pool.join()
        assert.match((await warning).message, reason)
      }
    })

    test('that is killed is a warning, and the pool ends', { skip: context === 'thread' }, async () => {
      const warning = finalizerWarning()
      const pool = new Pool({
        processes: 1,
        context,
        finalizer: () => {
          process.kill(process.pid, 'SIGKILL')
          return new Promise(() => {})
        },
      })
      await pool.apply(square, [1])
      pool.close()
      await pool.join()
      assert.match((await warning).message, /killed by SIGKILL/)
    })

    test('does not hold up those who wait for work: the next worker starts meanwhile', async () => {
      await using latches = await Latches.open()
      const { address } = latches
      const pool = new Pool({
        processes: 1,
        context,
        maxTasksPerChild: 1,
        finalizerTimeout: 60_000,
        finalizer: () => passLatch(address, 'end'),
      })
      assert.equal(await pool.apply(square, [2]), 4)
      await latches.arrival('end')
      assert.equal(await pool.apply(square, [3]), 9)
      await pool.terminate()
    })

    test('that cannot be sent throws at the constructor', () => {
      const pending = Promise.resolve()
      assert.throws(() => new Pool({ processes: 1, context, finalizer: () => pending }), SerializeError)
    })
  })
})
