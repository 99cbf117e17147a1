/**
 * The behaviours that CPython's own tests of its queues check, by the names of those tests (classes _TestQueue and
 * TestSimpleQueue).
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { JoinableQueue, Process, Queue, SimpleQueue } from 'multiproc'
import { checkLeaks } from '../leak-check.js'
import { forEachSharingMethod } from './sharing-methods.js'

checkLeaks()

const full = { code: 'ERR_QUEUE_FULL' }
const empty = { code: 'ERR_QUEUE_EMPTY' }
const closed = { code: 'ERR_CLOSED' }
const TIMEOUT_MS = 20

/** Runs `act`, which must reject or throw with `error` and take as long as the timeout. */
async function takesTimeout(act: () => unknown, error: object): Promise<void> {
  const start = performance.now()
  await assert.rejects(async () => await act(), error)
  assert.ok(performance.now() - start >= TIMEOUT_MS - 2)
}

forEachSharingMethod(context => {
  test('C033 test_put: bounded queue, all forms, full() and empty() across processes', async () => {
    using queue = new Queue<number>({ maxSize: 6 })
    using start = new Queue()
    using done = new Queue()
    const child = new Process({
      context,
      target: async () => {
        await start.get()
        for (let count = 0; count < 6; count++) await queue.get()
        await done.put(null)
      },
    })
    child.start()
    assert.ok(queue.empty() && !queue.full())
    await queue.put(1)
    await queue.put(2, {})
    await queue.put(3, { timeout: 1000 })
    queue.putSync(4)
    await queue.put(5, { timeout: 0 })
    await queue.putNoWait(6)
    assert.ok(!queue.empty() && queue.full())
    await assert.rejects(queue.put(7, { timeout: 0 }), full)
    await assert.rejects(queue.putNoWait(7), full)
    assert.throws(() => queue.putSync(7, { timeout: 0 }), full)
    await takesTimeout(() => queue.put(7, { timeout: TIMEOUT_MS }), full)
    await takesTimeout(() => queue.putSync(7, { timeout: TIMEOUT_MS }), full)
    await start.put(null)
    await done.get()
    assert.ok(queue.empty() && !queue.full())
    await child.join()
  })

  test('C034 test_get: all forms, and how long a timeout takes', async () => {
    using queue = new Queue<number>()
    using start = new Queue()
    using done = new Queue()
    const child = new Process({
      context,
      target: async () => {
        await start.get()
        for (const item of [2, 3, 4, 5]) await queue.put(item)
        await done.put(null)
      },
    })
    child.start()
    assert.ok(queue.empty())
    await start.put(null)
    await done.get()
    assert.ok(!queue.empty())
    assert.equal(await queue.get({ timeout: 1000 }), 2)
    assert.equal(await queue.get(), 3)
    assert.equal(queue.getSync({ timeout: 1 }), 4)
    assert.equal(await queue.getNoWait(), 5)
    assert.ok(queue.empty())
    await assert.rejects(queue.get({ timeout: 0 }), empty)
    await assert.rejects(queue.getNoWait(), empty)
    assert.throws(() => queue.getSync({ timeout: 0 }), empty)
    await takesTimeout(() => queue.get({ timeout: TIMEOUT_MS }), empty)
    await takesTimeout(() => queue.getSync({ timeout: TIMEOUT_MS }), empty)
    await child.join()
  })

  test('C035 test_fork: a queue already used here works in a child that starts later', async () => {
    using queue = new Queue<number>()
    for (let item = 0; item < 10; item++) await queue.put(item)
    const child = new Process({
      context,
      args: [queue],
      target: async (queue: Queue<number>) => {
        for (let item = 10; item < 20; item++) await queue.put(item)
      },
    })
    child.start()
    for (let item = 0; item < 20; item++) assert.equal(await queue.get(), item)
    await assert.rejects(queue.getNoWait(), empty)
    await child.join()
  })

  test('test_task_done: join() waits until consumers are done with all items', async () => {
    using queue = new JoinableQueue<number | null>()
    const work = async (queue: JoinableQueue<number | null>): Promise<number> => {
      let count = 0
      for (; (await queue.get()) !== null; count++) queue.taskDone()
      return count
    }
    const consumers = [1, 2].map(() => new Process({ target: work, args: [queue], context }))
    for (const consumer of consumers) consumer.start()
    for (let item = 0; item < 10; item++) await queue.put(item)
    await queue.join()
    assert.ok(queue.empty())
    for (const _ of consumers) await queue.put(null)
    const counts = await Promise.all(consumers.map(consumer => consumer.result()))
    assert.equal(counts[0]! + counts[1]!, 10)
    for (const consumer of consumers) await consumer.join()
  })

  test('C230 test_empty: SimpleQueue.empty() and the items across processes', async () => {
    const queue = new SimpleQueue<boolean>()
    using start = new Queue()
    using done = new Queue()
    const child = new Process({
      context,
      args: [queue],
      target: async (queue: SimpleQueue<boolean>) => {
        await start.get()
        await queue.put(queue.empty())
        await queue.put(queue.empty())
        await done.put(null)
      },
    })
    child.start()
    assert.ok(queue.empty())
    await start.put(null)
    await done.get()
    assert.ok(!queue.empty())
    assert.equal(await queue.get(), true)
    assert.equal(queue.getSync(), false)
    assert.ok(queue.empty())
    await child.join()
    queue.close()
  })
})

describe('within one process', () => {
  test('C036 test_qsize: follows put and get', async () => {
    using queue = new Queue<number>()
    assert.equal(queue.qsize(), 0)
    await queue.put(1)
    assert.equal(queue.qsize(), 1)
    await queue.put(5)
    assert.equal(queue.qsize(), 2)
    await queue.get()
    assert.equal(queue.qsize(), 1)
    await queue.get()
    assert.equal(queue.qsize(), 0)
  })

  test('C038 test_no_import_lock_contention: a queue is used while a module is being imported', async () => {
    const { got } = await import('../fixtures/queue-at-import.js')
    assert.equal(got, 'during the import')
  })

  test('C040 test_queue_feeder_donot_stop_onexc: an item that cannot be sent leaves room and queue as they were', async () => {
    using queue = new Queue({ maxSize: 1 })
    await assert.rejects(queue.put(new WeakMap()), { code: 'ERR_NOT_SERIALIZABLE' })
    assert.ok(!queue.full())
    await queue.put(true)
    assert.equal(await queue.get({ timeout: 1000 }), true)
  })

  test('C041 test_queue_feeder_on_queue_feeder_error: the caller of put() is told, with the path', async () => {
    using queue = new Queue()
    await assert.rejects(queue.put({ inner: [new WeakMap()] }), (error: { path: readonly string[] }) => {
      assert.ok(error.path.join('').includes('inner'))
      return true
    })
  })

  test('C042 test_closed_queue_empty_exceptions: empty() of a closed queue', async () => {
    const unused = new Queue()
    unused.close()
    await unused.joinThread()
    assert.ok(unused.empty())
    const used = new Queue()
    await used.put('foo')
    used.close()
    await used.joinThread()
    assert.throws(() => used.empty(), closed)
  })

  test('C043 test_closed_queue_put_get_exceptions: put and get of a closed queue', async () => {
    for (const queue of [new Queue(), new JoinableQueue()]) {
      queue.close()
      await assert.rejects(queue.put('foo'), closed)
      await assert.rejects(queue.get(), closed)
      assert.throws(() => queue.putSync('foo'), closed)
      assert.throws(() => queue.getSync(), closed)
    }
  })

  test('C229 test_empty_exceptions: empty() of a closed SimpleQueue', () => {
    const queue = new SimpleQueue()
    queue.close()
    assert.throws(() => queue.empty(), closed)
  })

  test('C231 test_close: closing a SimpleQueue twice is fine', () => {
    const queue = new SimpleQueue()
    queue.close()
    queue.close()
  })

  test('C232 test_closed: a closed SimpleQueue neither puts nor gets', async () => {
    const queue = new SimpleQueue()
    queue.close()
    assert.ok(queue.isClosed)
    await assert.rejects(queue.put(1), closed)
    await assert.rejects(queue.get(), closed)
  })
})
