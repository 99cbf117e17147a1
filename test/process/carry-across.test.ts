/** carryAcross(): the stores of a program's AsyncLocalStorage are there where its calls run. */
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { after, describe, test } from 'node:test'
import { Lock, Pool, Process, ProcessPoolExecutor, ThreadPoolExecutor, carryAcross } from 'multiproc'
import { runCarried, takeCarried } from '#src/process/carried-context.js'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const request = new AsyncLocalStorage<unknown>()
const user = new AsyncLocalStorage<unknown>()
const carrying = [carryAcross('request', request), carryAcross('user', user)]
after(() => carrying.forEach(each => each.stop()))

const stores = (): unknown[] => [request.getStore(), user.getStore()]
const storesLater = async (): Promise<unknown[]> => {
  await new Promise(resolve => setImmediate(resolve))
  return stores()
}

forEachStartMethod(context => {
  describe('carryAcross()', () => {
    test('takes the stores of the caller into tasks, and behind their awaits', async () => {
      await using pool = new Pool({ processes: 2, context })
      await request.run({ id: 7 }, async () => {
        assert.deepEqual(await pool.apply(stores), [{ id: 7 }, undefined])
        assert.deepEqual(await pool.apply(storesLater), [{ id: 7 }, undefined])
        await user.run('ann', async () => {
          const seen = await pool.map(async () => storesLater(), [1, 2, 3])
          assert.deepEqual(
            seen,
            Array.from({ length: 3 }, () => [{ id: 7 }, 'ann']),
          )
          const found: unknown[] = []
          for await (const each of pool.imap(stores, [1, 2])) found.push(each)
          assert.deepEqual(found, [
            [{ id: 7 }, 'ann'],
            [{ id: 7 }, 'ann'],
          ])
        })
      })
      assert.deepEqual(await pool.apply(stores), [undefined, undefined])
    })

    test('reaches storages of modules that come with the function, from the first task on', async () => {
      const { calls, caller } = await import('../fixtures/carried-calls.js')
      using _ = carryAcross('calls', calls)
      for (const chunkSize of [1, 4]) {
        await using pool = new Pool({ processes: 1, context })
        const seen = await calls.run('ann', () => pool.map(() => caller(), [1, 2, 3, 4], { chunkSize }))
        assert.deepEqual(
          seen,
          Array.from({ length: 4 }, () => 'ann'),
        )
      }
    })

    test('takes along that a store is cleared, and that it is null', async () => {
      await using pool = new Pool({ processes: 1, context })
      await request.run({ id: 7 }, async () => {
        const cleared = await request.run(undefined, () => pool.apply(stores))
        assert.deepEqual(cleared, [undefined, undefined])
        assert.deepEqual(await request.run(null, () => pool.apply(stores)), [null, undefined])
      })
    })

    test('keeps calls apart that travel together, also with calls that have no store', async () => {
      await using pool = new Pool({ processes: 1, context })
      await pool.map(stores, [1, 2, 3, 4])
      const ids = Array.from({ length: 200 }, (_, id) => (id % 3 === 0 ? undefined : id))
      const seen = await Promise.all(ids.map(id => request.run(id, () => pool.apply(stores))))
      assert.deepEqual(
        seen,
        ids.map(id => [id, undefined]),
      )
    })

    test('holds for items that run again, and for what cannot be packed with its neighbours', async () => {
      await using pool = new Pool({ processes: 1, context })
      const { currentTask } = await import('multiproc')
      const fragile = (x: number): unknown[] => {
        if (x === 2 && currentTask().attempt === 1) process.exit(1)
        return stores()
      }
      const seen = await request.run('r', () => pool.map(fragile, [1, 2, 3], { retries: 1, chunkSize: 3 }))
      assert.deepEqual(
        seen,
        [1, 2, 3].map(() => ['r', undefined]),
      )
      const items = [1, setTimeout(() => {}, 0), 3]
      const settled = await request.run('s', () => pool.mapSettled(() => stores(), items, { chunkSize: 3 }))
      assert.deepEqual(
        settled.map(each => (each.status === 'fulfilled' ? each.value : each.reason.code)),
        [['s', undefined], 'ERR_NOT_SERIALIZABLE', ['s', undefined]],
      )
    })

    test('takes them into the target of a Process, and into run() of a subclass', async () => {
      class Job extends Process {
        override run(): unknown {
          return stores()
        }
      }
      const start = (child: Process): typeof child => {
        request.run('from the start', () => child.start())
        return child
      }
      for (const child of [
        start(new Process({ target: storesLater, context })),
        start(new Job({ context })),
      ]) {
        assert.deepEqual(await child.result(), ['from the start', undefined])
        await child.join()
      }
    })

    test('carries on through pools of workers, also where nothing uses the storage in between', async () => {
      await using pool = new Pool({ processes: 1, context })
      const inner = async (): Promise<unknown> => {
        const nested = new Pool(1)
        try {
          return await nested.apply(stores)
        } finally {
          await nested.terminate()
        }
      }
      assert.deepEqual(await request.run('deep', () => pool.apply(inner)), ['deep', undefined])
    })

    test('takes whatever can be sent: a lock is the same lock there', async () => {
      await using pool = new Pool({ processes: 1, context })
      const lock = new Lock()
      await lock.acquire()
      const isLocked = await request.run(lock, () => pool.apply(() => (request.getStore() as Lock).locked()))
      assert.equal(isLocked, true)
      lock.release()
    })

    test('a store that cannot be sent, or is too large, fails at the call', async () => {
      await using pool = new Pool({ processes: 1, context })
      const timer = setTimeout(() => {}, 0)
      const calls = [
        () => pool.apply(stores, []),
        () => pool.map(stores, [1]),
        () => pool.imap(stores, [1]),
        () => new Process({ target: stores, context }).start(),
      ]
      for (const call of calls)
        assert.throws(() => request.run({ timer }, call), { code: 'ERR_NOT_SERIALIZABLE' })
      for (const call of calls.slice(0, 3))
        assert.throws(() => request.run('x'.repeat(70_000), call), { code: 'ERR_LIMIT' })
      assert.deepEqual(await pool.apply(stores), [undefined, undefined])
    })
  })
})

test('executors take the stores along, and a store that cannot be sent fails the future', async () => {
  for (const executor of [new ProcessPoolExecutor(1), new ThreadPoolExecutor(1)]) {
    assert.deepEqual(await request.run(1, () => executor.submit(stores)), [1, undefined])
    for await (const seen of request.run(2, () => executor.map(stores, [0])))
      assert.deepEqual(seen, [2, undefined])
    const refused = request.run(
      setTimeout(() => {}, 0),
      () => executor.submit(stores),
    )
    await assert.rejects(refused.result(), { code: 'ERR_NOT_SERIALIZABLE' })
    await executor.shutdown()
  }
})

test('an AsyncLocalStorage that is not carried cannot be sent, and says how', async () => {
  await using pool = new Pool({ processes: 1, context: 'thread' })
  const other = new AsyncLocalStorage()
  await assert.rejects(async () => pool.apply(() => other.getStore()), /carryAcross/)
  await assert.rejects(async () => pool.apply((x: unknown) => x, [{ other }]), {
    code: 'ERR_NOT_SERIALIZABLE',
    message: /\.other is an AsyncLocalStorage.*carryAcross/s,
  })
})

test('names are checked, belong to one storage, and are free again after stop()', () => {
  assert.throws(() => carryAcross('', request), { code: 'ERR_INVALID_ARGUMENT' })
  assert.throws(() => carryAcross('x', {} as never), { code: 'ERR_INVALID_ARGUMENT' })
  assert.throws(() => carryAcross('request', new AsyncLocalStorage()), { code: 'ERR_ALREADY_EXISTS' })
  const first = new AsyncLocalStorage<number>()
  const second = new AsyncLocalStorage<number>()
  const stop = carryAcross('again', first)
  first.run(1, () => assert.deepEqual(takeCarried(), { again: 1 }))
  stop.stop()
  first.run(1, () => assert.equal(takeCarried(), undefined))
  using _ = carryAcross('again', second)
  stop.stop()
  second.run(2, () => assert.deepEqual(takeCarried(), { again: 2 }))
})

test('there are 64 names at most, of the program or of what arrived', () => {
  const many = Array.from({ length: 62 }, (_, at) => carryAcross(`name ${at}`, new AsyncLocalStorage()))
  assert.throws(() => carryAcross('one more', new AsyncLocalStorage()), { code: 'ERR_LIMIT' })
  assert.equal(
    runCarried({ unknown: 1, request: 6 }, () => request.getStore()),
    6,
  )
  for (const each of many) each.stop()
  assert.equal(
    runCarried({ request: 5 }, () => request.getStore()),
    5,
  )
})
