/** Waiting within one process: order, timeouts, signals, and what a task of this thread can and cannot wait for. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Barrier, Condition, Event, Lock, RLock, Semaphore } from 'multiproc'
import { sharedHeap } from '#src/platform/shared-heap.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
const INVALID_STATE = { code: 'ERR_INVALID_STATE' }
const INVALID_ARGUMENT = { code: 'ERR_INVALID_ARGUMENT' }

describe('Lock', () => {
  test('tasks of one thread exclude each other, and get the lock in the order in which they came', async () => {
    const lock = new Lock()
    const order: number[] = []
    let inside = 0
    const task = async (number: number): Promise<void> => {
      await lock.acquire()
      assert.equal(++inside, 1)
      await turn()
      inside--
      order.push(number)
      lock.release()
    }
    const numbers = Array.from({ length: 200 }, (_, number) => number)
    await Promise.all(numbers.map(task))
    assert.deepEqual(order, numbers)
    assert.equal(lock.locked(), false)
  })

  test('a hundred tasks that wait cost one wait of the heap at most', async () => {
    const heap = sharedHeap()
    const lock = new Lock()
    let pending = 0
    let mostPending = 0
    const { waitAsync } = heap
    heap.waitAsync = (...parameters) => {
      mostPending = Math.max(mostPending, ++pending)
      const wait = waitAsync.apply(heap, parameters)
      void wait.outcome.then(() => pending--)
      return wait
    }
    try {
      await lock.acquire()
      const semaphore = new Semaphore(0)
      const tasks = Array.from({ length: 100 }, () => semaphore.acquire())
      const locks = Array.from({ length: 100 }, async () => {
        await lock.acquire()
        lock.release()
      })
      await turn()
      lock.release()
      for (const _ of tasks) semaphore.release()
      await Promise.all([...tasks, ...locks])
      assert.ok(mostPending <= 1, `${mostPending} at once`)
    } finally {
      heap.waitAsync = waitAsync
    }
  })

  test('a task that gives up, by timeout or signal, is passed over', async () => {
    const lock = new Lock()
    await lock.acquire()
    const controller = new AbortController()
    const aborted = assert.rejects(lock.acquire({ signal: controller.signal }), /enough/)
    const timedOut = lock.acquire({ timeout: 1 })
    const last = lock.acquire()
    controller.abort(new Error('enough'))
    await aborted
    assert.equal(await timedOut, false)
    lock.release()
    assert.equal(await last, true)
    await assert.rejects(lock.acquire({ signal: controller.signal }), /enough/)
    await assert.rejects(lock.guard({ timeout: 1 }), { code: 'ERR_TIMEOUT' })
    assert.throws(() => lock.guardSync({ timeout: 1 }), { code: 'ERR_TIMEOUT' })
    lock.release()
    assert.equal(lock.locked(), false)
  })

  test('a guard gives the lock back once', async () => {
    const lock = new Lock()
    const held = await lock.guard()
    held.release()
    await lock.acquire()
    held.release()
    held[Symbol.dispose]()
    assert.ok(lock.locked())
  })

  test('acquireSync() refuses to wait without a limit for what this thread holds', async () => {
    const lock = new Lock()
    await lock.acquire()
    assert.throws(() => lock.acquireSync(), INVALID_STATE)
    assert.equal(lock.acquireSync({ timeout: 1 }), false)
    lock.release()
  })

  test('wrong and misspelt options are refused', async () => {
    const lock = new Lock()
    await assert.rejects(lock.acquire({ timeout: NaN }), INVALID_ARGUMENT)
    await assert.rejects(lock.acquire({ time: 1 } as never), INVALID_ARGUMENT)
    assert.throws(() => lock.acquireSync({ timeout: 'x' as never }), INVALID_ARGUMENT)
    assert.throws(() => new Semaphore(-1), INVALID_ARGUMENT)
    assert.throws(() => new Semaphore(1.5), INVALID_ARGUMENT)
    assert.throws(() => new Barrier(0), INVALID_ARGUMENT)
    assert.throws(() => new Barrier(1, { action: 1 as never }), INVALID_ARGUMENT)
    assert.throws(() => new Condition({} as never), INVALID_ARGUMENT)
  })
})

describe('Condition', () => {
  test('wait() and notify() need the lock', async () => {
    const condition = new Condition()
    await assert.rejects(condition.wait(), INVALID_STATE)
    assert.throws(() => condition.waitSync(), INVALID_STATE)
    await assert.rejects(
      condition.waitFor(() => true),
      INVALID_STATE,
    )
    assert.throws(() => condition.notify(), INVALID_STATE)
    assert.throws(() => condition.notifyAll(), INVALID_STATE)
    using held = await condition.guard()
    assert.throws(() => condition.notify(0.5), INVALID_ARGUMENT)
    assert.ok(held)
  })

  test('wait() gives back all levels of an RLock, and has them again afterwards', async () => {
    const lock = new RLock()
    const condition = new Condition(lock)
    lock.acquireSync()
    lock.acquireSync()
    const waiting = condition.wait()
    assert.equal(lock.locked(), false)
    {
      using held = await condition.guard()
      condition.notify()
      assert.ok(held)
    }
    assert.equal(await waiting, true)
    lock.release()
    assert.ok(lock.locked())
    lock.release()
    assert.equal(lock.locked(), false)
  })

  test('tasks of one thread are notified in the order in which they came', async () => {
    const condition = new Condition()
    const order: number[] = []
    const task = async (number: number): Promise<void> => {
      using held = await condition.guard()
      await condition.wait()
      order.push(number)
      assert.ok(held)
    }
    const tasks = [0, 1, 2, 3].map(task)
    await turn()
    for (const count of [1, 3]) {
      using held = await condition.guard()
      condition.notify(count)
      assert.ok(held)
    }
    await Promise.all(tasks)
    assert.deepEqual(order, [0, 1, 2, 3])
  })
})

test('an event lets go who waited when it was set, even if it is cleared at once', async () => {
  const event = new Event()
  const waiting = [event.wait(), event.wait({ timeout: 60_000 })]
  await turn()
  event.set()
  event.clear()
  assert.deepEqual(await Promise.all(waiting), [true, true])
  assert.equal(await event.wait({ timeout: 1 }), false)
  await assert.rejects(event.wait({ signal: AbortSignal.abort(new Error('no')) }), /no/)
})

test('tasks of one thread pass a barrier, and a signal breaks it', async () => {
  const barrier = new Barrier(3)
  for (let round = 0; round < 5; round++) {
    const indexes = await Promise.all([barrier.wait(), barrier.wait(), barrier.wait()])
    assert.deepEqual(
      indexes.toSorted((a, b) => a - b),
      [0, 1, 2],
    )
  }
  const controller = new AbortController()
  const other = assert.rejects(barrier.wait(), { code: 'ERR_BROKEN_BARRIER' })
  const aborted = assert.rejects(barrier.wait({ signal: controller.signal }), /stop/)
  await turn()
  controller.abort(new Error('stop'))
  await Promise.all([aborted, other])
  assert.ok(barrier.isBroken)
})

test('an action that throws breaks the barrier; its error goes to the one who ran it', async () => {
  const fail = (): void => {
    throw new Error('no action')
  }
  const barrier = new Barrier(2, { action: fail })
  const broken = assert.rejects(barrier.wait(), { code: 'ERR_BROKEN_BARRIER' })
  await turn()
  await assert.rejects(barrier.wait(), /no action/)
  await broken
  assert.throws(() => barrier.waitSync(), { code: 'ERR_BROKEN_BARRIER' })
})
