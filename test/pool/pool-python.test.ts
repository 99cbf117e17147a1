/**
 * The behaviours that CPython's own tests of `multiprocessing.Pool` check, by the names of those tests (classes
 * _TestPool, _TestPoolWorkerErrors, _TestPoolWorkerLifetime).
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { ClosedError, MaybeEncodingError, Pool, RemoteError } from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks, eventually } from '../leak-check.js'
import { Unwelcome, refuse, square, squareLater } from './tasks.js'

checkLeaks()

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
const squares = (count: number): number[] => range(count).map(square)
const byValue = (a: number, b: number): number => a - b

/** Counts up and then throws, as CPython's exception_throwing_generator. */
function* throwingAt(total: number, when: number): Generator<number> {
  for (let index = 0; index < total; index++) {
    if (index === when) throw new SayWhenError('Somebody said when')
    yield index
  }
}
class SayWhenError extends Error {
  override name = 'SayWhenError'
}

forEachStartMethod(context => {
  test('C092 test_apply: apply with arguments returns the result', async () => {
    await using pool = new Pool({ processes: 4, context })
    assert.equal(await pool.apply(square, [5]), 25)
    assert.equal(await pool.apply((x: number, { wait = 0 } = {}) => x * x + wait, [5, { wait: 1 }]), 26)
  })

  test('C093 test_map: equals the serial map', async () => {
    await using pool = new Pool({ processes: 4, context })
    assert.deepEqual(await pool.map(square, range(10)), squares(10))
    assert.deepEqual(await pool.map(square, range(100), { chunkSize: 20 }), squares(100))
  })

  test('test_starmap: equals the serial map over tuples', async () => {
    await using pool = new Pool({ processes: 4, context })
    const tuples = range(100).map((index): [number, number] => [index, 99 - index])
    for (const chunkSize of [undefined, 20]) {
      assert.deepEqual(
        await pool.starmap(byValue, tuples, { chunkSize }),
        tuples.map(([a, b]) => a - b),
      )
    }
  })

  test('C096 test_map_async: the result can be asked for later', async () => {
    await using pool = new Pool({ processes: 4, context })
    const result = pool.map(square, range(100))
    assert.deepEqual(await result.get(), squares(100))
  })

  test('C097 test_map_async_callbacks: callbacks get the whole list, or the error, once', async () => {
    await using pool = new Pool({ processes: 2, context })
    const calls: unknown[] = []
    const record = (value: unknown): void => void calls.push(value)
    await pool.map(square, [1]).then(record, record)
    await pool.map(refuse, ['no']).then(record, record)
    await pool.map(square, range(10)).then(record, record)
    assert.equal(calls.length, 3)
    assert.deepEqual(calls[0], [1])
    assert.ok(calls[1] instanceof Unwelcome)
    assert.deepEqual(calls[2], squares(10))
  })

  test('C098 test_map_unplicklable: arguments that cannot be sent reject the call', async () => {
    await using pool = new Pool({ processes: 2, context })
    const unsendable = new WeakMap()
    const rejected = pool.map(
      (x: unknown) => x,
      range(10).map(() => unsendable),
    )
    await assert.rejects(rejected.get(), { code: 'ERR_NOT_SERIALIZABLE' })
  })

  test('C099 test_map_chunksize: an empty list with a chunk size does not stall', async () => {
    await using pool = new Pool({ processes: 2, context })
    assert.deepEqual(await pool.map(square, [], { chunkSize: 1 }), [])
    assert.deepEqual(await pool.starmap(byValue, [], { chunkSize: 1 }), [])
  })

  test('test_map_handle_iterable_exception: an error of the input is raised by the call', async () => {
    await using pool = new Pool({ processes: 2, context })
    for (const when of [0, 1, 9]) {
      await assert.rejects(pool.map(square, throwingAt(10, when)).get(), SayWhenError)
    }
  })

  test('C101 test_async: the result arrives when the task has ended', async () => {
    await using latches = await Latches.open()
    const { address } = latches
    await using pool = new Pool({ processes: 2, context })
    const result = pool.apply(
      async (x: number) => {
        await passLatch(address, 'go')
        return x * x
      },
      [7],
    )
    await latches.arrival('go')
    assert.equal(result.ready(), false)
    latches.release('go')
    assert.equal(await result.get(), 49)
  })

  test('test_async_timeout: get() gives up after its timeout', async () => {
    await using latches = await Latches.open()
    const { address } = latches
    await using pool = new Pool({ processes: 1, context })
    const result = pool.apply(passLatch, [address, 'go'])
    await latches.arrival('go')
    await assert.rejects(result.get({ timeout: 5 }), { name: 'TimeoutError', code: 'ERR_TIMEOUT' })
    latches.release('go')
    await result
  })

  test('test_imap: gives results in order, then ends', async () => {
    await using pool = new Pool({ processes: 4, context })
    for (const chunkSize of [undefined, 100]) {
      const results = pool.imap(square, range(1000), { chunkSize })
      for (let index = 0; index < 1000; index++) assert.equal((await results.next()).value, index * index)
      assert.deepEqual(await results.next(), { done: true, value: undefined })
    }
  })

  test('C104 test_imap_handle_iterable_exception: raised at the position of the input that threw', async () => {
    await using pool = new Pool({ processes: 2, context })
    for (const when of [0, 1, 10]) {
      const results = pool.imap(square, throwingAt(20, when), { chunkSize: 2 })
      for (let index = 0; index < when; index++) assert.equal((await results.next()).value, index * index)
      await assert.rejects(results.next(), SayWhenError)
    }
  })

  test('C105 test_imap_unordered: gives every result once', async () => {
    await using pool = new Pool({ processes: 4, context })
    for (const chunkSize of [1, 100]) {
      const seen: number[] = []
      for await (const result of pool.imapUnordered(square, range(420), { chunkSize })) seen.push(result)
      assert.deepEqual(
        seen.toSorted((a, b) => a - b),
        squares(420),
      )
    }
  })

  test('C106 test_imap_unordered_handle_iterable_exception: values before the error are valid', async () => {
    await using pool = new Pool({ processes: 2, context })
    const expected = new Set(squares(10))
    const results = pool.imapUnordered(square, throwingAt(10, 3))
    await assert.rejects(async () => {
      for await (const result of results) assert.ok(expected.delete(result))
    }, SayWhenError)
    assert.equal(expected.size, 7)
  })

  test('C108 test_terminate: returns promptly although 10,000 long tasks are queued', async () => {
    await using latches = await Latches.open()
    const { address } = latches
    const pool = new Pool({ processes: 3, context })
    const result = pool.map(() => passLatch(address, 'never'), range(10_000), { chunkSize: 1 })
    await latches.arrival('never')
    await pool.terminate()
    await assert.rejects(result.get(), { code: 'ERR_TERMINATED' })
  })

  test('test_empty_iterable: every method of an empty input', async () => {
    await using pool = new Pool({ processes: 1, context })
    assert.deepEqual(await pool.map(square, []), [])
    assert.deepEqual(await pool.imap(square, []).next(), { done: true, value: undefined })
    assert.deepEqual(await pool.imapUnordered(square, []).next(), { done: true, value: undefined })
    assert.equal(pool.map(square, []).ready(), true)
  })

  test('C110 test_context: after the scope submitting throws', async () => {
    let pool: Pool | undefined
    {
      await using scoped = new Pool({ processes: 2, context })
      pool = scoped
      assert.deepEqual(await scoped.map(square, range(10)), squares(10))
    }
    assert.throws(() => pool.map(square, range(10)), ClosedError)
  })

  test('C111 test_traceback: the remote stack is the cause of the error and is printed with it', async () => {
    await using pool = new Pool({ processes: 1, context })
    const error = await pool
      .apply(() => {
        throw new RangeError('123') // some comment
      })
      .catch((reason: unknown) => reason)
    assert.ok(error instanceof RangeError)
    const { cause } = error
    assert.ok(cause instanceof RemoteError)
    assert.match(cause.stack ?? '', /RangeError: 123/)
    assert.match(inspect(error), /pool-python\.test\.(?:ts|js):\d+/)

    const ofInput = await pool
      .map(
        square,
        (function* () {
          yield 1
          throw new SayWhenError('input')
        })(),
      )
      .catch((reason: unknown) => reason)
    assert.ok(ofInput instanceof SayWhenError)
    assert.equal(ofInput.cause, undefined)
  })

  test('C112 test_wrapped_exception: the type of the error arrives unchanged', async () => {
    await using pool = new Pool({ processes: 1, context })
    await assert.rejects(pool.apply(refuse, ['x']).get(), Unwelcome)
    class Local extends TypeError {}
    await assert.rejects(
      pool
        .apply(() => {
          throw new Local('by value')
        })
        .get(),
      Local,
    )
  })

  test('C113 test_map_no_failfast: all chunks run before the error, so that close and join do not wait for ever', async () => {
    const pool = new Pool({ processes: 2, context })
    const large = 'x'.repeat(100_000)
    const failed = pool.map(
      (text: string) => {
        throw new Error(text)
      },
      [large, large, ...range(100).map(() => large)],
      { chunkSize: 1 },
    )
    await assert.rejects(failed.get(), Error)
    pool.close()
    await pool.join()
  })

  test('C114 test_release_task_refs: arguments and results are not kept alive', async () => {
    await using pool = new Pool({ processes: 2, context })
    const references = await (async () => {
      const items = range(10).map(index => ({ index }))
      const results = await pool.map((item: { index: number }) => item, items)
      return [...items, ...results].map(each => new WeakRef(each))
    })()
    await pool.map(square, range(10))
    await eventually(() => {
      collectGarbage()
      return references.every(reference => reference.deref() === undefined)
    })
  })

  test('C115 test_enter: a pool that was terminated cannot be used again', async () => {
    const pool = new Pool({ processes: 1, context })
    await pool.terminate()
    assert.throws(() => pool.apply(square, [1]), ClosedError)
  })

  test('C117 test_async_error_callback: the callback gets the error of the task', async () => {
    await using pool = new Pool({ processes: 2, context })
    const result = pool.apply(refuse, ['caller'])
    const told = await result.then(
      () => undefined,
      (error: unknown) => error,
    )
    assert.ok(told instanceof Unwelcome)
    await assert.rejects(result.get(), Unwelcome)
  })

  test('C118 test_unpickleable_result: MaybeEncodingError twenty times, and no worker is lost', async () => {
    await using pool = new Pool({ processes: 2, context })
    await pool.apply(square, [1])
    const before = pool.stats().workers.map(worker => worker.name)
    for (let round = 0; round < 20; round++) {
      const error = await pool.apply(() => new WeakMap()).catch((reason: unknown) => reason)
      assert.ok(error instanceof MaybeEncodingError)
      assert.ok(error.value.length > 0 && error.message.length > 0)
    }
    assert.deepEqual(
      pool.stats().workers.map(worker => worker.name),
      before,
    )
  })

  test('C119 test_pool_worker_lifetime: with maxTasksPerChild all results are right and the workers change', async () => {
    const pool = new Pool({ processes: 3, context, maxTasksPerChild: 10 })
    const before = new Set(pool.stats().workers.map(worker => worker.name))
    const results = await Promise.all(range(100).map(index => pool.apply(squareLater, [index])))
    assert.deepEqual(results, squares(100))
    const after = pool.stats().workers.map(worker => worker.name)
    assert.ok(after.every(name => !before.has(name)))
    pool.close()
    await pool.join()
  })

  test('test_pool_worker_lifetime_early_close: closing early loses nothing', async () => {
    const pool = new Pool({ processes: 3, context, maxTasksPerChild: 1 })
    const results = range(6).map(index => pool.apply(squareLater, [index]))
    pool.close()
    await pool.join()
    assert.deepEqual(await Promise.all(results), squares(6))
  })

  test('test_make_pool, test_pool_maxtasksperchild_invalid: numbers and functions are checked', async () => {
    for (const processes of [-1, 0, 1.5]) {
      assert.throws(() => new Pool({ processes, context }), RangeError)
    }
    for (const maxTasksPerChild of [0, -1, 0.5]) {
      assert.throws(() => new Pool({ processes: 1, maxTasksPerChild, context }), RangeError)
    }
    for (const wrong of [
      { processes: '3' },
      { maxTasksPerChild: '12' },
      { initializer: 1 },
      { initArgs: 1 },
    ]) {
      assert.throws(() => new Pool({ context, ...wrong } as object), TypeError)
    }
    await using pool = new Pool({ processes: 3, context })
    assert.equal(pool.processes, 3)
    assert.equal(pool.stats().workers.length, 3)
    assert.equal(String(pool), inspect(pool))
  })

  test('test_starmap_async: the result can be asked for later', async () => {
    await using pool = new Pool({ processes: 2, context })
    const result = pool.starmap(byValue, [
      [3, 1],
      [5, 2],
    ])
    assert.deepEqual(await result.get(), [2, 3])
  })

  test('C122 test_worker_finalization_via_atexit_handler_of_multiprocessing: a program with a pool in a global ends', async () => {
    const { spawn } = await import('node:child_process')
    const child = spawn(process.execPath, [
      '--input-type=module',
      '-e',
      `import { Pool } from ${JSON.stringify(import.meta.resolve('multiproc'))}
       globalThis.problem = null
       class Holder {
         constructor() { this.pool = new Pool({ processes: 1, context: ${JSON.stringify(context)} }) }
         test() { return this.pool.map(Math.abs, [-1]) }
       }
       globalThis.problem = new Holder()
       console.log(await globalThis.problem.test())`,
    ])
    let output = ''
    child.stdout.on('data', data => (output += String(data)))
    child.stderr.on('data', data => (output += String(data)))
    const [code] = await once(child, 'close')
    assert.deepEqual([code, output], [0, '[ 1 ]\n'])
  })
})
