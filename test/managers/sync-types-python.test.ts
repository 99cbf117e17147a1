/** What CPython's own tests of a SyncManager's types check, by the names of those tests (TestSyncManagerTypes). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Manager, Process } from 'multiproc'
import { forEachSharingMethod } from '../queue/sharing-methods.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

forEachSharingMethod(context => {
  /** Runs a function in a child with the proxy, as those tests do. What fails there fails here. */
  async function inChild<P>(target: (proxy: P) => Promise<void>, proxy: P): Promise<void> {
    const child = new Process({ target, args: [proxy], context })
    child.start()
    await child.result()
    assert.equal(await child.join(), 0)
  }

  test('C234 test_event: it is set here and cleared by a child', async () => {
    await using manager = await Manager({ context })
    const event = await manager.Event()
    await event.set()
    await inChild(async proxy => {
      if (!(await proxy.isSet()) || !(await proxy.wait())) throw new Error('not set')
      await proxy.clear()
      if (await proxy.wait({ timeout: 1 })) throw new Error('set')
    }, event)
    assert.equal(await event.isSet(), false)
  })

  test('C235 test_lock, C237 test_semaphore, C238 test_bounded_semaphore: a child acquires and releases', async () => {
    await using manager = await Manager({ context })
    const lock = await manager.Lock()
    await inChild(async proxy => {
      await proxy.acquire()
      if (!(await proxy.locked())) throw new Error('not locked')
      await proxy.release()
    }, lock)
    assert.equal(await lock.locked(), false)
    await assert.rejects(lock.release(), { code: 'ERR_INVALID_STATE' })
    for (const semaphore of [await manager.Semaphore(2), await manager.BoundedSemaphore(2)]) {
      await inChild(async proxy => {
        await proxy.acquire()
        await proxy.acquire()
        if (await proxy.acquire({ timeout: 0 })) throw new Error('a third permit')
        await proxy.release()
        await proxy.release()
      }, semaphore)
      assert.equal(await semaphore.getValue(), 2)
    }
  })

  test('C236 test_rlock: a child acquires it twice, and it is free after two releases', async () => {
    await using manager = await Manager({ context })
    const lock = await manager.RLock()
    await inChild(async proxy => {
      await proxy.acquire()
      await proxy.acquire()
      await proxy.release()
      if (!(await proxy.locked())) throw new Error('free')
      await proxy.release()
      let code = ''
      await proxy.release().catch((error: { code: string }) => (code = error.code))
      if (code !== 'ERR_INVALID_STATE') throw new Error(`released too often: ${code}`)
    }, lock)
    assert.equal(await lock.locked(), false)
  })

  test('C239 test_condition: a child waits until it is notified, under a lock of the manager', async () => {
    await using manager = await Manager({ context })
    const lock = await manager.Lock()
    const condition = await manager.Condition(lock)
    const ready = await manager.Event()
    const child = new Process({
      context,
      target: async () => {
        await condition.acquire()
        await ready.set()
        const isNotified = await condition.wait()
        const held = await lock.locked()
        await condition.release()
        return isNotified && held
      },
    })
    child.start()
    await ready.wait()
    {
      await using _held = await lock.guard()
      await condition.notify()
    }
    assert.equal(await child.result(), true)
    await assert.rejects(condition.notify(), { code: 'ERR_INVALID_STATE' })
    await condition.acquire()
    assert.equal(await condition.wait({ timeout: 1 }), false)
    assert.equal(await condition.waitFor(() => 'yes'), 'yes')
    await condition.release()
    await child.join()
  })

  test('C240 test_barrier: parties come from here and from a child, and it is reset there', async () => {
    await using manager = await Manager({ context })
    const count = await manager.Value<number>(0)
    const barrier = await manager.Barrier(2, { action: () => count.update(n => n + 1) })
    assert.equal(barrier.parties, 2)
    const child = new Process({
      context,
      target: async () => {
        const index = await barrier.wait()
        await barrier.reset()
        return index
      },
    })
    child.start()
    const index = await barrier.wait()
    assert.equal(index + (await child.result()), 1)
    assert.equal(await count.get(), 1)
    await child.join()
    assert.equal(await barrier.nWaiting(), 0)
    await barrier.abort()
    assert.equal(await barrier.isBroken(), true)
    await assert.rejects(barrier.wait(), { code: 'ERR_BROKEN_BARRIER' })
  })

  test('C241 test_pool: a pool of the manager works for a child', async () => {
    await using manager = await Manager({ context })
    const pool = await manager.Pool({ processes: 2, context })
    await inChild(async proxy => {
      const squares = await proxy.map((n: number) => n * n, [1, 2, 3])
      if (squares.join() !== '1,4,9') throw new Error(squares.join())
      if ((await proxy.apply((a: number, b: number) => a + b, [1, 2])) !== 3) throw new Error('apply')
      const later = await proxy.applyAsync((text: string) => text.toUpperCase(), ['a'])
      if ((await later.get()) !== 'A' || !(await later.ready()) || !(await later.successful())) {
        throw new Error('applyAsync')
      }
      const seen: number[] = []
      for await (const n of await proxy.imap((n: number) => -n, [1, 2])) seen.push(n)
      if (seen.join() !== '-1,-2') throw new Error(seen.join())
    }, pool)
    const failing = (): never => {
      throw new RangeError('of the task')
    }
    await assert.rejects(pool.apply(failing), { name: 'RangeError', message: 'of the task' })
    await pool.close()
    await pool.join()
  })

  test('C242 test_queue and C243 test_joinable_queue: a child sees sizes, flags and items', async () => {
    await using manager = await Manager({ context })
    for (const queue of [
      await manager.Queue<string>(2),
      await manager.JoinableQueue<string>({ maxSize: 2 }),
    ]) {
      assert.equal(queue.maxSize, 2)
      assert.equal(await queue.empty(), true)
      await queue.put('first')
      await queue.putNoWait('second')
      await assert.rejects(queue.put('third', { timeout: 1 }), { code: 'ERR_QUEUE_FULL' })
      await inChild(async proxy => {
        if (!(await proxy.full()) || (await proxy.qsize()) !== 2) throw new Error('not full')
        const items = [await proxy.get(), await proxy.getNoWait()]
        if (items.join() !== 'first,second') throw new Error(items.join())
      }, queue)
      await assert.rejects(queue.getNoWait(), { code: 'ERR_QUEUE_EMPTY' })
      // Python's manager.Queue() is a queue.Queue, which can be joined.
      await queue.taskDone()
      await assert.rejects(queue.join({ timeout: 1 }), { code: 'ERR_TIMEOUT' })
      await inChild(async proxy => await proxy.taskDone(), queue)
      await queue.join()
      await assert.rejects(queue.taskDone(), { code: 'ERR_INVALID_STATE' })
      await queue.putMany(['a', 'b'])
      await queue.shutdown()
      const seen: string[] = []
      for await (const item of queue) seen.push(item)
      assert.deepEqual(seen, ['a', 'b'])
      await assert.rejects(queue.put('late'), { code: 'ERR_CLOSED' })
    }
    const dropped = await manager.JoinableQueue()
    await dropped.put('dropped')
    await dropped.shutdown({ immediate: true })
    await dropped.join()
    await assert.rejects(dropped.get(), { code: 'ERR_CLOSED' })
  })

  test('C244 test_list, C245 test_dict, C246 test_value, C247 test_array, C248 test_namespace: used in a child', async () => {
    await using manager = await Manager({ context })
    const list = await manager.list<number>()
    const dict = await manager.dict<string, number>()
    const value = await manager.Value<number>('i', 1)
    const array = await manager.Array('i', [1, 2, 3])
    const names = await manager.Namespace({ x: 1, y: 2 })
    await inChild(
      async all => {
        await all.list.extend([3, 1, 2])
        await all.list.sort()
        await all.dict.update({ a: 1, b: 2 })
        await all.dict.delete('a')
        if ((await all.value.get()) !== 1) throw new Error('value')
        await all.value.set(2)
        if ((await all.array.get(-1)) !== 3) throw new Error('array')
        await all.array.set(0, 7)
        if ((await all.names.get('x')) !== 1) throw new Error('names')
        await all.names.set('y', 3)
      },
      { list, dict, value, array, names },
    )
    assert.deepEqual(await list.copy(), [1, 2, 3])
    assert.deepEqual(await dict.copy(), new Map([['b', 2]]))
    assert.equal(await value.value, 2)
    assert.deepEqual(await array.copy(), Int32Array.of(7, 2, 3))
    assert.equal(await array.update(0, n => n * 2), 14)
    await assert.rejects(array.set(0, 0.5), TypeError)
    await assert.rejects(array.get(3), RangeError)
    assert.deepEqual(await names.copy(), { x: 1, y: 3 })
  })

  test('C249 test_set: all methods, with other sets and with iterables, in a child', async () => {
    await using manager = await Manager({ context })
    const set = await manager.set(['a', 'b', 'c'])
    const other = await manager.set(['b', 'c', 'd'])
    await inChild(
      async ({ one, two }) => {
        const same = (values: Set<string>, expected: string): void => {
          if ([...values].sort().join('') !== expected) throw new Error([...values].join(''))
        }
        same(await one.union(two), 'abcd')
        same(await one.intersection(two), 'bc')
        same(await one.difference(two), 'a')
        same(await one.symmetricDifference(two), 'ad')
        same(await one.union(['x'], ['y']), 'abcxy')
        if (await one.isSubsetOf(two)) throw new Error('a subset')
        if (!(await one.isSubsetOf('abcd'))) throw new Error('no subset')
        if (!(await one.isSupersetOf(['a']))) throw new Error('no superset')
        if (!(await one.isDisjointFrom(['z']))) throw new Error('not disjoint')
        if (await one.equals(two)) throw new Error('equal')
        await one.update(two)
        same(await one.copy(), 'abcd')
        await one.differenceUpdate(['d'])
        await one.intersectionUpdate(['a', 'b', 'x'])
        same(await one.copy(), 'ab')
        await one.symmetricDifferenceUpdate(['b', 'c'])
        same(await one.copy(), 'ac')
      },
      { one: set, two: other },
    )
    await set.add('q')
    await set.remove('q')
    await assert.rejects(set.remove('q'), { code: 'ERR_NOT_FOUND' })
    await set.discard('q')
    assert.equal(await set.delete('c'), true)
    assert.equal(await set.has('a'), true)
    assert.equal(await set.size(), 1)
    assert.equal(await set.pop(), 'a')
    await assert.rejects(set.pop(), { code: 'ERR_NOT_FOUND' })
    await set.update(['z'])
    assert.deepEqual(await set.values(), ['z'])
    await set.clear()
    assert.equal(await set.equals([]), true)
  })
})
