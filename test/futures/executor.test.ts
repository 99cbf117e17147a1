/** Submitting and mapping, as CPython's ExecutorTest, ProcessPoolExecutorTest and ThreadPoolExecutorTest. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expectTypeOf } from 'expect-type'
import {
  Executor,
  ExecutorMap,
  Future,
  InterpreterPoolExecutor,
  ProcessPoolExecutor,
  RemoteError,
  SerializeError,
  SharedArray,
  ThreadPoolExecutor,
  TimeoutError,
  asCompleted,
  currentProcess,
} from 'multiproc'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks, eventually } from '../leak-check.js'
import { Unwelcome, refuse, square, squareLater } from '../pool/tasks.js'
import { collect, forEachExecutor, identity } from './executors.js'

checkLeaks()

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

function* naturals(read = { count: 0 }): Generator<number> {
  for (;;) yield read.count++
}

forEachExecutor(({ make }) => {
  test('C279 test_submit, C280 test_submit_keyword: give a future with the result', async () => {
    await using executor = make(2)
    const future = executor.submit(Math.pow, 2, 8)
    expectTypeOf(future).toEqualTypeOf<Future<number>>()
    assert.equal(await future.result(), 256)
    assert.equal(future.state, 'finished')
    // Keywords are an object here, whose names cannot clash with anything.
    const sum = (a: number, { self, fn }: { self: number; fn: number }): number => a + self + fn
    assert.equal(await executor.submit(sum, 1, { self: 2, fn: 3 }), 6)
    assert.equal(await executor.submit(squareLater, 7), 49)
    assert.throws(() => executor.submit(undefined as never), TypeError)
  })

  test('C422 test_submit_exception_in_func: an error has its class, and a cause that tells where it was thrown', async () => {
    await using executor = make(1)
    const error = await executor.submit(refuse, 'Bob').exception()
    assert.ok(error instanceof Unwelcome)
    assert.equal(error.guest, 'Bob')
    assert.ok(error.cause instanceof RemoteError)
    assert.match(error.stack ?? '', /--- called from ---\n.*executor\.test/)
  })

  test('closures, methods and local classes can be submitted, which Python refuses', async () => {
    await using executor = make(1)
    const offset = 10
    class Adder {
      readonly n: number
      constructor(n: number) {
        this.n = n
      }
      add(x: number): number {
        return this.n + x + offset
      }
    }
    const adder = new Adder(1)
    assert.equal(await executor.submit(x => adder.add(x), 2), 13)
    assert.equal((await executor.submit(identity, adder)).add(0), 11)
  })

  test('P331: what cannot be sent fails its future, and the executor goes on', async () => {
    await using executor = make(1)
    const unsendable = executor.submit(identity, new WeakMap())
    assert.equal(unsendable.done(), true)
    const error = await unsendable.exception()
    assert.ok(error instanceof SerializeError)
    assert.match(error.stack ?? '', /executor\.test/)
    assert.equal(await executor.submit(identity, 1), 1)
  })

  test('C281 test_map, C348 test_map_chunksize: the results are in order', async () => {
    await using executor = make(2)
    const results = executor.map(square, range(50))
    expectTypeOf(results).toEqualTypeOf<ExecutorMap<number>>()
    assert.deepEqual(await collect(results), range(50).map(square))
    for (const chunkSize of [6, 40, 50]) {
      assert.deepEqual(await collect(executor.map(square, range(50), { chunkSize })), range(50).map(square))
    }
    assert.throws(() => executor.map(square, range(3), { chunkSize: -1 }), RangeError)
  })

  test('map() of several inputs ends with the shortest', async () => {
    await using executor = make(2)
    const sums = executor.map((a: number, b: number) => a + b, range(5), new Set([10, 20, 30]))
    assert.deepEqual(await collect(sums), [10, 21, 32])
    async function* later(): AsyncGenerator<string> {
      yield* ['a', 'b']
    }
    const joined = executor.map((n: number, text: string) => `${n}${text}`, naturals(), later())
    assert.deepEqual(await collect(joined), ['0a', '1b'])
    assert.deepEqual(await collect(executor.map(square, 'never'.slice(5) as never)), [])
  })

  test('C282 test_map_exception: fails at the position of the item, and the following call goes on', async () => {
    await using executor = make(2)
    const check = (n: number): number => (n === 2 ? refuse(n) : n)
    const results = executor.map(check, range(4))
    assert.deepEqual([(await results.next()).value, (await results.next()).value], [0, 1])
    await assert.rejects(results.next(), Unwelcome)
    assert.deepEqual(await results.next(), { done: false, value: 3 })
    assert.deepEqual(await results.next(), { done: true, value: undefined })
  })

  test('C283 test_map_timeout_from_callable: a TimeoutError of the task is not that of the map', async () => {
    await using executor = make(1)
    const late = (n: number): number => {
      if (n === 0) throw new TimeoutError('of the task')
      return n
    }
    const results = executor.map(late, [0, 1], { timeout: 60_000 })
    await assert.rejects(results.next(), { message: 'of the task' })
    assert.equal((await results.next()).value, 1)
  })

  test('C284, C398: the timeout of a map ends it, and what has not begun never does', async () => {
    await using latches = await Latches.open()
    const { address } = latches
    await using executor = make(1)
    const begun = new SharedArray('i', 4)
    const results = executor.map(
      async (n: number) => {
        begun.set([1], n)
        await passLatch(address, 'go')
        return n
      },
      range(4),
      { timeout: 200, chunkSize: 1 },
    )
    const first = results.next()
    await assert.rejects(first, { name: 'TimeoutError', code: 'ERR_TIMEOUT' })
    assert.deepEqual(await results.next(), { done: true, value: undefined })
    latches.release('go')
    // A task that comes behind those of the map, if they were still there.
    const last = executor.submit(identity, 'last')
    while (!last.done()) {
      latches.release('go')
      await new Promise(resolve => setImmediate(resolve))
    }
    assert.ok([...begun].filter(Boolean).length <= 1, `begun: ${[...begun].join()}`)
  })

  test('C286, C287: a buffer size that makes no sense is refused, as are other options', async () => {
    await using executor = make(1)
    for (const bufferSize of ['1', 1.5, 0, -1]) {
      const kind = typeof bufferSize === 'string' ? TypeError : RangeError
      assert.throws(() => executor.map(identity, [1], { bufferSize: bufferSize as number }), kind)
    }
    assert.throws(() => executor.map(identity, [1], { bufferSise: 1 } as never), /no option "bufferSise"/)
    assert.throws(() => executor.map(identity, [1], { timeout: NaN }), RangeError)
    assert.throws(() => executor.map(identity, 7 as never), TypeError)
  })

  test('C288, C289: a buffer size changes no result', async () => {
    await using executor = make(2)
    for (const bufferSize of [1, 3, 4, 10]) {
      assert.deepEqual(await collect(executor.map(square, range(4), { bufferSize })), [0, 1, 4, 9])
      const sums = executor.map((a: number, b: number) => a + b, range(4), range(3), { bufferSize })
      assert.deepEqual(await collect(sums), [0, 2, 4])
    }
  })

  test('C290, C291: with a buffer size the input may be endless', async () => {
    await using executor = make(2)
    for (const results of [
      executor.map(square, naturals(), { bufferSize: 2 }),
      executor.map((a: number, b: number) => a * b, naturals(), naturals(), { bufferSize: 2 }),
    ]) {
      for (const n of range(6)) assert.equal((await results.next()).value, n * n)
      await results.return()
      assert.equal((await results.next()).done, true)
    }
  })

  test('C292, C293: an empty input, and no input, give nothing', async () => {
    await using executor = make(1)
    assert.deepEqual(await collect(executor.map(square, [], { bufferSize: 4 })), [])
    assert.deepEqual(await collect(executor.map(square, ...([] as unknown as [number[]]))), [])
    assert.deepEqual(await collect(executor.map(square, { bufferSize: 4 } as never)), [])
    assert.deepEqual(executor.stats().workers, [])
  })

  test('C294 test_map_buffersize_when_buffer_is_full: no more is read before results are taken', async () => {
    const read = { count: 0 }
    const executor = make(2)
    const results = executor.map(square, naturals(read), { bufferSize: 2 })
    assert.equal(read.count, 2)
    assert.equal((await results.next()).value, 0)
    await eventually(() => read.count === 3)
    await executor.shutdown()
    assert.equal(read.count, 3)
    assert.equal((await results.next()).value, 1)
    assert.equal((await results.next()).value, 4)
    await assert.rejects(results.next(), { code: 'ERR_CLOSED' })
  })

  test('C392 test_map_submits_without_iteration: all items run although nobody reads', async () => {
    const done = new SharedArray('i', 10)
    const executor = make(2)
    const run = (n: number): void => done.set([1], n)
    // What is dropped at once, from a generator as from an array.
    executor.map(run, range(5))
    executor.map(
      run,
      (function* () {
        for (let n = 5; n < 10; n++) yield n
      })(),
    )
    collectGarbage()
    await executor.shutdown()
    assert.deepEqual([...done], Array(10).fill(1))
  })

  test('an input that throws fails the map at its position', async () => {
    await using executor = make(1)
    const results = executor.map(
      square,
      (function* () {
        yield 3
        throw new Unwelcome('input')
      })(),
    )
    assert.equal((await results.next()).value, 9)
    await assert.rejects(results.next(), Unwelcome)
    assert.equal((await results.next()).done, true)
  })

  test('C296 test_no_stale_references: neither a function nor its arguments are kept after its end', async () => {
    await using executor = make(1)
    const references = await (async () => {
      const held = { text: 'x'.repeat(10) }
      const task = (other: object): number => Object.keys(other).length + held.text.length
      const argument = { a: 1 }
      await executor.submit(task, argument)
      return [held, task, argument].map(each => new WeakRef(each))
    })()
    await executor.submit(identity, 1)
    await eventually(() => {
      collectGarbage()
      return references.every(reference => reference.deref() === undefined)
    })
  })

  test('C298 test_free_reference: results that a map has given are not kept', async () => {
    await using executor = make(1)
    const results = executor.map((n: number) => ({ n }), range(3))
    const references: WeakRef<object>[] = []
    for (let index = 0; index < 2; index++) references.push(new WeakRef((await results.next()).value!))
    await eventually(() => {
      collectGarbage()
      return references.every(reference => reference.deref() === undefined)
    })
    assert.deepEqual((await results.next()).value, { n: 2 })
  })

  test('C352, C394, C423 test_saturation: many jobs start exactly as many workers as there may be', async () => {
    await using latches = await Latches.open()
    const executor = make(3)
    assert.deepEqual(executor.stats().workers, [])
    const futures = range(45).map(() => executor.submit(passLatch, latches.address, 'go'))
    await eventually(() => executor.stats().workers.filter(({ items }) => items > 0).length === 3)
    assert.equal(executor.stats().workers.length, 3)
    assert.equal(executor.maxWorkers, 3)
    await eventually(() => {
      latches.release('go')
      return futures.every(future => future.done())
    })
    await executor.shutdown()
  })

  test('C353, C427 test_idle_thread_reuse: jobs one after the other need one worker', async () => {
    await using executor = make(3)
    for (const n of range(5)) assert.equal(await executor.submit(square, n), n * n)
    assert.equal(executor.stats().workers.length, 1)
  })

  test('C354 test_idle_process_reuse_multiple: jobs that overlap start no more workers than they need', async () => {
    await using executor = make(3)
    for (let round = 0; round < 3; round++) {
      await Promise.all([executor.submit(square, 1), executor.submit(square, 2)])
    }
    assert.equal(executor.stats().workers.length, 2)
  })

  test('C424, C425 test_blocking: tasks that block are let go one after the other', async () => {
    await using latches = await Latches.open()
    await using executor = make(2)
    const futures = range(5).map(n => executor.submit(passLatch, latches.address, `latch ${n}`))
    for (const n of range(5)) {
      await latches.arrival(`latch ${n}`)
      assert.equal(futures[n]!.running(), true)
      latches.release(`latch ${n}`)
      await futures[n]
    }
  })

  test('a future that waits can be cancelled and never runs; one that runs cannot', async () => {
    await using latches = await Latches.open()
    await using executor = make(1)
    const ran = new SharedArray('i', 2)
    const running = executor.submit(passLatch, latches.address, 'go')
    const waiting = [0, 1].map(n => executor.submit(index => ran.set([1], index), n))
    await latches.arrival('go')
    assert.deepEqual([running.cancel(), running.running()], [false, true])
    assert.deepEqual([waiting[0]!.cancel(), waiting[0]!.cancelled()], [true, true])
    latches.release('go')
    await waiting[1]
    assert.deepEqual([...ran], [0, 1])
    await assert.rejects(waiting[0]!.result(), { code: 'ERR_CANCELLED' })
  })

  test('callbacks run with the future, and asCompleted() gives futures as they end', async () => {
    await using latches = await Latches.open()
    await using executor = make(2)
    const slow = executor.submit(passLatch, latches.address, 'go')
    const quick = executor.submit(square, 3)
    const order: unknown[] = []
    for (const future of [slow, quick]) future.addDoneCallback(done => order.push(done))
    await latches.arrival('go')
    for await (const future of asCompleted<Future<unknown>>([slow, quick])) {
      if (future === quick) latches.release('go')
      else assert.equal(future, slow)
    }
    assert.deepEqual(order, [quick, slow])
  })

  test('C341 test_initializer: runs with its arguments in every worker before its first task', async () => {
    await using executor = make({
      maxWorkers: 2,
      initializer: (text: string) => {
        ;(globalThis as { greeting?: string }).greeting = text
      },
      initArgs: ['hello'],
    })
    const results = executor.map(() => (globalThis as { greeting?: string }).greeting, range(20), {
      chunkSize: 1,
    })
    assert.deepEqual(new Set(await collect(results)), new Set(['hello']))
  })

  test('C355, C357, C362: maxTasksPerChild replaces workers, also with a backlog and during shutdown', async () => {
    const executor = make({ maxWorkers: 1, maxTasksPerChild: 3 })
    const names = range(12).map(() => executor.submit(() => currentProcess().name))
    const ended = executor.shutdown()
    assert.deepEqual(
      (await Promise.all(names)).map(name => Number(name.split('_')[1])),
      [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3],
    )
    await ended
  })

  test('P335: a task may have an executor of its own', async () => {
    await using executor = make(1)
    const nested = async (n: number): Promise<number> => {
      await using inner = new ThreadPoolExecutor(1)
      return await inner.submit((x: number) => x + 1, n)
    }
    assert.equal(await executor.submit(nested, 1), 2)
  })

  test('neither an executor nor a future can be sent', async () => {
    await using executor = make(1)
    const future = executor.submit(identity, 1)
    for (const value of [executor, future]) {
      await assert.rejects(executor.submit(identity, value).result(), SerializeError)
    }
    await future
  })
})

test('options: numbers, names, and what makes no sense', async () => {
  for (const maxWorkers of [0, -1, 1.5])
    assert.throws(() => new ProcessPoolExecutor({ maxWorkers }), RangeError)
  assert.throws(() => new ThreadPoolExecutor('2' as never), TypeError)
  assert.throws(() => new ProcessPoolExecutor({ initializer: 1 as never }), TypeError)
  assert.throws(() => new ProcessPoolExecutor({ maxTasksPerChild: 0 }), RangeError)
  assert.throws(() => new ProcessPoolExecutor({ maxTasksPerChild: '3' as never }), TypeError)
  assert.throws(() => new ProcessPoolExecutor({ threadNamePrefix: 'x' } as never), /no option/)
  assert.throws(() => new ThreadPoolExecutor({ mpContext: 'spawn' } as never), /no option/)
  assert.throws(() => new ThreadPoolExecutor({ onWorkerDeath: 'panic' as never }), /"onWorkerDeath"/)
  assert.throws(() => new ThreadPoolExecutor({ threadNamePrefix: 1 as never }), /"threadNamePrefix"/)
  await using threads = new ProcessPoolExecutor({ maxWorkers: 1, mpContext: 'thread' })
  assert.equal(await threads.submit(() => process.pid), process.pid)
  assert.ok(threads instanceof Executor)
  assert.match(
    inspect(threads),
    /^<ProcessPoolExecutor name="ProcessPoolExecutor-\d+" state=running maxWorkers=1>$/,
  )
})

test('C382, C383: threads have the given prefix, or one that is their executor’s', async () => {
  const nameOf = (): string => currentProcess().name
  await using named = new ThreadPoolExecutor({ maxWorkers: 1, threadNamePrefix: 'SpecialPool' })
  assert.equal(await named.submit(nameOf), 'SpecialPool_0')
  await using one = new ThreadPoolExecutor(1)
  await using other = new ThreadPoolExecutor(1)
  const names = [await one.submit(nameOf), await other.submit(nameOf)]
  for (const name of names) assert.match(name, /^ThreadPoolExecutor-\d+_0$/)
  assert.notEqual(names[0], names[1])
  await using interpreters = new InterpreterPoolExecutor(1)
  assert.match(await interpreters.submit(nameOf), /^InterpreterPoolExecutor-\d+_0$/)
})

test('the types of several inputs are those of the parameters', async () => {
  await using executor = new ThreadPoolExecutor(1)
  const repeat = (text: string, count: number): string => text.repeat(count)
  const results = executor.map(repeat, ['a', 'b'], [1, 2], { timeout: 60_000 })
  expectTypeOf(results).toEqualTypeOf<ExecutorMap<string>>()
  assert.deepEqual(await collect(results), ['a', 'bb'])
  // @ts-expect-error -- numbers are no texts
  await collect(executor.map(repeat, [1], [1])).catch(() => {})
  // @ts-expect-error -- a text is no number
  await executor.submit(square, 'x')
})
