/**
 * Every call that waits, in every layer, refuses what Python's forms look like in JavaScript: `join(5)` for
 * `join(timeout=5)`, and `get({ block: false })` for `get(block=False)`. Taken for no options, they would wait for ever.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  asCompleted,
  Barrier,
  Client,
  Condition,
  Event,
  Future,
  JoinableQueue,
  Listener,
  Lock,
  Manager,
  Pipe,
  Process,
  Queue,
  Semaphore,
  SimpleQueue,
  ThreadPool,
  wait,
} from 'multiproc'
import { wait as waitForFutures } from 'multiproc/futures'
import { checkLeaks } from './leak-check.js'

checkLeaks()

const INVALID = { name: 'TypeError', code: 'ERR_INVALID_ARGUMENT' }
const WRONG = [5, true, 'x', { block: false }, { timeOut: 5 }, { timeout: '5' }] as never[]

type Calls = Record<string, (options: never) => unknown>

/** None of the calls may wait, so that what it waits for never comes. */
async function refuseAll(calls: Calls): Promise<void> {
  for (const [name, call] of Object.entries(calls)) {
    for (const options of WRONG) {
      await assert.rejects(async () => await call(options), INVALID, `${name} ${JSON.stringify(options)}`)
    }
  }
}

describe('wrong options of a call that waits are an error', () => {
  test('of queues and pipes', async () => {
    using queue = new Queue<number>(1)
    using joinable = new JoinableQueue<number>()
    using simple = new SimpleQueue()
    await queue.put(1)
    await joinable.put(1)
    using empty = new Queue()
    const [here, there] = Pipe()
    const bytes = new Uint8Array(3)
    await refuseAll({
      put: options => queue.put(2, options),
      putMany: options => queue.putMany([2], options),
      putSync: options => queue.putSync(2, options),
      putManySync: options => queue.putManySync([2], options),
      get: options => empty.get(options),
      getMany: options => empty.getMany(options),
      getSync: options => empty.getSync(options),
      'get of a SimpleQueue': options => simple.get(options),
      'getSync of a SimpleQueue': options => simple.getSync(options),
      join: options => joinable.join(options),
      joinSync: options => joinable.joinSync(options),
      send: options => here.send(1, options),
      sendSync: options => here.sendSync(1, options),
      sendBytes: options => here.sendBytes(bytes, options),
      recv: options => here.recv(options),
      recvSync: options => here.recvSync(options),
      recvBytes: options => here.recvBytes(options),
      recvBytesInto: options => here.recvBytesInto(bytes, options),
      poll: options => here.poll(options),
      pollSync: options => here.pollSync(options),
      wait: options => wait([here], options),
    })
    assert.equal(await there.poll(), false)
    assert.equal(queue.size, 1)
    here.close()
    there.close()
  })

  test('of locks and what is like them', async () => {
    const lock = new Lock()
    await lock.acquire()
    const none = new Semaphore(0)
    const condition = new Condition()
    await condition.acquire()
    const event = new Event()
    const barrier = new Barrier(2)
    await refuseAll({
      acquire: options => lock.acquire(options),
      acquireSync: options => lock.acquireSync(options),
      guard: options => lock.guard(options),
      'acquire of a semaphore': options => none.acquire(options),
      'wait of a condition': options => condition.wait(options),
      'waitFor of a condition': options => condition.waitFor(() => false, options),
      'waitForSync of a condition': options => condition.waitForSync(() => false, options),
      'wait of an event': options => event.wait(options),
      'waitSync of an event': options => event.waitSync(options),
      'wait of a barrier': options => barrier.wait(options),
    })
  })

  test('of processes, pools and futures', async () => {
    const child = new Process({
      context: 'thread',
      target: () => new Promise(() => setInterval(() => {}, 1e6)),
    })
    child.start()
    const pool = new ThreadPool(1)
    const result = pool.apply(() => new Promise<void>(() => setInterval(() => {}, 1e6)))
    result.catch(() => {})
    const results = pool.imap((x: number) => x, [1])
    const future = new Future()
    await refuseAll({
      join: options => child.join(options),
      'result of a process': options => child.result(options),
      get: options => result.get(options),
      'wait of a result': options => result.wait(options),
      next: options => results.next(options),
      'result of a future': options => future.result(options),
      exception: options => future.exception(options),
      'wait of futures': options => waitForFutures([future], options),
      asCompleted: options => asCompleted([future], options).next(),
    })
    child.terminate()
    await child.join()
    await pool.terminate()
  })

  test('of connections between programs', async () => {
    using listener = new Listener()
    const connecting = Client(await listener.listening())
    using there = await listener.accept()
    using here = await connecting
    const bytes = new Uint8Array(3)
    await refuseAll({
      accept: options => listener.accept(options),
      send: options => here.send(1, options),
      sendBytes: options => here.sendBytes(bytes, options),
      recv: options => here.recv(options),
      recvBytes: options => here.recvBytes(options),
      recvBytesInto: options => here.recvBytesInto(bytes, options),
      poll: options => here.poll(options),
    })
    assert.equal(await there.poll(), false)
  })

  test('of managers and their objects', async () => {
    await using manager = await Manager({ context: 'thread' })
    const lock = await manager.Lock()
    await lock.acquire()
    const queue = await manager.Queue(1)
    await queue.put(1)
    const empty = await manager.Queue()
    const event = await manager.Event()
    const condition = await manager.Condition()
    await condition.acquire()
    const barrier = await manager.Barrier(2)
    await refuseAll({
      acquire: options => lock.acquire(options),
      guard: options => lock.guard(options),
      put: options => queue.put(2, options),
      get: options => empty.get(options),
      getMany: options => empty.getMany(options),
      'wait of an event': options => event.wait(options),
      'wait of a condition': options => condition.wait(options),
      'waitFor of a condition': options => condition.waitFor(() => false, options),
      'wait of a barrier': options => barrier.wait(options),
      join: options => manager.join(options),
    })
    await condition.release()
    await lock.release()
  })

  test('and the message says what to write', async () => {
    using queue = new Queue()
    await assert.rejects(queue.get(5 as never), /they are a number\nTo fix: pass \{ timeout: 5 \}/)
    await assert.rejects(
      queue.get({ block: false } as never),
      /no option "block"\nTo fix: use one of "timeout", "signal"; \{ timeout: 0 \} does not wait/,
    )
    const [here, there] = Pipe()
    await assert.rejects(here.recvBytesInto(new Uint8Array(3), 2 as never), /To fix: pass \{ offset: 2 \}/)
    await assert.rejects(here.recvBytes(2 as never), /To fix: pass \{ maxLength: 2 \}/)
    here.close()
    there.close()
  })
})

describe('what is refused costs nothing', () => {
  test('a result that fails later is no unhandled rejection, and an item that is there stays', async () => {
    await using pool = new ThreadPool(1)
    const event = new Event()
    const failing = pool.apply(
      async (free: Event) => {
        await free.wait()
        throw new Error('later')
      },
      [event],
    )
    await assert.rejects(failing.get(5 as never), INVALID)
    event.set()
    const results = pool.imap((n: number) => n * 10, [1, 2])
    assert.equal((await results.next()).value, 10)
    await pool.apply(() => 1)
    await assert.rejects(async () => await results.next(5 as never), INVALID)
    assert.equal((await results.next()).value, 20)
    await assert.rejects(failing, /later/)
  })
})

const PAST = { timeout: -1 }

describe('less than 0 ms, as of a deadline that has passed, looks and does not wait', () => {
  test('for locks, semaphores, events, conditions and barriers', async () => {
    for (const lock of [new Lock(), new Semaphore(1)]) {
      assert.equal(await lock.acquire(PAST), true)
      assert.equal(await lock.acquire(PAST), false)
      lock.release()
    }
    const event = new Event()
    assert.equal(await event.wait(PAST), false)
    assert.equal(event.waitSync(PAST), false)
    event.set()
    assert.equal(await event.wait(PAST), true)
    const condition = new Condition()
    await condition.acquire()
    assert.equal(await condition.wait(PAST), false)
    assert.equal(await condition.waitFor(() => true, PAST), true)
    condition.release()
    const semaphore = new Semaphore(0)
    assert.equal(semaphore.acquireSync(PAST), false)
    await assert.rejects(new Barrier(2).wait(PAST), { name: 'BrokenBarrierError' })
  })

  test('for queues and pipes', async () => {
    using queue = new Queue<number>(1)
    await assert.rejects(queue.get(PAST), { name: 'QueueEmptyError' })
    assert.throws(() => queue.getSync(PAST), { name: 'QueueEmptyError' })
    await queue.put(1, PAST)
    await assert.rejects(queue.put(2, PAST), { name: 'QueueFullError' })
    assert.equal(await queue.get(PAST), 1)
    const [here, there] = Pipe()
    await assert.rejects(here.recv(PAST), { code: 'ERR_TIMEOUT' })
    assert.throws(() => here.recvSync(PAST), { code: 'ERR_TIMEOUT' })
    await there.send('there')
    assert.equal(await here.recv(PAST), 'there')
    assert.deepEqual(await wait([here], PAST), [])
    here.close()
    there.close()
  })

  test('for processes, results and futures', async () => {
    await using pool = new ThreadPool(1)
    const event = new Event()
    const result = pool.apply((free: Event) => free.wait(), [event])
    await assert.rejects(result.get(PAST), { code: 'ERR_TIMEOUT' })
    event.set()
    assert.equal(await result, true)
    assert.equal(await result.get(PAST), true)
    const future = new Future<number>()
    await assert.rejects(future.result(PAST), { code: 'ERR_TIMEOUT' })
    const { done, notDone } = await waitForFutures([future], PAST)
    assert.deepEqual([done.size, notDone.size], [0, 1])
    const child = new Process({
      context: 'thread',
      target: (free: Event) => free.wait(),
      args: [new Event()],
    })
    child.start()
    assert.equal(await child.join(PAST), null)
    child.kill()
    await child.join()
  })
})
