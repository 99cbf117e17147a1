/** Queue, SimpleQueue and JoinableQueue between processes and threads, and within one. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import {
  JoinableQueue,
  Lock,
  Pool,
  Process,
  Queue,
  SimpleQueue,
  registerReducer,
  sharedArray,
} from 'multiproc'
import { BLOCK, HEADER, blockAt } from '#src/platform/heap-layout.js'
import { handleOf } from '#src/platform/heap-objects.js'
import { sharedHeap } from '#src/platform/shared-heap.js'
import { checkLeaks } from '../leak-check.js'
import { Message } from './messages.js'
import { forEachSharingMethod, isNative } from './sharing-methods.js'

checkLeaks()

/** Of blocks that stand for nothing. */
const KIND = 97

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

/** Shows that a promise waits: it is still pending after the event loop has turned. */
async function assertWaits(promise: Promise<unknown>): Promise<void> {
  const nothing = Symbol('nothing')
  const turned = new Promise(resolve => setImmediate(() => resolve(nothing)))
  assert.equal(await Promise.race([promise, turned]), nothing)
}

describe('within one process', () => {
  test('a queue that was closed here arrives as often as its message is read, as long as that is kept', async () => {
    const queue = new Queue<string>()
    await queue.put('kept')
    const message = new Message(queue)
    queue.close()
    // A function is written once, and read by every worker.
    for (let reader = 0; reader < 3; reader++) {
      const arrived = message.read()
      assert.notEqual(arrived, queue)
      const item = await arrived.get({ timeout: 0 })
      await arrived.put(item)
      arrived.close()
      // Every block that nobody has is taken once.
      const heap = sharedHeap()
      for (let taken = 0; taken < 2 * heap.words[HEADER.blockCount]!; taken++) heap.allocate(KIND).release()
    }
  })

  test('items come out in the order in which they went in, whatever they are', async () => {
    using queue = new Queue()
    const items = [undefined, null, '', 'text', 1.5, { a: [1, { b: 2n }] }, new Map([[1, new Date(0)]]), []]
    for (const item of items) await queue.put(item)
    assert.equal(queue.qsize(), items.length)
    for (const item of items) assert.deepEqual(await queue.get(), item)
    assert.ok(queue.empty())
  })

  test('what was changed after put() does not change in the queue', async () => {
    using queue = new Queue<number[]>()
    const list = [1]
    const put = queue.put(list)
    list.push(2)
    await put
    assert.deepEqual(await queue.get(), [1])
  })

  test('put() rejects with SerializeError when the item cannot be sent, and the queue goes on', async () => {
    using queue = new Queue()
    await assert.rejects(queue.put({ db: new WeakMap() }), { code: 'ERR_NOT_SERIALIZABLE' })
    await assert.rejects(queue.put(new SharedArrayBuffer(8)), { code: 'ERR_NOT_SERIALIZABLE' })
    assert.throws(() => queue.putSync(new WeakMap()), { code: 'ERR_NOT_SERIALIZABLE' })
    await assert.rejects(queue.putMany([1, new WeakMap(), 3]), { code: 'ERR_NOT_SERIALIZABLE' })
    assert.equal(queue.size, 0)
    await queue.put(1)
    assert.equal(await queue.get(), 1)
  })

  test('get() waits for an item, and several calls are served in their order', async () => {
    using queue = new Queue<number>()
    const gets = range(5).map(() => queue.get())
    await assertWaits(gets[0]!)
    await queue.putMany(range(5))
    assert.deepEqual(await Promise.all(gets), range(5))
  })

  test('what a full queue refuses is not on its way', async () => {
    using queue = new Queue({ maxSize: 1 })
    await queue.put('first')
    const lock = new Lock()
    const { words } = sharedHeap()
    const counted = (): number => Atomics.load(words, blockAt(handleOf(lock).index) + BLOCK.inFlight)
    const before = counted()
    for (let index = 0; index < 3; index++)
      await assert.rejects(queue.putNoWait(lock), { code: 'ERR_QUEUE_FULL' })
    assert.equal(counted(), before)
  })

  test('put() waits while the queue is full, and several calls are carried out in their order', async () => {
    using queue = new Queue<number>({ maxSize: 2 })
    const puts = range(6).map(item => queue.put(item))
    await puts[1]
    await assertWaits(puts[2]!)
    assert.ok(queue.full())
    assert.equal(queue.size, 2)
    const items: number[] = []
    for await (const item of queue) if (items.push(item) === 6) break
    await Promise.all(puts)
    assert.deepEqual(items, range(6))
  })

  test('put() and get() end with their timeout or signal, and nothing is lost by it', async () => {
    using queue = new Queue<number>(1)
    await assert.rejects(queue.get({ timeout: 0 }), { code: 'ERR_QUEUE_EMPTY' })
    await assert.rejects(queue.get({ timeout: 5 }), { code: 'ERR_QUEUE_EMPTY' })
    assert.throws(() => queue.getSync({ timeout: 5 }), { code: 'ERR_QUEUE_EMPTY' })
    await queue.put(1)
    await assert.rejects(queue.putNoWait(2), { code: 'ERR_QUEUE_FULL' })
    await assert.rejects(queue.put(2, { timeout: 5 }), { code: 'ERR_QUEUE_FULL' })
    assert.throws(() => queue.putSync(2, { timeout: 5 }), { code: 'ERR_QUEUE_FULL' })
    const reason = new Error('no longer wanted')
    const controller = new AbortController()
    const waiting = queue.put(2, { signal: controller.signal })
    controller.abort(reason)
    await assert.rejects(waiting, reason)
    await assert.rejects(queue.put(2, { signal: controller.signal }), reason)
    assert.equal(await queue.getNoWait(), 1)
    const got = queue.get({ signal: controller.signal })
    await assert.rejects(got, reason)
    assert.ok(queue.empty())
  })

  test('an abort after an item was handed over comes too late', async () => {
    using queue = new Queue<number>()
    const controller = new AbortController()
    const got = queue.get({ signal: controller.signal })
    await assertWaits(got)
    const put = queue.put(7)
    controller.abort()
    await put
    assert.equal(await got, 7)
  })

  test('a queue without maxSize takes far more than its first ring without anybody who gets', async () => {
    using queue = new Queue<string | number>()
    await queue.put('x'.repeat(100_000))
    for (let item = 0; item < 20_000; item++) await queue.put(item)
    await queue.put('y'.repeat(3_000_000))
    assert.equal(queue.size, 20_002)
    assert.equal(await queue.get(), 'x'.repeat(100_000))
    for (let item = 0; item < 20_000; item++) assert.equal(queue.getSync(), item)
    assert.equal(await queue.get(), 'y'.repeat(3_000_000))
  })

  test('putMany() and getMany() move batches', async () => {
    using queue = new Queue<number>()
    await queue.putMany(range(3000))
    assert.deepEqual(await queue.getMany({ max: 10 }), range(10))
    const rest: number[] = []
    while (!queue.empty()) rest.push(...(await queue.getMany()))
    assert.deepEqual(rest, range(3000).slice(10))
    assert.throws(() => queue.getMany({ max: 0 }), { code: 'ERR_INVALID_ARGUMENT' })
    await assert.rejects(queue.getMany({ timeout: 0 }), { code: 'ERR_QUEUE_EMPTY' })
  })

  test('close() rejects those who wait here, and puts that wait are carried out', async () => {
    const queue = new Queue<number>({ maxSize: 1 })
    const other = new Queue<number>()
    const got = other.get()
    other.close()
    await assert.rejects(got, { code: 'ERR_CLOSED' })
    await assert.rejects(queue.joinThread(), { code: 'ERR_INVALID_STATE' })
    await queue.put(1)
    queue.close()
    await queue.joinThread()
    assert.ok(queue.isClosed)
    queue.close()
  })

  test('cancelJoinThread() has close() give up puts that wait', async () => {
    const queue = new Queue<number>({ maxSize: 1 })
    await queue.put(1)
    const put = queue.put(2)
    queue.cancelJoinThread()
    queue.close()
    await assert.rejects(put, { code: 'ERR_CLOSED' })
    await queue.joinThread()
  })

  test('after shutdown() nobody puts, what is left is taken, and iteration ends', async () => {
    using queue = new Queue<number>()
    await queue.putMany([1, 2])
    queue.shutdown()
    await assert.rejects(queue.put(3), { code: 'ERR_CLOSED' })
    const items: number[] = []
    for await (const item of queue) items.push(item)
    assert.deepEqual(items, [1, 2])
    await assert.rejects(queue.get(), { code: 'ERR_CLOSED' })
  })

  test('shutdown() ends a get() that waits', async () => {
    using queue = new Queue<number>()
    const got = queue.get()
    await assertWaits(got)
    queue.shutdown()
    await assert.rejects(got, { code: 'ERR_CLOSED' })
  })

  test('an item that cannot be rebuilt spoils no other of its batch', async () => {
    using queue = new Queue()
    registerReducer({
      type: Bad,
      name: 'test.Bad',
      encode: () => null,
      decode: () => {
        throw new Error('bad')
      },
    })
    await queue.putMany([1, new Bad(), 3])
    assert.deepEqual(await queue.getMany(), [1])
    assert.equal(queue.size, 2)
    await assert.rejects(queue.getMany(), { message: 'bad' })
    assert.deepEqual(await queue.getMany(), [3])
  })

  test('JoinableQueue.join() waits until taskDone() was called for each item', async () => {
    using queue = new JoinableQueue<number>()
    await queue.join()
    await queue.putMany([1, 2])
    const joined = queue.join()
    await assertWaits(joined)
    await assert.rejects(queue.join({ timeout: 1 }), { code: 'ERR_TIMEOUT' })
    await queue.get()
    queue.taskDone()
    await assertWaits(joined)
    await queue.get()
    queue.taskDone()
    await joined
    queue.joinSync()
    assert.throws(() => queue.taskDone(), { code: 'ERR_INVALID_STATE' })
  })

  test('options are checked', () => {
    assert.throws(() => new Queue({ maxSize: 1.5 }), RangeError)
    assert.throws(() => new Queue({ maxSize: '3' as unknown as number }), TypeError)
    // Taken for no options, these would make queues without a limit.
    for (const wrong of ['3', true, [3], () => 3]) assert.throws(() => new Queue(wrong as never), TypeError)
    assert.throws(() => new JoinableQueue('3' as never), TypeError)
    assert.throws(() => new Queue({ maxsize: 3 } as object), TypeError)
    using queue = new Queue(-1)
    assert.equal(queue.maxSize, 0)
    assert.throws(() => queue.getSync({ timeout: NaN }), RangeError)
  })

  test('a queue prints what it is', async () => {
    using queue = new JoinableQueue({ maxSize: 3 })
    await queue.put(1)
    assert.equal(inspect(queue), '<JoinableQueue size=1 maxSize=3>')
    const simple = new SimpleQueue()
    assert.equal(inspect(simple), '<SimpleQueue size=0>')
    simple.close()
    assert.equal(inspect(simple), '<SimpleQueue closed>')
  })

  test('many queues come and go', () => {
    for (let round = 0; round < 3000; round++) {
      const queue = new Queue<string>()
      queue.putSync('x'.repeat(round % 100 === 0 ? 300_000 : 10))
      queue.close()
    }
  })
})

class Bad {
  readonly isBad = true
}

forEachSharingMethod(context => {
  test('shutdown({ immediate: true }) drops what is in the queue, in whatever process, and join() does not wait for it', async () => {
    using queue = new JoinableQueue({ maxSize: 3 })
    const large = new Uint8Array(300_000)
    await queue.putMany(['first', large, new Lock()])
    assert.equal(await queue.get(), 'first')
    await queue.put('more')
    const refused = assert.rejects(queue.put('late'), { code: 'ERR_CLOSED' })
    const joined = queue.join()
    const child = new Process({
      context,
      args: [queue],
      target: (there: JoinableQueue) => {
        there.shutdown({ immediate: true })
        return there.size
      },
    })
    child.start()
    assert.equal(await child.result(), 0)
    await child.join()
    await refused
    await assert.rejects(queue.get(), { code: 'ERR_CLOSED' })
    assert.throws(() => queue.getSync(), { code: 'ERR_CLOSED' })
    assert.ok(queue.empty())
    await assertWaits(joined)
    queue.taskDone()
    await joined
    assert.throws(() => queue.shutdown(true as never), { name: 'TypeError', code: 'ERR_INVALID_ARGUMENT' })
    for await (const item of queue) assert.fail(`${String(item)} is left`)
  })

  test('a queue passes as argument and as captured variable, and is the same one', async () => {
    using tasks = new Queue<number>()
    using results = new Queue<[number, number]>()
    const child = new Process({
      context,
      args: [tasks],
      target: async (queue: Queue<number>) => {
        for await (const task of queue) await results.put([task, task * task])
      },
    })
    child.start()
    await tasks.putMany(range(100))
    for (const task of range(100)) assert.deepEqual(await results.get(), [task, task * task])
    tasks.shutdown()
    assert.equal(await child.join(), 0)
  })

  test('a queue passes through another queue, to a child that runs already', async () => {
    using mailbox = new Queue<Queue<string>>()
    const child = new Process({
      context,
      target: async () => {
        const queue = await mailbox.get()
        await queue.put('hello')
      },
    })
    child.start()
    using queue = new Queue<string>()
    await mailbox.put(queue)
    assert.equal(await queue.get(), 'hello')
    await child.join()
  })

  test('a handle that arrives twice is one object', async () => {
    using mailbox = new Queue()
    await mailbox.put(mailbox)
    await mailbox.put([mailbox])
    assert.equal(await mailbox.get(), mailbox)
    assert.deepEqual(await mailbox.get(), [mailbox])
  })

  test('a child can be joined before anybody took what it put', async () => {
    using queue = new Queue<number | string>()
    const child = new Process({
      context,
      target: async () => {
        for (let item = 0; item < 5000; item++) await queue.put(item)
        await queue.put('z'.repeat(2_000_000))
      },
    })
    child.start()
    assert.equal(await child.join(), 0)
    for (let item = 0; item < 5000; item++) assert.equal(await queue.get(), item)
    assert.equal(((await queue.get()) as string).length, 2_000_000)
  })

  test('blocking calls on both sides hand over items', async () => {
    using there = new Queue<number>()
    using back = new Queue<number>()
    const child = new Process({
      context,
      target: () => {
        for (let item = there.getSync(); item >= 0; item = there.getSync()) back.putSync(item + 1)
      },
    })
    child.start()
    for (let item = 0; item < 200; item++) {
      there.putSync(item)
      assert.equal(back.getSync(), item + 1)
    }
    there.putSync(-1)
    assert.equal(await child.join(), 0)
  })

  test('several producers and consumers: every item arrives once, each producer in order', async () => {
    using queue = new Queue<[number, number]>({ maxSize: 50 })
    using seen = new Queue<[number, number][]>()
    const count = 400
    const producers = range(2).map(
      id =>
        new Process({
          context,
          args: [id, count],
          target: async (id: number, count: number) => {
            for (let number = 0; number < count; number++) await queue.put([id, number])
          },
        }),
    )
    const consumers = range(2).map(
      () =>
        new Process({
          context,
          target: async () => {
            const items: [number, number][] = []
            for await (const item of queue) items.push(item)
            await seen.put(items)
          },
        }),
    )
    for (const child of [...producers, ...consumers]) child.start()
    for (const child of producers) assert.equal(await child.join(), 0)
    queue.shutdown()
    for (const child of consumers) assert.equal(await child.join(), 0)
    const lists = [await seen.get(), await seen.get()]
    for (const list of lists) {
      for (const id of [0, 1]) {
        const numbers = list.filter(([from]) => from === id).map(([, number]) => number)
        assert.deepEqual(
          numbers,
          numbers.toSorted((a, b) => a - b),
        )
      }
    }
    const all = lists.flat().map(([id, number]) => id * count + number)
    assert.deepEqual(
      all.toSorted((a, b) => a - b),
      range(2 * count),
    )
  })

  test('workers of a pool deal with a JoinableQueue', async () => {
    using tasks = new JoinableQueue<number>()
    using results = new SimpleQueue<number>()
    await tasks.putMany(range(20))
    const pool = new Pool({ processes: 2, context })
    const work = pool.map(async () => {
      for (;;) {
        try {
          const task = await tasks.get({ timeout: 0 })
          await results.put(task * 2)
          tasks.taskDone()
        } catch (error) {
          if ((error as { code: string }).code === 'ERR_QUEUE_EMPTY') return
          throw error
        }
      }
    }, range(2))
    await tasks.join()
    await work
    let sum = 0
    for (let index = 0; index < 20; index++) sum += await results.get()
    assert.equal(sum, 380)
    await pool.terminate()
  })

  test('closing here does not disturb others', async () => {
    const queue = new Queue<number>()
    using ready = new Queue<number>()
    const child = new Process({
      context,
      target: async () => {
        await ready.put(1)
        return [await queue.get(), queue.size]
      },
    })
    child.start()
    await ready.get()
    await queue.putMany([5, 6])
    queue.close()
    assert.deepEqual(await child.result(), [5, 1])
    await child.join()
  })
})

test(
  'a queue, a lock and a shared array in an item arrive after the process that made them has ended',
  { skip: !isNative },
  async () => {
    using queue = new Queue<{ inner: Queue<number>; lock: Lock; numbers: Float64Array }>()
    const producer = new Process({
      target: async () => {
        const inner = new Queue<number>()
        await inner.putMany([1, 2, 3])
        const numbers = sharedArray(Float64Array, [4, 5])
        await queue.put({ inner, lock: new Lock(), numbers })
      },
    })
    producer.start()
    assert.equal(await producer.join(), 0)
    // Others take blocks and memory meanwhile, which must not be those.
    const others = Array.from({ length: 100 }, () => [new Lock(), sharedArray(Float64Array, 2)] as const)
    const { inner, lock, numbers } = await queue.get()
    assert.deepEqual(await inner.getMany(), [1, 2, 3])
    assert.equal(await lock.acquire({ timeout: 0 }), true)
    assert.deepEqual([...numbers], [4, 5])
    assert.ok(others.length > 0)
    inner.close()
  },
)
