/** `wait()` and `asCompleted()` over futures, as CPython's WaitTests and AsCompletedTests. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expectTypeOf } from 'expect-type'
import { TimeoutError, asCompleted as fromRoot } from 'multiproc'
import { ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, Future, asCompleted, wait } from 'multiproc/futures'
import { eventually } from '../leak-check.js'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

function finished(value = 1): Future<number> {
  const future = new Future<number>()
  future.setResult(value)
  return future
}

function failed(): Future<number> {
  const future = new Future<number>()
  future.setException(new Error('failed'))
  void future.exception()
  return future
}

function cancelled({ isNotified }: { isNotified: boolean }): Future<number> {
  const future = new Future<number>()
  future.cancel()
  if (isNotified) future.setRunningOrNotifyCancel()
  return future
}

const pending = (): Future<number> => new Future<number>()

async function collect<T>(futures: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const future of futures) all.push(future)
  return all
}

describe('wait()', () => {
  test('C400 test_first_completed: returns with the first; one whose cancellation was not noticed is not done', async () => {
    const [one, other, unnoticed] = [pending(), pending(), cancelled({ isNotified: false })]
    const waiting = wait([unnoticed, one, other], { returnWhen: FIRST_COMPLETED })
    one.setResult(1)
    const { done, notDone } = await waiting
    assert.deepEqual(done, new Set([one]))
    assert.deepEqual(notDone, new Set([unnoticed, other]))
  })

  test('C401 test_first_completed_some_already_completed: returns at once', async () => {
    const [noticed, one] = [cancelled({ isNotified: true }), pending()]
    const { done, notDone } = await wait([noticed, finished(), one], { returnWhen: 'FIRST_COMPLETED' })
    assert.equal(done.size, 2)
    assert.deepEqual(notDone, new Set([one]))
  })

  test('C402 test_first_exception: returns at the first error', async () => {
    const [one, two, three] = [pending(), pending(), pending()]
    const waiting = wait([one, two, three], { returnWhen: FIRST_EXCEPTION })
    one.setResult(1)
    two.setException(new Error('failed'))
    void two.exception()
    const { done, notDone } = await waiting
    assert.deepEqual(done, new Set([one, two]))
    assert.deepEqual(notDone, new Set([three]))
  })

  test('C403 test_first_exception_some_already_complete: others that have ended do not matter', async () => {
    const [one, two] = [pending(), pending()]
    const noticed = cancelled({ isNotified: true })
    const waiting = wait([finished(), noticed, one, two], { returnWhen: FIRST_EXCEPTION })
    one.setException(new Error('failed'))
    void one.exception()
    const { done, notDone } = await waiting
    assert.equal(done.size, 3)
    assert.deepEqual(notDone, new Set([two]))
  })

  test('C404 test_first_exception_one_already_failed: returns at once', async () => {
    const [bad, one] = [failed(), pending()]
    const { done, notDone } = await wait([bad, one], { returnWhen: FIRST_EXCEPTION })
    assert.deepEqual([done, notDone], [new Set([bad]), new Set([one])])
  })

  test('FIRST_EXCEPTION without an error waits for all', async () => {
    const [one, two] = [pending(), pending()]
    const waiting = wait([one, two], { returnWhen: FIRST_EXCEPTION })
    one.setResult(1)
    two.cancel()
    two.setRunningOrNotifyCancel()
    assert.equal((await waiting).done.size, 2)
  })

  test('C405 test_all_completed: waits for all, whatever becomes of them', async () => {
    const [one, two, three] = [pending(), pending(), pending()]
    const waiting = wait([one, two, three, failed()], { returnWhen: ALL_COMPLETED })
    three.setResult(3)
    one.setException(new Error('failed'))
    void one.exception()
    two.cancel()
    two.setRunningOrNotifyCancel()
    const { done, notDone } = await waiting
    assert.deepEqual([done.size, notDone.size], [4, 0])
  })

  test('C406 test_timeout: tells what has ended and what has not', async () => {
    const [one, two] = [finished(), pending()]
    const { done, notDone } = await wait([one, two], { timeout: 1 })
    assert.deepEqual([done, notDone], [new Set([one]), new Set([two])])
  })

  test('takes any iterable, duplicates once, and nothing at all', async () => {
    const one = finished()
    function* twice(): Generator<Future<number>> {
      yield one
      yield one
    }
    assert.equal((await wait(twice())).done.size, 1)
    assert.deepEqual(await wait([]), { done: new Set(), notDone: new Set() })
    assert.deepEqual(await wait([], { returnWhen: FIRST_COMPLETED }), { done: new Set(), notDone: new Set() })
  })

  test('is ended by a signal', async () => {
    const stop = new AbortController()
    const waiting = wait([pending()], { signal: stop.signal })
    stop.abort(new Error('enough'))
    await assert.rejects(waiting, /enough/)
  })

  test('refuses what makes no sense', async () => {
    await assert.rejects(wait([Promise.resolve(1) as never]), /must be objects of the class Future/)
    await assert.rejects(wait(undefined as never), TypeError)
    await assert.rejects(wait([], { returnWhen: 'SOMETIME' as never }), /"returnWhen"/)
    await assert.rejects(wait([], { timeout: NaN }), RangeError)
    await assert.rejects(wait([], { timeOut: 1 } as never), /no option "timeOut"/)
  })
})

describe('asCompleted()', () => {
  test('is the same in the package and in multiproc/futures', () => assert.equal(fromRoot, asCompleted))

  test('C300 test_no_timeout: gives every future, in the order in which they end', async () => {
    const [one, two, three] = [pending(), pending(), pending()]
    const early = [finished(), cancelled({ isNotified: true })]
    const all = collect(asCompleted([one, two, ...early, three]))
    two.setResult(2)
    three.cancel()
    three.setRunningOrNotifyCancel()
    one.setException(new Error('failed'))
    void one.exception()
    assert.deepEqual(await all, [...early, two, three, one])
  })

  test('C301 test_future_times_out: gives those that have ended, then a TimeoutError', async () => {
    for (const timeout of [0, 1]) {
      const early = [finished(), failed()]
      const given: unknown[] = []
      await assert.rejects(
        async () => {
          for await (const future of asCompleted([pending(), ...early], { timeout })) given.push(future)
        },
        (error: Error) => {
          assert.ok(error instanceof TimeoutError)
          assert.match(error.message, /^1 \(of 3\) futures unfinished\n/)
          return true
        },
      )
      assert.deepEqual(given, early)
    }
  })

  test('a timeout does not matter when all have ended', async () => {
    assert.equal((await collect(asCompleted([finished(), failed()], { timeout: 0 }))).length, 2)
  })

  test('C302 test_duplicate_futures: each comes once, from any iterable', async () => {
    const one = finished()
    function* twice(): Generator<Future<number>> {
      yield one
      yield one
    }
    assert.deepEqual(await collect(asCompleted(twice())), [one])
  })

  test('C303 test_free_reference_yielded_future: one that was given out is not kept', async () => {
    const last = pending()
    const futures = [finished(1), finished(2)]
    const references = futures.map(future => new WeakRef(future))
    const iterator = asCompleted([...futures, last])
    futures.length = 0
    await iterator.next()
    await iterator.next()
    // A WeakRef keeps what it refers to until the turn in which it was made is over.
    await eventually(() => {
      collectGarbage()
      return references.every(reference => reference.deref() === undefined)
    })
    last.setResult(3)
    assert.equal((await iterator.next()).value, last)
    assert.equal((await iterator.next()).done, true)
  })

  test('is typed as giving futures, and not what they return', async () => {
    for await (const future of asCompleted([finished(3)])) {
      expectTypeOf(future).toEqualTypeOf<Future<number>>()
      assert.equal(await future, 3)
    }
  })

  test('several next() at once each get one, and return() ends it', async () => {
    const [one, two] = [pending(), pending()]
    const iterator = asCompleted([one, two])
    const both = Promise.all([iterator.next(), iterator.next(), iterator.next()])
    two.setResult(2)
    one.setResult(1)
    assert.deepEqual(
      (await both).map(({ value }) => value),
      [two, one, undefined],
    )
    const other = asCompleted([finished(), pending()])
    await other.return()
    assert.deepEqual(await other.next(), { done: true, value: undefined })
  })

  test('refuses what makes no sense', () => {
    assert.throws(() => asCompleted([1 as never]), TypeError)
    assert.throws(() => asCompleted([], { timeout: NaN }), RangeError)
    assert.throws(() => asCompleted([], { timeouts: 1 } as never), TypeError)
  })
})
