/** `Future` by itself, as CPython's FutureTests: its states, what each call does in each of them, and its callbacks. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import { expectTypeOf } from 'expect-type'
import { CancelledError, Future, InvalidStateError, ProcessError, TimeoutError } from 'multiproc'

const failure = new RangeError('no such thing')

const pending = (): Future<number> => new Future<number>()
const running = (): Future<number> => {
  const future = pending()
  assert.equal(future.setRunningOrNotifyCancel(), true)
  return future
}
const cancelled = (): Future<number> => {
  const future = pending()
  assert.equal(future.cancel(), true)
  return future
}
const notified = (): Future<number> => {
  const future = cancelled()
  assert.equal(future.setRunningOrNotifyCancel(), false)
  return future
}
const returned = (): Future<number> => {
  const future = running()
  future.setResult(42)
  return future
}
const threw = (): Future<number> => {
  const future = running()
  future.setException(failure)
  // Looked at, so that no warning tells of it.
  void future.exception()
  return future
}
const all = { pending, running, cancelled, notified, returned, threw }

/** What `ask` says of a future in each state. */
function inEachState<A>(ask: (future: Future<number>) => A): Record<keyof typeof all, A> {
  return Object.fromEntries(Object.entries(all).map(([state, make]) => [state, ask(make())])) as never
}

/** The name of the error that a promise rejects with, or what it resolves to. */
async function outcomeOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    return await promise
  } catch (error) {
    return (error as Error).name
  }
}

async function outcomesInEachState(
  ask: (future: Future<number>) => Promise<unknown>,
): Promise<Record<string, unknown>> {
  const asked = Object.entries(inEachState(ask))
  return Object.fromEntries(
    await Promise.all(asked.map(async ([state, promise]) => [state, await outcomeOf(promise)])),
  )
}

describe('states', () => {
  test('C330 test_cancel: works while it is pending, and again when it is cancelled', () => {
    assert.deepEqual(
      inEachState(future => future.cancel()),
      { pending: true, running: false, cancelled: true, notified: true, returned: false, threw: false },
    )
  })

  test('C331 test_cancelled, C332 test_done, C333 test_running: tell the state', () => {
    assert.deepEqual(
      inEachState(future => [future.state, future.cancelled(), future.running(), future.done()]),
      {
        pending: ['pending', false, false, false],
        running: ['running', false, true, false],
        cancelled: ['cancelled', true, false, true],
        notified: ['cancelled', true, false, true],
        returned: ['finished', false, false, true],
        threw: ['finished', false, false, true],
      },
    )
  })

  test('C334 test_result_with_timeout: TimeoutError, CancelledError, the error or the value', async () => {
    assert.deepEqual(await outcomesInEachState(async future => await future.result({ timeout: 0 })), {
      pending: 'TimeoutError',
      running: 'TimeoutError',
      cancelled: 'CancelledError',
      notified: 'CancelledError',
      returned: 42,
      threw: 'RangeError',
    })
  })

  test('C337 test_exception_with_timeout: the same, and null where there is none', async () => {
    assert.deepEqual(
      await outcomesInEachState(async future => {
        const error = await future.exception({ timeout: 0 })
        return error === null ? null : (error as Error).message
      }),
      {
        pending: 'TimeoutError',
        running: 'TimeoutError',
        cancelled: 'CancelledError',
        notified: 'CancelledError',
        returned: null,
        threw: failure.message,
      },
    )
  })

  test('setRunningOrNotifyCancel() is refused with InvalidStateError where it makes no sense', () => {
    for (const make of [running, notified, returned, threw]) {
      assert.throws(() => make().setRunningOrNotifyCancel(), InvalidStateError)
    }
  })

  test('C339 test_multiple_set_result: a second result is refused, and the first stays', async () => {
    const future = pending()
    future.setResult(1)
    assert.throws(() => future.setResult(2), InvalidStateError)
    assert.throws(() => future.setException(failure), { code: 'ERR_INVALID_STATE' })
    assert.equal(await future.result(), 1)
  })

  test('C340 test_multiple_set_exception: a second error is refused, and the first stays', async () => {
    const future = pending()
    future.setException(failure)
    assert.throws(() => future.setException(new Error('another')), InvalidStateError)
    assert.equal(await future.exception(), failure)
  })

  test('a result of a cancelled future is refused', () => {
    assert.throws(() => cancelled().setResult(1), InvalidStateError)
    assert.throws(() => notified().setException(failure), InvalidStateError)
  })

  test('the errors are ProcessErrors with their codes', () => {
    assert.ok(new CancelledError('') instanceof ProcessError)
    assert.equal(new CancelledError('').code, 'ERR_CANCELLED')
    assert.ok(new InvalidStateError('') instanceof ProcessError)
    assert.equal(new InvalidStateError('').name, 'InvalidStateError')
  })

  test('C329 test_repr: shows the state, and what kind of value or error there is', () => {
    assert.deepEqual(
      inEachState(future => inspect(future)),
      {
        pending: '<Future state=pending>',
        running: '<Future state=running>',
        cancelled: '<Future state=cancelled>',
        notified: '<Future state=cancelled>',
        returned: '<Future state=finished returned number>',
        threw: '<Future state=finished raised RangeError>',
      },
    )
    for (const value of [null, undefined, [], Object.create(null)]) {
      const future = new Future<unknown>()
      future.setResult(value)
      assert.match(String(future), /^<Future state=finished returned (?:null|undefined|Array|object)>$/)
    }
  })
})

describe('waiting', () => {
  test('C335 test_result_with_success: result() waits for a value that is set later', async () => {
    const future = running()
    const result = future.result({ timeout: 60_000 })
    future.setResult(7)
    assert.equal(await result, 7)
  })

  test('C336 test_result_with_cancel: result() rejects when it is cancelled meanwhile', async () => {
    const future = pending()
    const result = future.result({ timeout: 60_000 })
    future.cancel()
    await assert.rejects(result, CancelledError)
  })

  test('C338 test_exception_with_success: exception() waits for an error that is set later', async () => {
    const future = running()
    const error = future.exception({ timeout: 60_000 })
    future.setException(failure)
    assert.equal(await error, failure)
  })

  test('a future is a promise: await, then, catch, finally, Promise.all', async () => {
    expectTypeOf<Awaited<Future<number>>>().toEqualTypeOf<number>()
    const [one, two] = [pending(), pending()]
    const both = Promise.all([one, two])
    one.setResult(1)
    two.setResult(2)
    assert.deepEqual(await both, [1, 2])
    assert.equal(await one.then(value => value + 1), 2)
    assert.equal(await threw().catch(reason => reason), failure)
    let isOver = false
    await two.finally(() => {
      isOver = true
    })
    assert.ok(isOver)
  })

  test('a wait can be ended by a signal, and a timeout that is no number is refused', async () => {
    const stop = new AbortController()
    const result = pending().result({ signal: stop.signal })
    stop.abort(failure)
    await assert.rejects(result, failure)
    await assert.rejects(pending().result({ timeout: NaN }), RangeError)
  })

  test('C299 test_swallows_falsey_exceptions: what is thrown arrives, whatever it is', async () => {
    for (const reason of [undefined, null, 0, '', false]) {
      const future = pending()
      future.setException(reason)
      assert.deepEqual(
        await future.then(
          () => 'returned',
          thrown => [thrown],
        ),
        [reason],
      )
    }
  })
})

describe('callbacks', () => {
  test('C321, C322, C323: run with the future when it has a result, an error, or is cancelled', () => {
    for (const end of [
      (future: Future<number>) => future.setResult(5),
      (future: Future<number>) => future.setException(failure),
      (future: Future<number>) => future.cancel(),
    ]) {
      const future = pending()
      const seen: unknown[] = []
      future.addDoneCallback(done => seen.push(done === future && done.done()))
      assert.deepEqual(seen, [])
      end(future)
      assert.deepEqual(seen, [true])
      void future.exception().catch(() => {})
    }
  })

  test('C325, C326, C327: run at once when the future has ended already', () => {
    for (const make of [returned, threw, cancelled, notified]) {
      let calls = 0
      make().addDoneCallback(() => calls++)
      assert.equal(calls, 1)
    }
  })

  test('run in the order in which they were added, and once', () => {
    const future = pending()
    const order: number[] = []
    for (const n of [1, 2, 3]) future.addDoneCallback(() => order.push(n))
    future.setResult(0)
    assert.deepEqual(order, [1, 2, 3])
  })

  test('C324 test_done_callback_raises: a warning tells, and later callbacks run', async () => {
    const future = pending()
    let isCalled = false
    const warned = once(process, 'warning') as Promise<[Error]>
    future.addDoneCallback(() => {
      throw new Error('a bad callback')
    })
    future.addDoneCallback(() => {
      isCalled = true
    })
    future.setResult(1)
    assert.ok(isCalled)
    const [{ name, message }] = await warned
    assert.equal(name, 'FutureCallbackWarning')
    assert.match(message, /<Future state=finished returned number> threw: Error: a bad callback/)
    assert.equal(await future, 1)
  })

  test('C328 test_done_callback_raises_already_succeeded: the same when it is added late', async () => {
    const warned = once(process, 'warning') as Promise<[Error]>
    returned().addDoneCallback(async () => {
      await Promise.resolve()
      throw new Error('a late callback')
    })
    const [{ message }] = await warned
    assert.match(message, /a late callback/)
  })

  test('what is no function is refused', () => {
    assert.throws(() => pending().addDoneCallback(7 as never), TypeError)
  })
})

test('TimeoutError says that the task goes on', async () => {
  await assert.rejects(pending().result({ timeout: 0 }), (error: Error) => {
    assert.ok(error instanceof TimeoutError)
    assert.match(error.message, /within 0 ms; its task goes on\nTo fix: /)
    return true
  })
})
