import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Pool, TimeoutError } from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks } from '../leak-check.js'
import { refuse, square } from './tasks.js'

checkLeaks()

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
const squares = (count: number): number[] => range(count).map(square)

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

forEachStartMethod(context => {
  describe('Pool.imap() and imapUnordered()', () => {
    test('imap gives results in the order of the items', async () => {
      await using pool = new Pool({ processes: 2, context })
      for (const chunkSize of [undefined, 1, 9]) {
        const results: number[] = []
        for await (const result of pool.imap(square, range(100), { chunkSize })) results.push(result)
        assert.deepEqual(results, squares(100))
      }
    })

    test('imapUnordered gives each result once, the early ones first', async () => {
      await using latches = await Latches.open()
      const { address } = latches
      await using pool = new Pool({ processes: 2, context })
      const results = pool.imapUnordered(
        async (x: number) => {
          if (x === 0) await passLatch(address, 'zero')
          return x
        },
        [0, 1, 2],
        { chunkSize: 1 },
      )
      assert.deepEqual(
        [await results.next(), await results.next()].map(each => each.value),
        [1, 2],
      )
      await latches.arrival('zero')
      latches.release('zero')
      assert.equal((await results.next()).value, 0)
      assert.equal((await results.next()).done, true)
    })

    test('reads an endless input only as far as results are consumed', async () => {
      await using pool = new Pool({ processes: 2, context })
      let read = 0
      let closed = false
      const endless = function* (): Generator<number> {
        try {
          for (;;) yield read++
        } finally {
          closed = true
        }
      }
      let seen = 0
      for await (const result of pool.imap((x: number) => x + 1, endless(), { bufferSize: 10 })) {
        assert.equal(result, ++seen)
        assert.ok(read <= seen + 10, `${read} read when ${seen} were consumed`)
        if (seen === 500) break
      }
      assert.equal(closed, true)
    })

    test('a failing item rejects its own next() and the iteration goes on', async () => {
      await using pool = new Pool({ processes: 2, context })
      const results = pool.imap(
        (x: number) => {
          if (x === 2) throw new RangeError('two')
          return x
        },
        [1, 2, 3],
      )
      assert.equal((await results.next()).value, 1)
      await assert.rejects(results.next(), { message: 'two' })
      assert.equal((await results.next()).value, 3)
      assert.equal((await results.next()).done, true)
      assert.equal((await results.next()).done, true)
    })

    test('an input that throws when it is closed keeps nobody from ending: that is a warning', async () => {
      const warned = new Promise<Error>(resolve => {
        process.once('warning', resolve)
      })
      await using pool = new Pool({ processes: 2, context })
      const unclosable = function* (): Generator<number> {
        try {
          for (let x = 0; ; x++) yield x
        } finally {
          // oxlint-disable-next-line no-unsafe-finally
          throw new Error('not closed')
        }
      }
      for (const end of ['leave', 'cancel', 'terminate'] as const) {
        const controller = new AbortController()
        const results = pool.imap(square, unclosable(), { bufferSize: 2, signal: controller.signal })
        assert.equal((await results.next()).value, 0)
        if (end === 'leave') {
          await results.return()
          continue
        }
        if (end === 'cancel') controller.abort()
        else await pool.terminate()
        // What was there already comes first.
        const consumed = async (): Promise<void> => {
          for await (const result of results) void result
        }
        await assert.rejects(consumed(), { name: end === 'cancel' ? 'AbortError' : 'ClosedError' })
      }
      assert.match((await warned).message, /not closed/)
      assert.deepEqual(pool.stats().workers, [])
    })

    test('an input that calls itself off is closed, and nothing more of it runs', async () => {
      await using pool = new Pool({ processes: 1, context })
      const controller = new AbortController()
      let isClosed = false
      const input = function* (): Generator<number> {
        try {
          for (let x = 0; ; x++) {
            if (x === 20) controller.abort()
            yield x
          }
        } finally {
          isClosed = true
        }
      }
      const consumed = async (): Promise<void> => {
        for await (const result of pool.imap(square, input(), { signal: controller.signal })) void result
      }
      await assert.rejects(consumed(), { name: 'AbortError' })
      assert.equal(isClosed, true)
      assert.equal(await pool.apply(square, [3]), 9)
    })

    test('an error of the input is raised at its position', async () => {
      await using pool = new Pool({ processes: 2, context })
      for (const name of ['imap', 'imapUnordered'] as const) {
        const broken = function* (): Generator<number> {
          yield* range(10)
          throw new RangeError('input')
        }
        const results = pool[name](square, broken())
        const seen: number[] = []
        await assert.rejects(
          async () => {
            for await (const result of results) seen.push(result)
          },
          { message: 'input' },
        )
        assert.deepEqual(
          seen.toSorted((a, b) => a - b),
          squares(10),
        )
      }
    })

    test('next() with a timeout leaves the result for the following call', async () => {
      await using latches = await Latches.open()
      const { address } = latches
      await using pool = new Pool({ processes: 1, context })
      const results = pool.imap(
        async (x: number) => {
          await passLatch(address, 'go')
          return x
        },
        [5],
      )
      await latches.arrival('go')
      await assert.rejects(results.next({ timeout: 1 }), TimeoutError)
      latches.release('go')
      assert.equal((await results.next()).value, 5)
    })

    test('the pool can be closed while results are still unread', async () => {
      const pool = new Pool({ processes: 2, context })
      const results = pool.imap(square, range(50))
      pool.close()
      const joined = pool.join()
      const seen: number[] = []
      for await (const result of results) seen.push(result)
      await joined
      assert.deepEqual(seen, squares(50))
    })

    test('a consumer that stops at an error does not hold up the end of the pool', async () => {
      await assert.rejects(
        async () => {
          await using pool = new Pool({ processes: 1, context })
          const endless = function* (): Generator<number> {
            for (;;) yield 1
          }
          for await (const _ of pool.imap(() => refuse('x'), endless()));
        },
        { name: 'Unwelcome' },
      )
    })

    test('memory stays flat over 100,000 items of an endless input', async () => {
      await using pool = new Pool({ processes: 2, context })
      let read = 0
      const watched: WeakRef<object>[] = []
      const endless = function* (): Generator<{ id: number; text: string }> {
        for (;;) {
          const item = { id: read++, text: 'x'.repeat(100) }
          if (item.id % 10 === 0) watched.push(new WeakRef(item))
          yield item
        }
      }
      let seen = 0
      let readAhead = 0
      for await (const result of pool.imap(item => ({ id: item.id, length: item.text.length }), endless())) {
        assert.deepEqual([result.id, result.length], [seen++, 100])
        if (seen % 10 === 0) watched.push(new WeakRef(result))
        readAhead = Math.max(readAhead, read - seen)
        if (seen < 100_000) continue
        assert.ok(readAhead <= 65_536, `${readAhead} items read ahead`)
        // A WeakRef keeps its object to the end of the turn in which it was made or looked at.
        await new Promise(resolve => setImmediate(resolve))
        collectGarbage()
        // More was read in that turn.
        readAhead = Math.max(readAhead, read - seen)
        const alive = watched.filter(each => each.deref() !== undefined).length
        // Of the items and results that have been consumed, none is kept; those read ahead may be.
        assert.ok(alive <= readAhead / 10 + 10, `${alive} of ${watched.length} objects are still there`)
        break
      }
    })
  })
})
