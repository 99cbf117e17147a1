/** What the children of these tests do. */
import assert from 'node:assert/strict'
import {
  type Barrier,
  type Condition,
  type Event,
  type JoinableQueue,
  Lock,
  Pipe,
  type PipeConnection,
  Queue,
  type RLock,
  type RawValue,
  type Semaphore,
  type ShareableList,
  type SharedArray,
  type SharedValue,
  type SimpleQueue,
} from 'multiproc'
import * as multiproc from 'multiproc'

export interface Objects {
  lock: Lock
  rlock: RLock
  semaphore: Semaphore
  condition: Condition
  event: Event
  barrier: Barrier
  queue: Queue
  joinable: JoinableQueue
  simple: SimpleQueue
  value: SharedValue<'int32'>
  raw: RawValue<'float64'>
  array: SharedArray<'int16'>
  text: SharedArray<'c'>
  list: ShareableList
  pipe: [PipeConnection<string>, PipeConnection<string>]
}

/** Uses every method of every class, and gives what was wrong. */
export async function useAll(objects: Objects): Promise<string[]> {
  const wrong: string[] = []
  for (const [name, use] of Object.entries(USES)) {
    try {
      await use(objects)
    } catch (error) {
      wrong.push(`${name}: ${String((error as Error).stack)}`)
    }
  }
  return wrong
}

const codeOf = async (action: () => unknown): Promise<string | undefined> => {
  try {
    await action()
    return undefined
  } catch (error) {
    return (error as { code: string }).code
  }
}

async function useLock(lock: Lock | RLock | Semaphore): Promise<void> {
  assert.equal(await lock.acquire(), true)
  lock.release()
  assert.equal(lock.acquireSync({ timeout: 1000 }), true)
  lock.release()
  const held = await lock.guard({ signal: AbortSignal.timeout(60_000) })
  held.release()
  held.release()
  // The blocking forms ignore a signal, as those at home do.
  const ignored = { timeout: 1000, signal: new AbortController().signal }
  assert.equal(lock.acquireSync(ignored), true)
  lock.release()
  lock.guardSync(ignored).release()
  const heldSync = lock.guardSync()
  assert.equal(heldSync.ownerDied, false)
  heldSync.release()
  assert.equal(await codeOf(() => lock.acquire({ timeout: Number.NaN })), 'ERR_INVALID_ARGUMENT')
  assert.equal(await codeOf(() => lock.acquireSync({ timeOut: 1 } as object)), 'ERR_INVALID_ARGUMENT')
  const reason = new Error('no longer')
  const aborted = await lock.acquire({ signal: AbortSignal.abort(reason) }).catch((error: unknown) => error)
  assert.equal(aborted, reason)
}

const USES: Record<string, (objects: Objects) => unknown> = {
  async lock({ lock }) {
    assert.ok(lock instanceof multiproc.Lock)
    await useLock(lock)
    assert.equal(await codeOf(() => lock.release()), 'ERR_INVALID_STATE')
    assert.equal(lock.locked(), false)
    await lock.acquire()
    assert.equal(await lock.acquire({ timeout: 5 }), false)
    assert.equal(await codeOf(() => lock.guard({ timeout: 0 })), 'ERR_TIMEOUT')
    // It would wait for itself.
    assert.equal(await codeOf(() => lock.acquireSync()), 'ERR_INVALID_STATE')
    const stop = new AbortController()
    const reason = new Error('stop')
    const waiting = lock.acquire({ signal: stop.signal }).catch((error: unknown) => error)
    stop.abort(reason)
    assert.equal(await waiting, reason)
    assert.equal(String(lock), '<Lock locked>')
    lock.release()
  },
  async rlock({ rlock }) {
    assert.ok(rlock instanceof multiproc.RLock)
    await useLock(rlock)
    rlock.acquireSync()
    await rlock.acquire()
    rlock.release()
    assert.equal(rlock.locked(), true)
    rlock.release()
    assert.equal(rlock.locked(), false)
    assert.equal(await codeOf(() => rlock.release()), 'ERR_INVALID_STATE')
  },
  async semaphore({ semaphore }) {
    assert.ok(semaphore instanceof multiproc.Semaphore)
    await useLock(semaphore)
    assert.equal(semaphore.getValue(), 2)
  },
  async condition({ condition }) {
    assert.ok(condition instanceof multiproc.Condition)
    assert.equal(await codeOf(() => condition.notify()), 'ERR_INVALID_STATE')
    assert.equal(await codeOf(() => condition.wait()), 'ERR_INVALID_STATE')
    {
      using held = await condition.guard()
      assert.ok(held)
      assert.equal(await condition.wait({ timeout: 5 }), false)
      assert.equal(condition.waitSync({ timeout: 5 }), false)
      const ignored = { timeout: 5, signal: new AbortController().signal }
      assert.equal(condition.waitSync(ignored), false)
      assert.equal(await condition.waitFor(() => 'yes'), 'yes')
      assert.equal(await condition.waitFor(() => 0, { timeout: 5 }), 0)
      assert.equal(
        condition.waitForSync(() => 0, { timeout: 5 }),
        0,
      )
      assert.equal(await codeOf(() => condition.notify(0.5)), 'ERR_INVALID_ARGUMENT')
    }
    await condition.acquire()
    const waiting = condition.wait()
    await condition.acquire()
    condition.notifyAll()
    condition.release()
    assert.equal(await waiting, true)
    condition.release()
    assert.match(String(condition), /<Condition <Lock free>, 0 waiting>/)
  },
  async event({ event }) {
    assert.ok(event instanceof multiproc.Event)
    assert.equal(await event.wait({ timeout: 5 }), false)
    assert.equal(event.waitSync({ timeout: 5 }), false)
    const ignored = { timeout: 5, signal: new AbortController().signal }
    assert.equal(event.waitSync(ignored), false)
    event.set()
    assert.equal(event.isSet(), true)
    assert.equal(await event.wait(), true)
    assert.equal(event.waitSync(), true)
    event.clear()
    assert.equal(String(event), '<Event unset>')
  },
  async barrier({ barrier }) {
    assert.ok(barrier instanceof multiproc.Barrier)
    assert.equal(await barrier.wait(), 0)
    assert.equal(barrier.waitSync(), 0)
    assert.equal(barrier.parties, 1)
    assert.equal(barrier.nWaiting, 0)
    barrier.abort()
    assert.equal(barrier.isBroken, true)
    assert.equal(await codeOf(() => barrier.wait()), 'ERR_BROKEN_BARRIER')
    barrier.reset()
    assert.equal(barrier.isBroken, false)
  },
  async queue({ queue }) {
    assert.ok(queue instanceof multiproc.Queue)
    await queue.put({ deep: [1, new Map([[2, 3n]])] })
    assert.deepEqual(await queue.get(), { deep: [1, new Map([[2, 3n]])] })
    queue.putManySync([1, 2])
    await queue.put(3)
    assert.equal(queue.full(), true)
    assert.equal(await codeOf(() => queue.putNoWait(4)), 'ERR_QUEUE_FULL')
    assert.equal(await codeOf(() => queue.putSync(4, { timeout: 5 })), 'ERR_QUEUE_FULL')
    assert.deepEqual(await queue.getMany({ max: 2 }), [1, 2])
    assert.equal(queue.getSync(), 3)
    assert.equal(await codeOf(() => queue.getNoWait()), 'ERR_QUEUE_EMPTY')
    assert.equal(await codeOf(() => queue.getSync({ timeout: 5 })), 'ERR_QUEUE_EMPTY')
    assert.equal(await codeOf(() => queue.put(Promise.resolve())), 'ERR_NOT_SERIALIZABLE')
    assert.equal(queue.empty(), true)
    assert.equal(queue.maxSize, 3)
    await queue.put(() => 'a function')
    assert.equal(((await queue.get()) as () => string)(), 'a function')
    queue.shutdown()
    for await (const item of queue) assert.fail(String(item))
    queue.close()
    assert.equal(queue.isClosed, true)
    await queue.joinThread()
    assert.equal(await codeOf(() => queue.put(1)), 'ERR_CLOSED')
  },
  async joinable({ joinable }) {
    assert.ok(joinable instanceof multiproc.JoinableQueue)
    await joinable.putMany(['one', 'two'])
    assert.equal(await codeOf(() => joinable.join({ timeout: 5 })), 'ERR_TIMEOUT')
    assert.deepEqual(await joinable.getMany(), ['one', 'two'])
    const joined = joinable.join()
    joinable.taskDone()
    joinable.taskDone()
    await joined
    joinable.joinSync()
    assert.equal(await codeOf(() => joinable.taskDone()), 'ERR_INVALID_STATE')
  },
  async simple({ simple }) {
    assert.ok(simple instanceof multiproc.SimpleQueue)
    simple.putSync('x'.repeat(1_000_000))
    assert.equal(simple.empty(), false)
    assert.equal(((await simple.get()) as string).length, 1_000_000)
    const waiting = simple.get()
    simple.close()
    assert.equal(await codeOf(() => waiting), 'ERR_CLOSED')
  },
  async value({ value }) {
    assert.ok(value instanceof multiproc.SharedValue)
    assert.equal(value.value, 5)
    value.value = 6
    assert.equal(
      value.update(number => number + 1),
      7,
    )
    assert.equal(await codeOf(() => (value.value = 1.5)), 'ERR_INVALID_ARGUMENT')
    assert.match(String(value), /<SharedValue int32 7, <RLock free>>/)
  },
  raw({ raw }) {
    assert.ok(raw instanceof multiproc.RawValue)
    raw.value += 1
    assert.equal(raw.type, 'float64')
  },
  async array({ array }) {
    assert.ok(array instanceof multiproc.SharedArray)
    assert.equal(array.length, 3)
    assert.equal(array[1], 2)
    array.fill(9)
    array[0] = 10
    assert.equal(array.at(-1), 9)
    assert.deepEqual([...array], [10, 9, 9])
    assert.deepEqual(array.slice(0, 1), Int16Array.of(10))
    array.set([9], 1)
    assert.equal(await codeOf(() => array.set([1, 2], 2)), 'ERR_INVALID_ARGUMENT')
    assert.equal(await codeOf(() => (array[3] = 1)), 'ERR_INVALID_ARGUMENT')
  },
  text({ text }) {
    assert.equal(text.value, 'hello')
    text.value = 'hi'
    assert.deepEqual([...text.raw], [...Buffer.from('hi\0lo')])
    text.raw = Buffer.from('hi')
  },
  list({ list }) {
    assert.ok(list instanceof multiproc.ShareableList)
    assert.deepEqual([...list], ['a', 1, null])
    list[0] = 'b'
    list.set(1, 2)
    list[2] = true
    assert.equal(list.indexOf(2), 1)
    assert.equal(list.format, '8sqxxxxxxx?')
  },
  async pipe({ pipe: [here, there] }) {
    assert.ok(here instanceof multiproc.PipeConnection)
    await there.send('hello')
    assert.equal(here.pollSync(), true)
    assert.equal(await here.poll({ timeout: 1000 }), true)
    assert.equal(here.recvSync(), 'hello')
    here.sendSync('back')
    assert.equal(await there.recv(), 'back')
    await there.sendBytes(Uint8Array.of(1, 2, 3))
    assert.equal(await codeOf(() => here.recvBytes({ maxLength: 2 })), 'ERR_LIMIT')
    assert.equal(await here.recvBytesInto(new Uint8Array(3)), 3)
    assert.equal(await codeOf(() => here.recv({ timeout: 5 })), 'ERR_TIMEOUT')
    assert.equal(await codeOf(() => here.recvSync({ timeout: 5 })), 'ERR_TIMEOUT')
    await there.send('bye')
    const waiting = there.recv()
    there.close()
    assert.equal(await codeOf(() => waiting), 'ERR_CLOSED')
  },
}

/** Makes things, sends them to the parent, and uses them together with it. */
export async function homeOf(
  made: Queue<{ lock: Lock; numbers: Queue<number>; end: PipeConnection<string> }>,
): Promise<void> {
  const lock = new Lock()
  const numbers = new Queue<number>()
  const [here, end] = Pipe<string>()
  await made.put({ lock, numbers, end })
  end.close()
  const number = await numbers.get()
  await here.send(`got ${number} while the lock was held: ${lock.locked()}`)
  await lock.acquire()
  lock.release()
  await here.send('released')
  // Until the parent has read it.
  await here.recv().catch(() => {})
}

/** Makes things, sends them to the parent, and is killed when that waits for one of them. */
export async function closedAfterKill(
  made: Queue<{ lock: Lock; numbers: Queue<number>; end: PipeConnection<string> }>,
): Promise<void> {
  const lock = new Lock()
  const numbers = new Queue<number>()
  const [here, end] = Pipe<string>()
  await lock.acquire()
  await made.put({ lock, numbers, end })
  // The parent is connected when this comes.
  await numbers.get()
  // Sleep: that somebody waits in a queue cannot be seen from outside.
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), 300)
  await here.recv()
}

/** Takes all items with timeouts and aborts that come at about the same time as the items do. */
export async function takeHalf(queue: Queue<number>): Promise<number[]> {
  const taken: number[] = []
  for (let round = 0; ; round++) {
    const isByAbort = round % 2 === 0
    try {
      taken.push(
        await queue.get(isByAbort ? { signal: AbortSignal.timeout(round % 4) } : { timeout: round % 4 }),
      )
    } catch (error) {
      if ((error as { code: unknown }).code === 'ERR_CLOSED') return taken
    }
  }
}
