/** The end of executors, as CPython's ExecutorShutdownTest and those of each kind; and of whole programs that use them. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { CancelledError, ClosedError, type Future, SharedArray } from 'multiproc'
import { wait } from 'multiproc/futures'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks, eventually, isRunning } from '../leak-check.js'
import { refuse, square } from '../pool/tasks.js'
import { type AnyExecutor, forEachExecutor, identity } from './executors.js'

checkLeaks()

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
/** Ends when it is stopped, and not before. */
const forEver = (): Promise<never> => new Promise(() => setInterval(() => {}, 60_000))
const isBusy = (executor: AnyExecutor): boolean => executor.stats().workers.some(({ items }) => items > 0)

forEachExecutor(({ name, make, Broken }) => {
  describe('shutdown()', () => {
    test('C372 test_run_after_shutdown: nothing can be submitted afterwards; it may be called again', async () => {
      const executor = make(1)
      await executor.shutdown()
      assert.throws(
        () => executor.submit(square, 2),
        (error: Error) =>
          error instanceof ClosedError &&
          /^Cannot submit work: the executor ".*" was shut down\nTo fix: submit before shutdown\(\)/.test(
            error.message,
          ),
      )
      assert.throws(() => executor.map(square, [2]), { code: 'ERR_CLOSED' })
      await executor.shutdown({ wait: false })
      await executor.shutdown({ cancelFutures: true })
    })

    test('C374 test_hang_issue12364, C295: everything that was submitted is done', async () => {
      const executor = make(2)
      const futures = range(50).map(n => executor.submit(square, n))
      await executor.shutdown()
      assert.ok(futures.every(future => future.done()))
      assert.deepEqual(await Promise.all(futures), range(50).map(square))
    })

    test('C389 test_shutdown_no_wait: returns at once, and everything is done nevertheless', async () => {
      const executor = make(2)
      const futures = range(10).map(n => executor.submit(square, n))
      await executor.shutdown({ wait: false })
      assert.ok(!futures.every(future => future.done()))
      assert.deepEqual(await Promise.all(futures), range(10).map(square))
      await eventually(() => executor.stats().workers.length === 0)
    })

    test('C358, C390: with a limit of tasks, a task that fails, and no waiting', async () => {
      const executor = make({ maxWorkers: 2, maxTasksPerChild: 1 })
      const failing = executor.submit(refuse, 'anybody')
      const others = range(4).map(n => executor.submit(square, n))
      await executor.shutdown({ wait: false })
      await assert.rejects(failing.result(), { name: 'Unwelcome' })
      assert.deepEqual(await Promise.all(others), [0, 1, 4, 9])
      await executor.shutdown()
    })

    test('C375, C385 test_cancel_futures: most are cancelled, and the rest end without an error', async () => {
      const executor = make(2)
      const later = (): Promise<void> => new Promise(resolve => void setImmediate(resolve))
      const futures = range(50).map(() => executor.submit(later))
      await executor.shutdown({ cancelFutures: true })
      const cancelled = futures.filter(future => future.cancelled())
      const others = futures.filter(future => !future.cancelled())
      assert.equal(cancelled.length, 48)
      await assert.rejects(cancelled[0]!.result(), CancelledError)
      for (const future of others) assert.equal(await future.exception(), null)
      const { done } = await wait(futures)
      assert.equal(done.size, 50)
    })

    test('cancelFutures leaves what runs, cancels all others when no worker is free, and stops maps', async () => {
      await using latches = await Latches.open()
      const executor = make(1)
      const running = executor.submit(passLatch, latches.address, 'go')
      const ran = new SharedArray('i', 3)
      const waiting = executor.submit(() => ran.set([1], 0))
      const results = executor.map(n => ran.set([1], n), [1, 2])
      await latches.arrival('go')
      const ended = executor.shutdown({ cancelFutures: true })
      assert.deepEqual([waiting.cancelled(), running.running()], [true, true])
      latches.release('go')
      await running
      await assert.rejects(results.next(), { code: 'ERR_CANCELLED' })
      await ended
      assert.deepEqual([...ran], [0, 0, 0])
    })

    test('C377 test_hang_gh94440: submit, cancel, shutdown, one after the other', async () => {
      for (let round = 0; round < 5; round++) {
        const executor = make(1)
        const futures = range(3).map(n => executor.submit(square, n))
        for (const future of futures) future.cancel()
        await executor.shutdown()
        assert.ok(futures.every(future => future.cancelled()))
      }
    })

    test('an executor that was not used ends without having started anything', async () => {
      const executor = make(4)
      assert.deepEqual(executor.stats().workers, [])
      await executor.shutdown()
    })

    test('P326: the end of its scope waits for everything', async () => {
      let future: Future<number>
      {
        await using executor = make(1)
        future = executor.submit(square, 5)
      }
      assert.equal(future.state, 'finished')
      assert.equal(await future, 25)
    })

    test('options that make no sense are refused', async () => {
      await using executor = make(1)
      await assert.rejects(executor.shutdown({ cancel: true } as never), /no option "cancel"/)
    })
  })

  describe('terminateWorkers() and killWorkers()', () => {
    for (const how of ['terminateWorkers', 'killWorkers'] as const) {
      test(`C364, C365, C367: ${how}() stops what runs, and cancels what waits`, async () => {
        await using latches = await Latches.open()
        const executor = make(1)
        const done = new SharedArray('i', 1)
        const running = executor.submit(async address => {
          await passLatch(address, 'go')
          done.set([1], 0)
        }, latches.address)
        const waiting = executor.submit(square, 2)
        await latches.arrival('go')
        const pids = executor.stats().workers.map(({ pid }) => pid!)
        await executor[how]()
        latches.release('go')
        const error = await running.exception()
        assert.ok(error instanceof Broken)
        assert.equal(error.code, 'ERR_TERMINATED')
        assert.ok(waiting.cancelled())
        assert.deepEqual([...done], [0])
        assert.deepEqual(executor.stats().workers, [])
        if (name === 'ProcessPoolExecutor') assert.ok(!pids.some(isRunning))
        assert.throws(() => executor.submit(square, 2), ClosedError)
        await executor.shutdown()
      })

      test(`C369: ${how}() before any worker has started does nothing but shut down`, async () => {
        const executor = make(2)
        await executor[how]()
        assert.throws(() => executor.submit(square, 2), ClosedError)
        await executor[how]()
      })

      test(`C360: ${how}() while workers are replaced starts no other, and ends all futures`, async () => {
        const executor = make({ maxWorkers: 2, maxTasksPerChild: 1 })
        const futures = range(20).map(n => executor.submit(square, n))
        await Promise.race(futures)
        await executor[how]()
        const { done } = await wait(futures)
        assert.equal(done.size, 20)
        for (const future of futures) void future.catch(() => {})
        assert.deepEqual(executor.stats().workers, [])
      })
    }

    test('killWorkers() does not wait for a worker that was asked to end and does not', async () => {
      const executor = make(1)
      const running = executor.submit(() => {
        process.on('SIGTERM', () => {})
        for (;;);
      })
      await eventually(() => isBusy(executor))
      const terminated = executor.terminateWorkers()
      await executor.killWorkers()
      await terminated
      assert.ok((await running.exception()) instanceof Broken)
    })
  })

  test('C380 test_del_shutdown, P337: one that is collected finishes its work, and its workers end', async () => {
    await using latches = await Latches.open()
    const drop = async (): Promise<{
      executor: WeakRef<AnyExecutor>
      futures: Future<unknown>[]
      results: AsyncIterator<number>
    }> => {
      const executor = make(1)
      const futures = [executor.submit(passLatch, latches.address, 'go'), executor.submit(square, 3)]
      const results = executor.map(square, [4])
      await latches.arrival('go')
      return { executor: new WeakRef(executor), futures, results }
    }
    const { executor, futures, results } = await drop()
    await eventually(() => {
      collectGarbage()
      return executor.deref() === undefined
    })
    latches.release('go')
    assert.equal(await futures[1], 9)
    assert.equal((await results.next()).value, 16)
    // That its workers end is checked at the end of the file, as for all.
  })

  test('C359: one that is collected while its last worker is to end finishes its work', async () => {
    const drop = (): { executor: WeakRef<AnyExecutor>; futures: Future<number>[] } => {
      const executor = make({ maxWorkers: 1, maxTasksPerChild: 1 })
      return { executor: new WeakRef(executor), futures: range(4).map(n => executor.submit(identity, n)) }
    }
    const { executor, futures } = drop()
    await futures[0]
    await eventually(() => {
      collectGarbage()
      return executor.deref() === undefined
    })
    assert.deepEqual(await Promise.all(futures), range(4))
  })

  describe('at the end of the program', { concurrency: 2 }, () => {
    async function outputOf(code: string): Promise<{ code: number; output: string }> {
      const child = spawn(process.execPath, [
        '--input-type=module',
        '-e',
        `import { ${name} as Executor } from ${JSON.stringify(import.meta.resolve('multiproc'))}\n${code}`,
      ])
      let output = ''
      child.stdout.on('data', data => (output += String(data)))
      child.stderr.on('data', data => (output += String(data)))
      const [exitCode] = (await once(child, 'close')) as [number]
      return { code: exitCode, output }
    }

    test('P336, C371 test_interpreter_shutdown: it waits for what was submitted', async () => {
      const ended = await outputOf(`
        const executor = new Executor(1)
        executor.submit(async () => {
          for (let turn = 0; turn < 100; turn++) await new Promise(resolve => setImmediate(resolve))
          console.log('done')
        })`)
      assert.deepEqual(ended, { code: 0, output: 'done\n' })
    })

    test('C376 test_hang_gh83386, C384: shutdown({ wait: false }) does not make it hang', async () => {
      const ended = await outputOf(`
        const executor = new Executor(1)
        const futures = [1, 2, 3].map(n => executor.submit(x => x * 2, n))
        executor.shutdown({ wait: false, cancelFutures: true })
        console.log(futures.filter(future => future.cancelled()).length, await futures[0])`)
      assert.deepEqual(ended, { code: 0, output: '2 2\n' })
    })

    test('an idle executor does not keep it alive', async () => {
      const ended = await outputOf(`
        const executor = (globalThis.executor = new Executor(2))
        console.log(await executor.submit(x => x * 2, 4))`)
      assert.deepEqual(ended, { code: 0, output: '8\n' })
    })

    test('a map that nobody reads on does not keep it alive', async () => {
      const ended = await outputOf(`
        function* naturals() { for (let n = 0; ; n++) yield n }
        const executor = (globalThis.executor = new Executor(1))
        const results = (globalThis.results = executor.map(x => x * 2, naturals(), { bufferSize: 3 }))
        console.log(await results.next(), await results.next())`)
      assert.deepEqual(ended, {
        code: 0,
        output: '{ done: false, value: 0 } { done: false, value: 2 }\n',
      })
    })

    test('C373 test_submit_after_interpreter_shutdown: submit() in a listener of exit is a clear error', async () => {
      const ended = await outputOf(`
        process.on('exit', () => {
          try {
            executor.submit(x => x, 1)
          } catch (error) {
            console.log(error.name, error.code, error.message.split('\\n')[0])
          }
        })
        const executor = new Executor(1)
        await executor.submit(x => x, 1)`)
      assert.deepEqual(ended, {
        code: 0,
        output:
          'ClosedError ERR_CLOSED Cannot submit work: the program is ending, and nothing can be waited for in a listener of "exit"\n',
      })
    })

    test('a failed future that nobody looks at does not end it', async () => {
      const ended = await outputOf(`
        const executor = new Executor(1)
        globalThis.future = executor.submit(() => { throw new Error('nobody cares') })
        await executor.shutdown()
        console.log(future.state)`)
      assert.deepEqual(ended, { code: 0, output: 'finished\n' })
    })
  })
})

test(
  'workers of an executor end when their program is killed',
  { skip: process.platform === 'win32' },
  async () => {
    const child = spawn(process.execPath, [
      '--input-type=module',
      '-e',
      `import { ProcessPoolExecutor } from ${JSON.stringify(import.meta.resolve('multiproc'))}
     const executor = new ProcessPoolExecutor(2)
     const futures = [1, 2].map(() => executor.submit(() => process.pid))
     console.log(executor.stats().workers.length, ...(await Promise.all(futures)))
     await executor.submit(${String(forEver)})`,
    ])
    const [line] = (await once(child.stdout, 'data')) as [Buffer]
    const [, ...pids] = line.toString().trim().split(' ').map(Number)
    child.kill('SIGKILL')
    await once(child, 'close')
    await eventually(() => !pids.some(isRunning))
  },
)
