/** Whatever of the caller's is called later runs in the async context of the call. */
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, test } from 'node:test'
import { Pool, ProcessPoolExecutor } from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks } from '../leak-check.js'
import { square } from './tasks.js'

checkLeaks()

const storage = new AsyncLocalStorage<string>()

forEachStartMethod(context => {
  describe('the async context of the caller', () => {
    test('is there behind the await of every call, whoever else has called', async () => {
      await using pool = new Pool({ processes: 2, context })
      const inContext = (name: string): Promise<void> =>
        storage.run(name, async () => {
          await pool.apply(square, [1])
          assert.equal(storage.getStore(), name)
          await pool.map(square, [1, 2])
          assert.equal(storage.getStore(), name)
          for await (const _ of pool.imap(square, [1, 2, 3])) assert.equal(storage.getStore(), name)
          await assert.rejects(
            pool
              .apply(() => {
                throw new Error('on purpose')
              })
              .finally(() => assert.equal(storage.getStore(), name)),
          )
          await pool.apply(square, [2]).then(() => assert.equal(storage.getStore(), name))
        })
      await Promise.all(['a', 'b', 'c'].map(inContext))
    })

    test('is there in the input that is read as it is needed, and when it is closed', async () => {
      await using pool = new Pool({ processes: 1, context })
      const seen = new Set<string | undefined>()
      function* numbers(): Generator<number> {
        try {
          for (let n = 0; n < 1000; n++) {
            seen.add(storage.getStore())
            yield n
          }
        } finally {
          seen.add(storage.getStore())
        }
      }
      async function* later(): AsyncGenerator<number> {
        for (const n of numbers()) {
          await Promise.resolve()
          seen.add(storage.getStore())
          yield n
        }
      }
      const other = storage.run('other', async () =>
        pool.map(
          square,
          Array.from({ length: 5000 }, () => 1),
        ),
      )
      await storage.run('mine', async () => {
        await pool.map(square, later(), { chunkSize: 7 })
        for await (const n of pool.imap(square, numbers(), { chunkSize: 7 })) if (n > 100) break
        for await (const n of pool.imap(square, later(), { chunkSize: 7 })) if (n > 100) break
      })
      await other
      assert.deepEqual([...seen], ['mine'])
    })

    test('is there when a policy of retries is asked', async () => {
      await using pool = new Pool({ processes: 1, context })
      const seen: (string | undefined)[] = []
      const when = (): boolean => {
        seen.push(storage.getStore())
        return true
      }
      const failing = (): never => {
        throw new Error('on purpose')
      }
      const calls = ['x', 'y'].map(name =>
        storage.run(name, () => pool.apply(failing, [], { retries: { limit: 1, when } })),
      )
      await Promise.allSettled(calls)
      assert.deepEqual(new Set(seen), new Set(['x', 'y']))
      assert.equal(seen.length, 2)
    })
  })
})

test('the callbacks of a future run each in the context in which they were added', async () => {
  await using executor = new ProcessPoolExecutor(1)
  const future = storage.run('call', () => executor.submit(square, 3))
  const seen: (string | undefined)[] = []
  for (const name of ['one', 'two'])
    storage.run(name, () => future.addDoneCallback(() => void seen.push(storage.getStore())))
  assert.equal(await future, 9)
  storage.run('three', () => future.addDoneCallback(() => void seen.push(storage.getStore())))
  assert.deepEqual(seen, ['one', 'two', 'three'])
})
