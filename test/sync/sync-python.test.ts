/**
 * The behaviours that CPython's own tests check, by the names of those tests (classes _TestLock, _TestSemaphore,
 * _TestCondition, _TestEvent).
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import { BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore } from 'multiproc'
import { Latches } from '../latch.js'
import { checkLeaks } from '../leak-check.js'
import { call, sharingMethods, start } from './heap-children.js'
import {
  acquireAndTell,
  holdUntilReleased,
  lockedInChild,
  setEvent,
  waitForEvent,
  waitOnce,
  waitOnceSync,
} from './tasks.js'

checkLeaks()

const INVALID_STATE = { code: 'ERR_INVALID_STATE' }

const waiting: [form: string, task: (...args: Parameters<typeof waitOnce>) => boolean | Promise<boolean>][] =
  [
    ['async', waitOnce],
    ['blocking', waitOnceSync],
  ]

test('C044 test_lock: a second acquire without waiting is false, and an unlocked lock cannot be released', async () => {
  const lock = new Lock()
  assert.equal(await lock.acquire(), true)
  assert.equal(await lock.acquire({ timeout: 0 }), false)
  assert.equal(lock.acquireSync({ timeout: 0 }), false)
  assert.equal(lock.release(), undefined)
  assert.throws(() => lock.release(), INVALID_STATE)
})

test('C045 test_rlock: three acquires need three releases', async () => {
  const lock = new RLock()
  for (let level = 0; level < 3; level++) assert.equal(lock.acquireSync(), true)
  for (let level = 0; level < 3; level++) lock.release()
  assert.throws(() => lock.release(), INVALID_STATE)
  for (let level = 0; level < 3; level++) assert.equal(await lock.acquire(), true)
  for (let level = 0; level < 3; level++) lock.release()
  assert.throws(() => lock.release(), INVALID_STATE)
})

test('C046 test_lock_context: a lock is held in a block and free after it', async () => {
  const lock = new Lock()
  {
    using held = await lock.guard()
    assert.ok(held)
    assert.ok(lock.locked())
  }
  assert.ok(!lock.locked())
})

test('C051 test_rlock_context: entering a recursive lock twice gives something true', async () => {
  const lock = new RLock()
  {
    using outer = await lock.guard()
    using inner = lock.guardSync()
    assert.ok(outer && inner)
  }
  assert.ok(!lock.locked())
})

test('test_semaphore: a semaphore of two can be acquired twice, and released beyond its beginning', async () => {
  const semaphore = new Semaphore(2)
  assert.equal(semaphore.getValue(), 2)
  await semaphore.acquire()
  assert.equal(semaphore.getValue(), 1)
  await semaphore.acquire()
  assert.equal(semaphore.getValue(), 0)
  assert.equal(await semaphore.acquire({ timeout: 0 }), false)
  for (let count = 1; count <= 4; count++) {
    semaphore.release()
    assert.equal(semaphore.getValue(), count)
  }
})

test('test_bounded_semaphore: a release too many is refused', async () => {
  const semaphore = new BoundedSemaphore(2)
  await semaphore.acquire()
  await semaphore.acquire()
  semaphore.release()
  semaphore.release()
  assert.throws(() => semaphore.release(), INVALID_STATE)
  assert.equal(semaphore.getValue(), 2)
})

test('test_timeout: acquiring a semaphore of none ends with the timeout', async () => {
  const semaphore = new Semaphore(0)
  assert.equal(await semaphore.acquire({ timeout: 0 }), false)
  assert.equal(await semaphore.acquire({ timeout: 1 }), false)
  assert.equal(semaphore.acquireSync({ timeout: 1 }), false)
})

test('C063 test_repr: an event is shown as set or unset', () => {
  const event = new Event()
  assert.match(inspect(event), /unset/)
  event.set()
  assert.match(inspect(event), /\bset\b/)
  event.clear()
  assert.match(String(event), /unset/)
})

test('C060 test_waitfor_timeout: waitFor() gives false when its predicate never holds', async () => {
  const condition = new Condition()
  let calls = 0
  const never = (): boolean => ++calls < 0
  {
    using held = await condition.guard()
    assert.equal(await condition.waitFor(never, { timeout: 5 }), false)
    assert.equal(condition.waitForSync(never, { timeout: 5 }), false)
    assert.ok(held)
  }
  assert.ok(calls >= 4)
})

for (const method of sharingMethods) {
  describe(method, () => {
    for (const [name, make] of [
      ['C048 test_lock_locked_2processes', () => new Lock()],
      ['C050 test_rlock_locked_2processes', () => new RLock()],
    ] as const) {
      test(`${name}: locked() is true everywhere while one process holds the lock`, async () => {
        await using latches = await Latches.open()
        const lock = make()
        assert.equal(await call(method, lockedInChild, lock), false)
        const holder = start(method, holdUntilReleased, lock, latches.address, 'held')
        await latches.arrival('held')
        assert.equal(lock.locked(), true)
        assert.equal(await call(method, lockedInChild, lock), true)
        latches.release('held')
        await holder.join()
        assert.equal(lock.locked(), false)
      })
    }

    for (const [form, task] of waiting) {
      test(`C055 test_notify: notify() wakes one of two waiters, twice (${form})`, async () => {
        const condition = new Condition()
        const [sleeping, woken] = [new Semaphore(0), new Semaphore(0)]
        const children = [
          start(method, task, condition, sleeping, woken),
          start('thread', task, condition, sleeping, woken),
        ]
        await sleeping.acquire()
        await sleeping.acquire()
        for (let count = 1; count <= 2; count++) {
          const held = await condition.guard()
          condition.notify()
          held.release()
          await woken.acquire()
          assert.equal(woken.getValue(), 0)
        }
        for (const child of children) assert.equal(await child.result(), true)
        for (const child of children) await child.join()
        assert.match(String(condition), /free.* 0 waiting/)
      })

      test(`test_notify_n: notify(n) wakes n of those who wait, and nobody when nobody does (${form})`, async () => {
        const condition = new Condition()
        const [sleeping, woken] = [new Semaphore(0), new Semaphore(0)]
        const children = [method, method, 'thread' as const, 'thread' as const].map(each =>
          start(each, task, condition, sleeping, woken),
        )
        for (const _ of children) await sleeping.acquire()
        for (const [count, expected] of [
          [0, 0],
          [-1, 0],
          [1, 1],
          [4, 3],
          [3, 0],
        ] as const) {
          const held = await condition.guard()
          assert.equal(woken.getValue(), 0)
          condition.notify(count)
          held.release()
          for (let each = 0; each < expected; each++) await woken.acquire()
        }
        for (const child of children) assert.equal(await child.result(), true)
        for (const child of children) await child.join()
        assert.equal(woken.getValue(), 0)
        assert.match(String(condition), /free.* 0 waiting/)
      })

      test(`C056 test_notify_all: six waiters time out, and six more are all woken (${form})`, async () => {
        const condition = new Condition()
        const [sleeping, woken] = [new Semaphore(0), new Semaphore(0)]
        const six = (timeout?: number): ReturnType<typeof start>[] =>
          [0, 1, 2].flatMap(() => [
            start(method, task, condition, sleeping, woken, timeout),
            start('thread', task, condition, sleeping, woken, timeout),
          ])
        const early = six(5)
        for (let count = 0; count < 6; count++) {
          await sleeping.acquire()
          await woken.acquire()
        }
        for (const child of early) assert.equal(await child.result(), false)
        assert.match(String(condition), / 0 waiting/)
        const late = six()
        for (let count = 0; count < 6; count++) await sleeping.acquire()
        {
          using held = await condition.guard()
          assert.match(String(condition), / 6 waiting/)
          condition.notifyAll()
          assert.ok(held)
        }
        for (let count = 0; count < 6; count++) await woken.acquire()
        for (const child of late) assert.equal(await child.result(), true)
        for (const child of [...early, ...late]) await child.join()
        assert.match(String(condition), / 0 waiting/)
        assert.equal(woken.getValue(), 0)
      })
    }

    test('C059 test_waitfor: a predicate over shared state holds in both directions', async () => {
      const condition = new Condition()
      // Its value stands for the number in CPython's test.
      const steps = new Semaphore(0)
      const child = start(
        method,
        async (there: Condition, count: Semaphore) => {
          const held = await there.guard()
          const first = await there.waitFor(() => count.getValue() === 1)
          count.release()
          there.notify()
          const second = await there.waitFor(() => count.getValue() === 3)
          held.release()
          return [first, second]
        },
        condition,
        steps,
      )
      {
        using held = await condition.guard()
        steps.release()
        condition.notify()
        assert.equal(await condition.waitFor(() => steps.getValue() === 2), true)
        steps.release()
        condition.notify()
        assert.ok(held)
      }
      assert.deepEqual(await child.result(), [true, true])
      await child.join()
    })

    test('C061 test_wait_result: false after the timeout, true when notified, and the reason of a signal', async () => {
      const condition = new Condition()
      const isWaiting = new Event()
      const held = await condition.guard()
      assert.equal(await condition.wait({ timeout: 0 }), false)
      assert.equal(await condition.wait({ timeout: 1 }), false)
      assert.equal(condition.waitSync({ timeout: 1 }), false)
      const child = start(
        method,
        async (there: Condition, event: Event) => {
          using inside = await there.guard()
          there.notify()
          event.set()
          return inside.ownerDied
        },
        condition,
        isWaiting,
      )
      assert.equal(await condition.wait({ timeout: 60_000 }), true)
      const interruption = new AbortController()
      const interrupted = condition.wait({ signal: interruption.signal })
      interruption.abort(new Error('interrupted'))
      await assert.rejects(interrupted, /interrupted/)
      assert.ok(condition.lock.locked())
      held.release()
      await child.join()
    })

    test('C062 test_event: wait() is true when the event is set, by a child as well', async () => {
      const event = new Event()
      assert.equal(event.isSet(), false)
      assert.equal(await event.wait({ timeout: 0 }), false)
      assert.equal(await event.wait({ timeout: 1 }), false)
      assert.equal(event.waitSync({ timeout: 1 }), false)
      event.set()
      assert.equal(event.isSet(), true)
      assert.equal(await event.wait(), true)
      assert.equal(await event.wait({ timeout: 1 }), true)
      assert.equal(event.waitSync(), true)
      event.clear()
      assert.equal(event.isSet(), false)
      const child = start(method, setEvent, event)
      assert.equal(await event.wait(), true)
      assert.equal(await call(method, waitForEvent, event), true)
      await child.join()
    })

    test('a lock in a child excludes the parent', async () => {
      await using latches = await Latches.open()
      const lock = new Lock()
      const holder = start(method, holdUntilReleased, lock, latches.address, 'held')
      await latches.arrival('held')
      assert.equal(await lock.acquire({ timeout: 1 }), false)
      const acquired = acquireAndTell(lock)
      latches.release('held')
      assert.equal(await acquired, 'free')
      await holder.join()
    })
  })
}
