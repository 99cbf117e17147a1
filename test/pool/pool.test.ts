import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import {
  BrokenPoolError,
  ClosedError,
  MaybeEncodingError,
  Pool,
  RemoteError,
  SerializeError,
  TimeoutError,
  getContext,
} from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks } from '../leak-check.js'
import { Unwelcome, refuse, square, squareLater } from './tasks.js'

checkLeaks()

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
const squares = (count: number): number[] => range(count).map(square)

async function* lazily<T>(items: Iterable<T>): AsyncGenerator<T> {
  for (const item of items) {
    await new Promise(resolve => setImmediate(resolve))
    yield item
  }
}

forEachStartMethod(context => {
  describe('Pool.apply()', () => {
    test('gives the result of the call, with arguments of any number', async () => {
      await using pool = new Pool({ processes: 2, context })
      assert.equal(await pool.apply(() => 'nothing'), 'nothing')
      assert.equal(await pool.apply((a: number, b: number) => a - b, [7, 2]), 5)
      assert.equal(await pool.apply(squareLater, [9]), 81)
      assert.equal(await pool.apply(() => undefined), undefined)
    })

    test('copies arguments at the call', async () => {
      await using pool = new Pool({ processes: 1, context })
      const list = [1]
      const result = pool.apply((given: number[]) => given.length, [list])
      list.push(2)
      assert.equal(await result, 1)
    })

    test('copies captured variables at each call', async () => {
      await using pool = new Pool({ processes: 1, context })
      let factor = 2
      const times = (x: number): number => x * factor
      const first = pool.apply(times, [10])
      factor = 3
      const second = pool.apply(times, [10])
      assert.deepEqual([await first, await second], [20, 30])
    })

    test('runs many calls of several functions at once, each exactly once', async () => {
      await using pool = new Pool({ processes: 2, context })
      const calls = range(2000).map(index =>
        index % 3 === 0 ? pool.apply(square, [index]) : pool.apply((x: number) => -x, [index]),
      )
      const results = await Promise.all(calls)
      assert.deepEqual(
        results,
        range(2000).map(index => (index % 3 === 0 ? index * index : -index)),
      )
    })

    test('throws at the call when the function or an argument cannot be sent, and stays well', async () => {
      await using pool = new Pool({ processes: 1, context })
      const pending = Promise.resolve()
      assert.throws(() => pool.apply(() => pending), { code: 'ERR_NOT_SERIALIZABLE', message: /pending/ })
      assert.throws(() => pool.apply((x: unknown) => x, [new WeakMap()]), SerializeError)
      assert.equal(await pool.apply(square, [3]), 9)
    })
  })

  describe('Pool.map()', () => {
    test('equals the serial map, whatever the chunk size', async () => {
      await using pool = new Pool({ processes: 2, context })
      for (const chunkSize of [undefined, 1, 7, 20, 1000]) {
        assert.deepEqual(await pool.map(square, range(100), { chunkSize }), squares(100))
      }
    })

    test('takes iterables, async iterables and empty ones', async () => {
      await using pool = new Pool({ processes: 2, context })
      assert.deepEqual(await pool.map(square, new Set([3, 4])), [9, 16])
      assert.deepEqual(await pool.map(square, lazily(range(30))), squares(30))
      assert.deepEqual(await pool.map(square, []), [])
      assert.deepEqual(await pool.map(square, lazily([])), [])
      assert.deepEqual(await pool.map((text: string) => text.length, 'ab'), [1, 1])
    })

    test('keeps undefined, holes, NaN and -0 apart', async () => {
      await using pool = new Pool({ processes: 1, context })
      const results = await pool.map((x: unknown) => x, [undefined, null, Number.NaN, -0, 0])
      assert.deepEqual(results, [undefined, null, Number.NaN, -0, 0])
    })

    test('calls the function with the item alone', async () => {
      await using pool = new Pool({ processes: 1, context })
      assert.deepEqual(await pool.map((...args: unknown[]) => args.length, [1, 2]), [1, 1])
    })

    test('runs every item, then rejects with the failure of the first by index', async () => {
      await using latches = await Latches.open()
      const { address } = latches
      await using pool = new Pool({ processes: 2, context })
      const mapped = pool.map(
        async (index: number) => {
          if (index === 0) await passLatch(address, 'first')
          throw new RangeError(`item ${index}`)
        },
        [0, 1, 2],
        { chunkSize: 1 },
      )
      await latches.arrival('first')
      latches.release('first')
      await assert.rejects(mapped, { name: 'RangeError', message: 'item 0' })
    })

    test('fails only the item that cannot be sent', async () => {
      await using pool = new Pool({ processes: 2, context })
      const settled = await pool.mapSettled((x: unknown) => typeof x, [1, Promise.resolve(), 'two'])
      assert.deepEqual(
        settled.map(each => each.status),
        ['fulfilled', 'rejected', 'fulfilled'],
      )
      const [, failure] = settled
      assert.ok(failure?.status === 'rejected' && failure.reason instanceof SerializeError)
      await assert.rejects(async () => pool.map((x: unknown) => x, [new WeakMap()]), SerializeError)
    })

    test('delivers the error of an input at the call that has it', async () => {
      await using pool = new Pool({ processes: 1, context })
      const broken = function* (): Generator<number> {
        yield 1
        throw new RangeError('input')
      }
      await assert.rejects(async () => pool.map(square, broken()), { message: 'input' })
      await assert.rejects(
        async () =>
          pool.map(
            square,
            (async function* () {
              yield* broken()
            })(),
          ),
        { message: 'input' },
      )
      assert.equal(await pool.apply(square, [2]), 4)
    })

    test('lets several maps run at once over one pool', async () => {
      await using pool = new Pool({ processes: 2, context })
      const maps = await Promise.all(range(5).map(base => pool.map((x: number) => x + base, range(500))))
      for (const [base, results] of maps.entries()) assert.deepEqual(results[499], 499 + base)
    })

    test('sends and returns objects, maps, dates, typed arrays and class instances', async () => {
      await using pool = new Pool({ processes: 1, context })
      const values = [
        new Map([[1, { a: [1n] }]]),
        new Date(5),
        new Uint16Array([1, 2]),
        Buffer.from('x'),
        /a/g,
      ]
      assert.deepEqual(await pool.map((x: unknown) => x, values), values)
      const [error] = await pool.map((x: Unwelcome) => x, [new Unwelcome('you')])
      assert.ok(error instanceof Unwelcome)
      assert.equal(error.guest, 'you')
    })
  })

  describe('Pool.starmap() and mapSettled()', () => {
    test('starmap spreads each item', async () => {
      await using pool = new Pool({ processes: 2, context })
      assert.deepEqual(
        await pool.starmap(
          (a: number, b: number) => a * b,
          [
            [2, 3],
            [4, 5],
          ],
        ),
        [6, 20],
      )
    })

    test('starmap takes any iterable as arguments, and says so when an item is none', async () => {
      await using pool = new Pool({ processes: 1, context })
      const subtract = (a: number, b: number): number => a - b
      const tuples = [[5, 3], new Set([9, 2]), 7, null] as unknown as [number, number][]
      assert.deepEqual(await pool.starmap(subtract, tuples.slice(0, 2)), [2, 7])
      for (const bad of [tuples.slice(2), tuples.slice(3)]) {
        await assert.rejects(pool.starmap(subtract, bad).get(), {
          name: 'TypeError',
          code: 'ERR_INVALID_ARGUMENT',
        })
      }
    })

    test('an item whose class uses what cannot be sent travels, and fails where that is used', async () => {
      await using pool = new Pool({ processes: 1, context })
      const cache = new WeakRef({})
      class Service {
        port = 80
        cached(): unknown {
          return cache.deref()
        }
      }
      assert.deepEqual(await pool.map((service: Service) => service.port, [new Service()]), [80])
      await assert.rejects(pool.map((service: Service) => service.cached(), [new Service()]).get(), {
        code: 'ERR_NOT_SERIALIZABLE',
        message: /"cache" \(.*pool\.test\.[jt]s:\d+\) is a WeakRef/,
      })
    })

    test('mapSettled gives results and failures as Promise.allSettled does', async () => {
      await using pool = new Pool({ processes: 2, context })
      const settled = await pool.mapSettled((x: number) => {
        if (x % 2) throw new Error(`odd ${x}`)
        return x
      }, range(6))
      assert.deepEqual(
        settled.map(each => (each.status === 'fulfilled' ? each.value : (each.reason as Error).message)),
        [0, 'odd 1', 2, 'odd 3', 4, 'odd 5'],
      )
    })
  })

  describe('AsyncResult', () => {
    test('says whether it is ready and successful', async () => {
      await using latches = await Latches.open()
      const { address } = latches
      await using pool = new Pool({ processes: 1, context })
      const result = pool.apply(passLatch, [address, 'go'])
      await latches.arrival('go')
      assert.equal(result.ready(), false)
      assert.throws(() => result.successful(), { code: 'ERR_INVALID_STATE' })
      await assert.rejects(result.get({ timeout: 1 }), TimeoutError)
      await result.wait({ timeout: 1 })
      assert.equal(result.ready(), false)
      latches.release('go')
      await result.wait()
      assert.deepEqual([result.ready(), result.successful()], [true, true])
      const failed = pool.apply(refuse, ['me'])
      await failed.wait()
      assert.deepEqual([failed.ready(), failed.successful()], [true, false])
      await assert.rejects(failed.get(), Unwelcome)
    })

    test('a wait ends with its signal', async () => {
      await using latches = await Latches.open()
      const { address } = latches
      await using pool = new Pool({ processes: 1, context })
      const result = pool.apply(passLatch, [address, 'go'])
      await assert.rejects(result.get({ signal: AbortSignal.abort(new Error('enough')) }), {
        message: 'enough',
      })
      await latches.arrival('go')
      latches.release('go')
      await result
    })
  })

  describe('errors of tasks', () => {
    test('keep class, fields, message, cause and code, and end with a RemoteError', async () => {
      await using pool = new Pool({ processes: 1, context })
      const thrown = await pool.apply(refuse, ['Eve']).catch((error: unknown) => error)
      assert.ok(thrown instanceof Unwelcome)
      assert.equal(thrown.guest, 'Eve')
      assert.ok(thrown.cause instanceof RemoteError)
      assert.match(thrown.cause.stack ?? '', /tasks\.(?:ts|js)/)
      assert.match(thrown.stack ?? '', /pool\.test\.(?:ts|js)/)
      const caused = await pool
        .apply(() => {
          throw Object.assign(new TypeError('outer', { cause: new RangeError('inner') }), { code: 'E_X' })
        })
        .catch((error: unknown) => error as TypeError & { code: string })
      assert.ok(caused instanceof TypeError && caused.cause instanceof RangeError)
      assert.equal(caused.code, 'E_X')
    })

    test('what is no Error arrives as it was thrown', async () => {
      await using pool = new Pool({ processes: 1, context })
      for (const value of ['text', null, undefined, 0, { plain: true }]) {
        const caught = await pool
          .apply(
            (thrown: unknown) => {
              // oxlint-disable-next-line no-throw-literal, typescript/only-throw-error
              throw thrown
            },
            [value],
          )
          .then(
            () => 'resolved',
            (reason: unknown) => ({ reason }),
          )
        assert.deepEqual(caught, { reason: value })
      }
    })

    test('a result that cannot be sent fails its task with MaybeEncodingError, and the worker is well', async () => {
      await using pool = new Pool({ processes: 1, context })
      const [before] = pool.stats().workers
      const settled = await pool.mapSettled((x: number): unknown => (x === 1 ? new WeakMap() : x), [0, 1, 2])
      assert.deepEqual(
        settled.map(each => each.status),
        ['fulfilled', 'rejected', 'fulfilled'],
      )
      const [, failure] = settled
      assert.ok(failure?.status === 'rejected' && failure.reason instanceof MaybeEncodingError)
      assert.match(failure.reason.value, /WeakMap/)
      assert.equal(pool.stats().workers[0]?.name, before?.name)
    })
  })

  describe('initializer', () => {
    test('runs once in each worker, before its tasks, with its arguments', async () => {
      await using pool = new Pool({
        processes: 2,
        context,
        initializer: async (a: number, b: number) => {
          await Promise.resolve()
          const here = globalThis as { sum?: number }
          here.sum = (here.sum ?? 0) + a + b
        },
        initArgs: [3, 4],
      })
      const sums = await pool.map(() => (globalThis as { sum?: number }).sum, range(20), { chunkSize: 1 })
      assert.deepEqual(new Set(sums), new Set([7]))
    })

    test('that throws rejects all work instead of starting workers again and again', async () => {
      const pool = new Pool({
        processes: 2,
        context,
        initializer: () => {
          throw new RangeError('no database')
        },
      })
      for (const result of [pool.apply(square, [1]), pool.map(square, [1, 2])]) {
        const error = await Promise.resolve(result as PromiseLike<unknown>).catch((reason: unknown) => reason)
        assert.ok(error instanceof BrokenPoolError)
        assert.equal(error.code, 'ERR_INITIALIZER_FAILED')
        assert.match(error.message, /no database/)
        assert.ok(error.cause instanceof RangeError)
      }
      assert.throws(() => pool.apply(square, [1]), BrokenPoolError)
      await pool.join()
      const { state, jobs, workers } = pool.stats()
      assert.deepEqual([state, jobs, workers], ['broken', 0, []])
    })

    test('that cannot be sent throws at the constructor', () => {
      const pending = Promise.resolve()
      assert.throws(() => new Pool({ processes: 1, context, initializer: () => pending }), SerializeError)
    })
  })

  describe('maxTasksPerChild', () => {
    test('replaces each worker after so many items and loses none', async () => {
      await using pool = new Pool({ processes: 2, context, maxTasksPerChild: 10 })
      const results = await pool.map(async (x: number) => {
        const { threadId } = await import('node:worker_threads')
        return { x, worker: `${process.pid} ${threadId}` }
      }, range(100))
      assert.deepEqual(
        results.map(each => each.x),
        range(100),
      )
      const counts = new Map<string, number>()
      for (const { worker } of results) counts.set(worker, (counts.get(worker) ?? 0) + 1)
      assert.ok(counts.size >= 10, `${counts.size} workers`)
      assert.ok(Math.max(...counts.values()) <= 10)
    })
  })

  test('a module that loads only in this process does not matter: what is needed of it goes by value', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
    try {
      const file = join(folder, 'cjs-only-here.cjs')
      writeFileSync(file, 'const k = 5; exports.task = function task(x) { return x + k }')
      const { task } = createRequire(import.meta.url)(file) as { task: (x: number) => number }
      await using pool = new Pool({ processes: 2, context })
      // What the workers will find there is not what this process has loaded.
      writeFileSync(file, 'this is no JavaScript')
      assert.deepEqual(await pool.map(task, range(20)), range(20).map(task))
      assert.deepEqual(await pool.map(task, range(20)), range(20).map(task))
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  describe('the life of a pool', () => {
    test('close() lets submitted work finish and refuses more; join() waits for it', async () => {
      const pool = new Pool({ processes: 2, context })
      const mapped = pool.map(squareLater, range(50))
      await assert.rejects(pool.join(), { code: 'ERR_INVALID_STATE' })
      pool.close()
      pool.close()
      assert.throws(() => pool.apply(square, [1]), ClosedError)
      await pool.join()
      assert.deepEqual(await mapped, squares(50))
      assert.deepEqual(pool.stats().workers, [])
      await pool.join()
    })

    test('terminate() stops running and queued work at once, and every result settles', async () => {
      await using latches = await Latches.open()
      const { address } = latches
      const pool = new Pool({ processes: 1, context })
      const mapped = pool.map(() => passLatch(address, 'never'), range(10_000))
      const single = pool.apply(square, [2])
      const results = pool.imap(() => passLatch(address, 'never'), range(100))
      const next = results.next()
      await latches.arrival('never')
      const outcomes = Promise.allSettled([mapped, single, next])
      await pool.terminate()
      for (const outcome of await outcomes) {
        assert.ok(outcome.status === 'rejected' && outcome.reason instanceof ClosedError)
        assert.equal(outcome.reason.code, 'ERR_TERMINATED')
      }
      assert.throws(() => pool.map(square, []), ClosedError)
      await pool.terminate()
    })

    test('terminate() of a pool whose workers have just been started', async () => {
      const pool = new Pool({ processes: 4, context })
      await pool.terminate()
      assert.deepEqual(pool.stats().workers, [])
    })

    test('the end of an `await using` scope finishes what was submitted', async () => {
      let mapped
      {
        await using pool = new Pool({ processes: 2, context })
        mapped = pool.map(squareLater, range(20))
      }
      assert.equal(mapped.ready(), true)
      assert.deepEqual(await mapped, squares(20))
    })

    test('a worker can have a pool of its own', async () => {
      await using pool = new Pool({ processes: 1, context })
      const nested = await pool.apply(
        async (items: number[]) => {
          await using inner = new Pool({ processes: 1 })
          return await inner.map(square, items)
        },
        [[1, 2, 3]],
      )
      assert.deepEqual(nested, [1, 4, 9])
    })

    test('idle workers get the chunk that waits behind a long task', async () => {
      await using latches = await Latches.open()
      const { address } = latches
      await using pool = new Pool({ processes: 2, context })
      const task = async (name: string): Promise<string> => {
        if (name) await passLatch(address, name)
        return name
      }
      // The function is known to be quick, so that chunks are sent ahead.
      await pool.map(
        task,
        Array.from({ length: 500 }, () => ''),
      )
      const first = pool.map(task, ['a', 'b', 'c', 'd'], { chunkSize: 1 })
      for (const name of ['a', 'b']) {
        await latches.arrival(name)
        latches.release(name)
      }
      for (const name of ['d', 'c']) {
        await latches.arrival(name)
        latches.release(name)
      }
      assert.deepEqual(await first, ['a', 'b', 'c', 'd'])
    })
  })
})

describe('new Pool()', () => {
  test('refuses options that make no sense, naming them', async () => {
    const bad: [unknown, RegExp][] = [
      [0, /"processes"/],
      [{ processes: -1 }, /"processes"/],
      [{ processes: 1.5 }, /"processes"/],
      [{ processes: '2' }, /"processes"/],
      [1e9, /"processes" must be at most 4000/],
      [{ maxTasksPerChild: 0 }, /"maxTasksPerChild"/],
      [{ initializer: 1 }, /"initializer"/],
      [{ context: 'fork' }, /start method "fork"/],
      [{ context: 5 }, /"context"/],
      [{ workers: 2 }, /"workers"/],
      ['2', /options/],
    ]
    for (const [options, message] of bad) {
      assert.throws(() => new Pool(options as never), { code: 'ERR_INVALID_ARGUMENT', message })
    }
    await using pool = new Pool(1)
    assert.throws(() => pool.map('square' as never, [1]), TypeError)
    assert.throws(() => pool.map(square, 5 as never), TypeError)
    assert.throws(() => pool.map(square, [], { chunkSize: 0 }), RangeError)
    assert.throws(() => pool.imap(square, [], { bufferSize: -1 }), RangeError)
    assert.throws(() => pool.map(square, [], { chunks: 1 } as never), TypeError)
  })

  test('can be shown, and takes a context', async () => {
    await using pool = new Pool({ processes: 1, context: getContext('thread'), name: 'images' })
    assert.equal(inspect(pool), '<Pool name="images" state=running processes=1>')
    assert.equal(await pool.apply(square, [2]), 4)
  })

  test('C116 test_resource_warning: a pool that is collected without close() warns and ends its workers', async () => {
    const { spawn } = await import('node:child_process')
    const child = spawn(process.execPath, [
      '--expose-gc',
      '--input-type=module',
      '-e',
      `import { Pool } from ${JSON.stringify(import.meta.resolve('multiproc'))}
       let result
       { const pool = new Pool(1); result = pool.apply(x => x + 1, [1]) }
       console.log(await result)
       process.on('warning', warning => { console.log(warning.name); clearInterval(timer) })
       const timer = setInterval(() => globalThis.gc(), 5)`,
    ])
    let output = ''
    child.stdout.on('data', data => (output += String(data)))
    const [code] = await once(child, 'close')
    assert.deepEqual([code, output], [0, '2\nResourceWarning\n'])
  })
})
