/** Objects of shared state do what those of one machine do, between two connections, and every wait of theirs ends. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Lock, Pool } from 'multiproc'
import { connectState } from 'multiproc/cluster'
import { checkLeaks } from '../leak-check.js'
import { KEY, POOL, needsServer } from './started-server.js'
import { StateCluster } from './state-cluster.js'

checkLeaks()

describe('a Lock of several machines', needsServer, () => {
  test('is held by one at a time, and goes on when it is released, with a larger token', async () => {
    await using cluster = await StateCluster.start()
    const [one, other] = [await cluster.connect(), await cluster.connect()]
    const lock = one.Lock('l')
    assert.equal(await lock.acquire(), true)
    const first = lock.token!
    assert.equal(await other.Lock('l').locked(), true)
    assert.equal(await other.Lock('l').acquire({ timeout: 0 }), false)
    assert.equal(await one.Lock('l').acquire({ timeout: 20 }), false)
    await assert.rejects(other.Lock('l').guard({ timeout: 0 }), { code: 'ERR_TIMEOUT' })
    await assert.rejects(other.Lock('l').release(), { code: 'ERR_INVALID_STATE' })
    const waiting = other.Lock('l').guard()
    await lock.release()
    assert.equal(lock.token, undefined)
    {
      await using held = await waiting
      assert.ok(held.token > first)
      assert.equal(held.ownerDied, false)
      assert.equal(held.isLost, false)
    }
    assert.equal(await lock.locked(), false)
  })

  test('never has two holders while 2 connections with 4 tasks each have it 80 times', async () => {
    await using cluster = await StateCluster.start()
    const states = [await cluster.connect(), await cluster.connect()]
    let inside = 0
    const tokens: number[] = []
    const task = async (index: number): Promise<void> => {
      const lock = states[index % 2]!.Lock('l')
      for (let turn = 0; turn < 10; turn++) {
        await using held = await lock.guard()
        assert.equal(++inside, 1)
        tokens.push(held.token)
        await new Promise(resolve => setImmediate(resolve))
        inside--
      }
    }
    await Promise.all(Array.from({ length: 8 }, (_, index) => task(index)))
    assert.equal(tokens.length, 80)
    assert.deepEqual(
      tokens,
      tokens.toSorted((a, b) => a - b),
    )
    assert.equal(new Set(tokens).size, 80)
  })

  test('stays held for as long as it is renewed', async () => {
    await using cluster = await StateCluster.start()
    const [one, other] = [await cluster.connect(), await cluster.connect()]
    await using held = await one.Lock('l', { lease: 1000 }).guard()
    // Three leases.
    assert.equal(await other.Lock('l').acquire({ timeout: 3000 }), false)
    assert.equal(held.isLost, false)
    assert.equal(held.signal.aborted, false)
  })

  test('ends a wait by its signal, and by close(), which also gives back what is held', async () => {
    await using cluster = await StateCluster.start()
    const [one, other] = [await cluster.connect(), await cluster.connect()]
    await one.Lock('l').acquire()
    const lock = other.Lock('l')
    const abort = new AbortController()
    const aborted = lock.acquire({ signal: abort.signal })
    abort.abort(new Error('enough'))
    await assert.rejects(aborted, { message: 'enough' })
    const [closed, alsoClosed] = [lock.acquire(), lock.acquire()]
    const both = Promise.all([
      assert.rejects(closed, { code: 'ERR_CLOSED' }),
      assert.rejects(alsoClosed, { code: 'ERR_CLOSED' }),
    ])
    await other.close()
    await both
    await assert.rejects(lock.acquire(), { code: 'ERR_CLOSED' })
    await one.close()
    const third = await cluster.connect()
    assert.equal(await third.Lock('l').acquire({ timeout: 0 }), true)
  })
})

describe('a Semaphore of several machines', needsServer, () => {
  test('gives as many permits as it has, and refuses to release what it has not given', async () => {
    await using cluster = await StateCluster.start()
    const [one, other] = [await cluster.connect(), await cluster.connect()]
    const mine = one.Semaphore('s', 2)
    const theirs = other.Semaphore('s', 2)
    assert.equal(await mine.getValue(), 2)
    await mine.acquire()
    await mine.acquire()
    assert.equal(await theirs.getValue(), 0)
    assert.equal(await theirs.acquire({ timeout: 0 }), false)
    const waiting = theirs.guard()
    await mine.release()
    await (await waiting).release()
    await mine.release()
    await assert.rejects(mine.release(), { code: 'ERR_INVALID_STATE' })
    assert.equal(await theirs.getValue(), 2)
  })
})

describe('an Event of several machines', needsServer, () => {
  test('lets go who waits, also when it is cleared at once', async () => {
    await using cluster = await StateCluster.start()
    const [one, other] = [await cluster.connect(), await cluster.connect()]
    assert.equal(await one.Event('e').isSet(), false)
    assert.equal(await one.Event('e').wait({ timeout: 0 }), false)
    const waiting = other.Event('e').wait()
    // It has looked once: its own state is at least as old as this answer of the server.
    await other.Event('e').isSet()
    await one.Event('e').set()
    await one.Event('e').set()
    await one.Event('e').clear()
    assert.equal(await waiting, true)
    assert.equal(await other.Event('e').isSet(), false)
    await one.Event('e').set()
    assert.equal(await other.Event('e').wait({ timeout: 0 }), true)
  })
})

describe('a Barrier of several machines', needsServer, () => {
  test('lets all go when the last has come, again and again', async () => {
    await using cluster = await StateCluster.start()
    const states = [await cluster.connect(), await cluster.connect()]
    for (let round = 0; round < 3; round++) {
      const indexes = await Promise.all([0, 1, 2].map(n => states[n % 2]!.Barrier('b', 3).wait()))
      assert.deepEqual(
        indexes.toSorted((a, b) => a - b),
        [0, 1, 2],
      )
    }
    assert.equal(await states[0]!.Barrier('b', 3).nWaiting(), 0)
  })

  test('breaks for all when one gives up, until it is reset', async () => {
    await using cluster = await StateCluster.start()
    const [one, other] = [await cluster.connect(), await cluster.connect()]
    const waiting = one.Barrier('b', 3).wait()
    const outcome = assert.rejects(waiting, { code: 'ERR_BROKEN_BARRIER' })
    await assert.rejects(other.Barrier('b', 3).wait({ timeout: 50 }), { code: 'ERR_BROKEN_BARRIER' })
    await outcome
    assert.equal(await other.Barrier('b', 3).isBroken(), true)
    await assert.rejects(one.Barrier('b', 3).wait(), { code: 'ERR_BROKEN_BARRIER' })
    await other.Barrier('b', 3).reset()
    const abort = new AbortController()
    const signalled = one.Barrier('b', 2).wait({ signal: abort.signal })
    abort.abort(new Error('enough'))
    await assert.rejects(signalled, { message: 'enough' })
    await other.Barrier('b', 2).reset()
    await Promise.all([one.Barrier('b', 2).wait(), other.Barrier('b', 2).wait()])
  })

  test('refuses another number of parties while somebody waits', async () => {
    await using cluster = await StateCluster.start()
    const [one, other] = [await cluster.connect(), await cluster.connect()]
    const waiting = assert.rejects(one.Barrier('b', 2).wait(), { code: 'ERR_BROKEN_BARRIER' })
    while ((await other.Barrier('b', 2).nWaiting()) === 0);
    await assert.rejects(other.Barrier('b', 3).wait(), RangeError)
    await other.Barrier('b', 2).abort()
    await waiting
  })
})

describe('a Queue of several machines', needsServer, () => {
  test('gives items in their order, each once, and keeps them when all programs have ended', async () => {
    await using cluster = await StateCluster.start()
    const one = await cluster.connect()
    const items = [1, 'two', { three: [3n, new Date(3)] }, undefined]
    await one.Queue('q').putMany(items)
    await one.close()
    const other = await cluster.connect()
    const queue = other.Queue('q')
    assert.equal(await queue.size(), 4)
    assert.equal(await queue.get(), 1)
    assert.deepEqual(await queue.getMany(), items.slice(1))
    assert.equal(await queue.empty(), true)
    await assert.rejects(queue.getNoWait(), { code: 'ERR_QUEUE_EMPTY' })
  })

  test('get() waits for an item, and ends by its timeout, its signal and close()', async () => {
    await using cluster = await StateCluster.start()
    const [one, other] = [await cluster.connect(), await cluster.connect()]
    const queue = other.Queue<number>('q')
    const waiting = queue.get()
    await one.Queue('q').put(5)
    assert.equal(await waiting, 5)
    await assert.rejects(queue.get({ timeout: 30 }), { code: 'ERR_QUEUE_EMPTY' })
    const abort = new AbortController()
    const aborted = queue.get({ signal: abort.signal })
    const closed = queue.get()
    const outcomes = Promise.all([
      assert.rejects(aborted, { message: 'enough' }),
      assert.rejects(closed, { code: 'ERR_CLOSED' }),
    ])
    abort.abort(new Error('enough'))
    queue.close()
    await outcomes
    await assert.rejects(queue.put(1), { code: 'ERR_CLOSED' })
    // Others are not concerned, and nothing was lost with the calls that ended.
    await one.Queue('q').put(6)
    assert.equal(await one.Queue('q').get(), 6)
  })

  test('put() waits while as many are in it as maxSize says', async () => {
    await using cluster = await StateCluster.start()
    const [one, other] = [await cluster.connect(), await cluster.connect()]
    const queue = one.Queue<number>('q', { maxSize: 2 })
    await queue.putMany([1, 2])
    assert.equal(await queue.full(), true)
    await assert.rejects(queue.putNoWait(3), { code: 'ERR_QUEUE_FULL' })
    const waiting = queue.put(3)
    const theirs = other.Queue<number>('q')
    assert.equal(await theirs.get(), 1)
    await waiting
    assert.deepEqual(await theirs.getMany(), [2, 3])
  })

  test('gives every item of 3 producers to one of 3 consumers, those of each producer in order', async () => {
    await using cluster = await StateCluster.start()
    const states = await Promise.all([0, 1, 2].map(() => cluster.connect()))
    const taken: number[][] = []
    const consumers = states.map(async state => {
      const mine: number[] = []
      taken.push(mine)
      for await (const item of state.Queue<number>('q')) {
        if (item < 0) return
        mine.push(item)
      }
    })
    await Promise.all(
      states.map((state, producer) =>
        state.Queue<number>('q', 10).putMany(Array.from({ length: 50 }, (_, n) => producer * 1000 + n)),
      ),
    )
    await states[0]!.Queue<number>('q').putMany([-1, -1, -1])
    await Promise.all(consumers)
    assert.equal(new Set(taken.flat()).size, 150)
    assert.equal(taken.flat().length, 150)
    for (const mine of taken) {
      for (let producer = 0; producer < 3; producer++) {
        const own = mine.filter(item => Math.floor(item / 1000) === producer)
        assert.deepEqual(
          own,
          own.toSorted((a, b) => a - b),
        )
      }
    }
  })
})

describe('a dict of several machines', needsServer, () => {
  test('has the methods of the dict of a manager', async () => {
    await using cluster = await StateCluster.start()
    const [one, other] = [await cluster.connect(), await cluster.connect()]
    const mine = one.dict<string | number | bigint | boolean | null>('d')
    const theirs = other.dict<string | number | bigint | boolean | null>('d')
    await mine.set('a', { deep: [1n, new Map([['x', 1]])] })
    assert.deepEqual(await theirs.get('a'), { deep: [1n, new Map([['x', 1]])] })
    assert.equal(await theirs.get('none'), undefined)
    assert.equal(await theirs.get('none', 5), 5)
    for (const key of [1, '1', 1n, true, null, 'k'.repeat(5000), 'ü.* >']) await mine.set(key, key)
    assert.equal(await theirs.size(), 8)
    assert.equal(await theirs.get('1'), '1')
    assert.equal(await theirs.get(1), 1)
    assert.equal(await theirs.has(null), true)
    assert.equal(await theirs.delete(null), true)
    assert.equal(await theirs.delete(null), false)
    assert.equal(await mine.has(null), false)
    assert.equal(await mine.pop('ü.* >'), 'ü.* >')
    await assert.rejects(mine.pop('ü.* >'), { code: 'ERR_NOT_FOUND' })
    assert.equal(await mine.pop('none', 7), 7)
    assert.equal(await mine.setDefault('a2', 1), 1)
    assert.equal(await theirs.setDefault('a2', 2), 1)
    assert.deepEqual(await theirs.keys(), ['a', 1, '1', 1n, true, 'k'.repeat(5000), 'a2'])
    await mine.clear()
    assert.deepEqual(await theirs.entries(), [])
    await mine.update({ x: 1, y: undefined })
    await mine.update(new Map([['z', 3]]))
    assert.deepEqual(
      await theirs.copy(),
      new Map<unknown, unknown>(Object.entries({ x: 1, y: undefined, z: 3 })),
    )
    const seen: unknown[] = []
    for await (const [key] of theirs) seen.push(key)
    assert.deepEqual(seen, ['x', 'y', 'z'])
    assert.equal(await other.dict('another').size(), 0)
  })

  test('update() of a key refuses async functions, and changes nothing when the function throws', async () => {
    await using cluster = await StateCluster.start()
    const dict = (await cluster.connect()).dict('d')
    await dict.set('a', 1)
    await assert.rejects(
      dict.update('a', async () => 2),
      TypeError,
    )
    await assert.rejects(
      dict.update('a', () => {
        throw new Error('no')
      }),
      { message: 'no' },
    )
    assert.equal(await dict.get('a'), 1)
  })

  test('refuses keys and values that do not travel to other machines, and such as are too long', async () => {
    await using cluster = await StateCluster.start()
    const state = await cluster.connect()
    const dict = state.dict<never>('d')
    for (const key of [{}, [], undefined, () => {}, Symbol('s')])
      await assert.rejects(dict.set(key as never, 1), { code: 'ERR_INVALID_ARGUMENT' })
    await assert.rejects(dict.set('k' as never, new Lock()), { code: 'ERR_NOT_SERIALIZABLE' })
    await assert.rejects(dict.set('k' as never, new Uint8Array(64 << 20)), { code: 'ERR_LIMIT' })
    assert.equal(await dict.size(), 0)
  })
})

describe('shared state', needsServer, () => {
  test('cannot be sent to a task, which is told to connect itself', async () => {
    await using cluster = await StateCluster.start()
    const state = await cluster.connect()
    await using pool = new Pool(1)
    const lock = state.Lock('l')
    for (const what of [state, lock, state.dict('d')])
      await assert.rejects(async () => await pool.apply((value: unknown) => typeof value, [what]), {
        code: 'ERR_NOT_SERIALIZABLE',
        message: /connectState/,
      })
    await assert.rejects(async () => await pool.apply(() => lock.locked()), {
      code: 'ERR_NOT_SERIALIZABLE',
      message: /connectState/,
    })
  })

  test('is used by tasks that connect themselves', async () => {
    await using cluster = await StateCluster.start()
    await using pool = new Pool(2)
    const increment = async (options: { cluster: string; name: string; authKey: string }): Promise<void> => {
      const { connectState: connect } = await import('multiproc/cluster')
      await using state = await connect(options)
      await state.dict<string, number>('counts').update('n', (n = 0) => n + 1)
    }
    const options = { cluster: cluster.server.url, name: POOL, authKey: KEY }
    await pool.map(increment, [options, options, options, options])
    const state = await cluster.connect()
    assert.equal(await state.dict<string, number>('counts').get('n'), 4)
  })

  test('checks its options and names at the call', async () => {
    const cluster = 'nats://127.0.0.1:1'
    for (const options of [
      { cluster, name: 'a.b', authKey: KEY },
      { cluster, name: '', authKey: KEY },
      { cluster: 'http://x', name: 'a', authKey: KEY },
      { cluster, name: 'a', authKey: 'short' },
      { cluster, name: 'a', authKey: KEY, nmae: 1 },
    ])
      await assert.rejects(connectState(options), { code: 'ERR_INVALID_ARGUMENT' })
    await using started = await StateCluster.start()
    const state = await started.connect()
    const invalid = { code: 'ERR_INVALID_ARGUMENT' }
    assert.throws(() => state.Lock('a b'), invalid)
    assert.throws(() => state.Lock('a', { lease: 10 }), invalid)
    assert.throws(() => state.Lock('a', { leaes: 1 } as never), invalid)
    assert.throws(() => state.Semaphore('a', 0), invalid)
    assert.throws(() => state.Semaphore('a', 1001), invalid)
    assert.throws(() => state.Barrier('a', 0.5), invalid)
    assert.throws(() => state.Queue('a', -1), invalid)
    assert.throws(() => state.dict('>'), invalid)
    await assert.rejects(state.Lock('a').acquire({ timeout: NaN }), invalid)
    await assert.rejects(state.Queue('a').get({ tiemout: 1 } as never), invalid)
  })
})
