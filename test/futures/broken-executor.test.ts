/**
 * Executors whose workers die, as CPython's ExecutorDeadlockTest, FailingInitializerMixin and the tests of
 * BrokenProcessPool: by default everything fails, as in Python, and with onWorkerDeath: 'replace' only what ran.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { BrokenExecutor, BrokenPoolError, type Future, Pool, WorkerDiedError } from 'multiproc'
import { wait } from 'multiproc/futures'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks, eventually } from '../leak-check.js'
import { square } from '../pool/tasks.js'
import { collect, dieHard, forEachExecutor, identity } from './executors.js'
import { type Deed, Mine, type Moment, layMine, typeOf } from './mines.js'

checkLeaks()

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

forEachExecutor(({ name, make, Broken }) => {
  const isProcess = name === 'ProcessPoolExecutor'

  describe('by default', () => {
    test('C309, C350: a task that ends its worker breaks the executor, and the error says with which code', async () => {
      await using executor = make(1)
      const error = await executor.submit(dieHard, 7).exception()
      assert.ok(error instanceof Broken)
      assert.ok(error instanceof BrokenExecutor)
      assert.ok(error instanceof BrokenPoolError)
      assert.equal(error.code, 'ERR_BROKEN_POOL')
      assert.match(error.message, /exit code 7/)
      assert.ok(error.cause instanceof WorkerDiedError)
      assert.equal(error.cause.exitCode, 7)
      assert.equal(error.cause.taskName, 'dieHard')
      assert.throws(
        () => executor.submit(square, 1),
        (later: unknown) => later instanceof Broken && later.code === 'ERR_BROKEN_POOL',
      )
      assert.throws(() => executor.map(square, [1]), Broken)
    })

    test(
      'C346 test_killed_child: a worker that is killed breaks it: pending futures fail, and later calls throw',
      { skip: isProcess ? false : 'threads cannot be killed alone' },
      async () => {
        await using latches = await Latches.open()
        await using executor = make(2)
        const running = executor.submit(passLatch, latches.address, 'go')
        const [killed, pending] = [
          executor.submit(passLatch, latches.address, 'go'),
          executor.submit(square, 2),
        ]
        const results = executor.map(square, [1, 2, 3])
        await eventually(() => executor.stats().workers.filter(({ items }) => items > 0).length === 2)
        process.kill(executor.stats().workers[0]!.pid!, 'SIGKILL')
        const futures = [running, killed, pending]
        const { done } = await wait(futures)
        assert.equal(done.size, 3)
        for (const future of futures) assert.ok((await future.exception()) instanceof Broken)
        // Some of its items may have been done before.
        await assert.rejects(collect(results), Broken)
        assert.deepEqual(await results.next(), { done: true, value: undefined })
        assert.throws(() => executor.submit(square, 2), Broken)
        await eventually(() => executor.stats().workers.length === 0)
      },
    )

    test(
      'an idle worker that is killed breaks it as well',
      { skip: isProcess ? false : 'threads cannot be killed alone' },
      async () => {
        await using executor = make(1)
        await executor.submit(square, 1)
        process.kill(executor.stats().workers[0]!.pid!, 'SIGTERM')
        await eventually(() => executor.stats().state === 'broken')
        assert.throws(() => executor.submit(square, 2), Broken)
      },
    )

    test('C347 test_broken_process_pool_traceback: each future has an error object of its own', async () => {
      await using executor = make(1)
      const futures = [executor.submit(dieHard, 1), ...range(4).map(n => executor.submit(square, n))]
      const errors = await Promise.all(futures.map(async future => await future.exception()))
      assert.equal(new Set(errors).size, 5)
      for (const error of errors) {
        assert.ok(error instanceof Broken)
        assert.ok(error.cause instanceof WorkerDiedError)
      }
    })

    test('what had finished keeps its result', async () => {
      await using executor = make(1)
      const first = executor.submit(square, 3)
      const fatal = executor.submit(dieHard, 1)
      assert.equal(await first, 9)
      assert.ok((await fatal.exception()) instanceof Broken)
      assert.equal(await first, 9)
    })

    test('a map gives what was done before the death, then the error, and ends', async () => {
      await using executor = make(1)
      const results = executor.map((n: number) => (n === 2 ? process.exit(3) : n), range(5), { chunkSize: 1 })
      assert.equal((await results.next()).value, 0)
      assert.equal((await results.next()).value, 1)
      await assert.rejects(results.next(), Broken)
      await assert.rejects(results.next(), Broken)
      assert.equal((await results.next()).done, true)
    })

    test('C317 test_shutdown_deadlock: a worker that dies after shutdown() does not make it hang', async () => {
      const executor = make(2)
      const future = executor.submit(dieHard, 1)
      await executor.shutdown()
      assert.ok((await future.exception()) instanceof Broken)
    })

    test('C368: it can be terminated and killed when it is broken', async () => {
      const executor = make(1)
      await executor.submit(dieHard, 1).exception()
      await executor.terminateWorkers()
      await executor.killWorkers()
      await executor.shutdown()
    })

    test('C319 test_crash_big_data: a worker that dies while large arguments are written is an error', async () => {
      await using executor = make(1)
      const large = new Uint8Array(20 << 20)
      const futures = [
        executor.submit(dieHard, 1),
        executor.submit(identity, large),
        executor.submit(identity, large),
      ]
      for (const future of futures) assert.ok((await future.exception()) instanceof Broken)
    })

    test('C320: thousands of calls at once, one of which kills its worker, all end', async () => {
      await using executor = make(2)
      const futures = range(5000).map(n =>
        n === 2500 ? executor.submit(dieHard, 1) : executor.submit(identity, n),
      )
      const { done } = await wait(futures)
      assert.equal(done.size, 5000)
      assert.ok((await futures[2500]!.exception()) instanceof Broken)
      for (const future of futures) {
        const error = await future.exception()
        assert.ok(error === null || error instanceof Broken)
      }
    })

    test('the WorkerDiedError of a pool in a task is that of the task, and breaks nothing', async () => {
      await using executor = make(1)
      const nested = executor.submit(async () => {
        await using pool = new Pool(1)
        return await pool.apply(() => process.exit(5))
      })
      const error = await nested.exception()
      assert.ok(error instanceof WorkerDiedError)
      assert.equal(error.exitCode, 5)
      assert.equal(await executor.submit(square, 2), 4)
    })
  })

  describe("with onWorkerDeath: 'replace'", () => {
    test('only the task that ran fails, and another worker goes on', async () => {
      await using executor = make({ maxWorkers: 1, onWorkerDeath: 'replace' })
      const futures = [executor.submit(square, 2), executor.submit(dieHard, 7), executor.submit(square, 3)]
      const error = await futures[1]!.exception()
      assert.ok(error instanceof WorkerDiedError)
      assert.equal(error.exitCode, 7)
      assert.deepEqual([await futures[0], await futures[2]], [4, 9])
    })

    test('a map goes on behind the item', async () => {
      await using executor = make({ maxWorkers: 2, onWorkerDeath: 'replace' })
      const results = executor.map((n: number) => (n === 1 ? process.exit(3) : n), range(4))
      assert.equal((await results.next()).value, 0)
      await assert.rejects(results.next(), WorkerDiedError)
      assert.deepEqual(await collect(results), [2, 3])
    })
  })

  describe('a failing initializer', () => {
    for (const onWorkerDeath of ['break', 'replace'] as const) {
      test(`C342, C415: breaks the executor and is told, also with '${onWorkerDeath}'`, async () => {
        const warned = once(process, 'warning') as Promise<[Error & { detail?: string }]>
        await using executor = make({
          maxWorkers: 1,
          onWorkerDeath,
          initializer: () => {
            throw new RangeError('error in initializer')
          },
        })
        const futures = range(3).map(n => executor.submit(square, n))
        for (const future of futures) {
          const error = await future.exception()
          assert.ok(error instanceof Broken)
          assert.equal(error.code, 'ERR_INITIALIZER_FAILED')
          assert.ok(error.cause instanceof RangeError)
        }
        assert.throws(() => executor.submit(square, 1), Broken)
        const [warning] = await warned
        assert.equal(warning.name, 'BrokenExecutorWarning')
        assert.match(warning.detail ?? '', /RangeError: error in initializer/)
      })
    }
  })

  describe('values that make trouble on the way', () => {
    interface Row {
      what: string
      of: 'argument' | 'result'
      moment: Moment
      deed: Deed
      /** Whether it ends the worker, and so breaks the executor. */
      isFatal: boolean
    }
    const rows: Row[] = [
      { what: 'C305, C306', of: 'argument', moment: 'encode', deed: 'throw', isFatal: false },
      { what: 'C200, C307', of: 'argument', moment: 'decode', deed: 'throw', isFatal: false },
      { what: 'C308', of: 'argument', moment: 'decode', deed: 'exit', isFatal: true },
      { what: 'C308', of: 'argument', moment: 'decode', deed: 'crash', isFatal: true },
      { what: 'C314', of: 'result', moment: 'encode', deed: 'throw', isFatal: false },
      { what: 'C313', of: 'result', moment: 'encode', deed: 'exit', isFatal: true },
      { what: 'C312', of: 'result', moment: 'encode', deed: 'crash', isFatal: true },
      { what: 'C315', of: 'result', moment: 'decode', deed: 'throw', isFatal: false },
    ]
    for (const { what, of, moment, deed, isFatal } of rows) {
      if (deed === 'crash' && !isProcess) continue
      const fate = isFatal ? 'breaks the executor' : 'fails its future, and the executor goes on'
      test(`${what}: "${deed}" at the ${moment} of the ${of} ${fate}`, async () => {
        await using executor = make(1)
        const future: Future<unknown> =
          of === 'argument'
            ? executor.submit(typeOf, new Mine(moment, deed))
            : executor.submit(layMine, moment, deed)
        const error = await future.exception()
        if (isFatal) {
          assert.ok(error instanceof Broken, String(error))
          assert.throws(() => executor.submit(square, 2), Broken)
        } else {
          assert.ok(error instanceof Error)
          assert.match(`${error.message} ${String(error.cause)}`, /gone off at/)
          assert.equal(await executor.submit(square, 2), 4)
        }
      })
    }

    test('C318 test_shutdown_deadlock_pickle: what cannot be sent, and then shutdown({ wait: false })', async () => {
      const executor = make(2)
      const future = executor.submit(identity, new WeakMap())
      await executor.shutdown({ wait: false })
      assert.equal(((await future.exception()) as Error).name, 'SerializeError')
    })
  })
})
