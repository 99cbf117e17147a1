/**
 * Holders, waiters, parties and the server are killed and stopped, and people lie: whatever is held comes back, tokens
 * only grow, no change is made twice, and every wait ends.
 */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { encode } from '#src/serialize/codec.js'
import { seal } from '#src/cluster/sealed-message.js'
import type { StateStore } from '#src/cluster/state-store.js'
import { randomNumbers, seed } from '../queue/random-numbers.js'
import { checkLeaks, eventually } from '../leak-check.js'
import { KEY, POOL, connectAsStranger, needsServer } from './started-server.js'
import { StateCluster, type StateProgram } from './state-cluster.js'

checkLeaks()

/** What a lock protects, as it should be: it refuses tokens that are smaller than one that it has seen. */
class FencedResource {
  #largest = 0

  accepts(token: number): boolean {
    if (token < this.#largest) return false
    this.#largest = token
    return true
  }
}

describe('shared state survives', needsServer, () => {
  test('kill -9 of the holder of a Lock: the next one has it after the lease, and is told', async () => {
    await using cluster = await StateCluster.start()
    const state = await cluster.connect()
    const holder = cluster.program('hold', 'l')
    const token = Number(await holder.said('token '))
    await holder.kill()
    assert.equal(await state.Lock('l').locked(), true)
    // Told, it has nothing, and the next one is told as well.
    await assert.rejects(state.Lock('l').guard(), { code: 'ERR_OWNER_DIED' })
    const lock = state.Lock('l')
    await assert.rejects(lock.acquire({ timeout: 5000 }), { code: 'ERR_OWNER_DIED' })
    assert.ok(lock.token! > token)
    await lock.release()
    await using held = await state.Lock('l').guard({ timeout: 0 })
    assert.equal(held.ownerDied, false)
  })

  test('kill -9 of a holder: with the option recover, ownerDied says that it was killed', async () => {
    await using cluster = await StateCluster.start()
    const state = await cluster.connect()
    const holder = cluster.program('hold', 'l')
    await holder.said('token ')
    await holder.kill()
    await using held = await state.Lock('l').guard({ recover: true })
    assert.equal(held.ownerDied, true)
  })

  test('kill -9 of one who waits for a Lock: the others get it', async () => {
    await using cluster = await StateCluster.start()
    const [one, other] = [await cluster.connect(), await cluster.connect()]
    const lock = one.Lock('l')
    await lock.acquire()
    const doomed = cluster.program('wait-for-lock', 'l')
    await doomed.said('ready')
    const waiting = other.Lock('l').guard({ recover: true })
    await doomed.kill()
    await lock.release()
    await (await waiting).release()
  })

  test('kill -9 of the holder of a permit: the permit comes back', async () => {
    await using cluster = await StateCluster.start()
    const state = await cluster.connect()
    const holder = cluster.program('permit', 's', '2')
    await holder.said('token ')
    const semaphore = state.Semaphore('s', 2)
    assert.equal(await semaphore.getValue(), 1)
    await holder.kill()
    await using first = await semaphore.guard({ recover: true })
    await using second = await semaphore.guard({ recover: true })
    assert.notEqual(first.ownerDied, second.ownerDied)
  })

  test('kill -9 of a party at a Barrier: it breaks for the others', async () => {
    await using cluster = await StateCluster.start()
    const state = await cluster.connect()
    const party = cluster.program('barrier', 'b', '3')
    await party.said('ready')
    const barrier = state.Barrier('b', 3)
    while ((await barrier.nWaiting()) === 0);
    const waiting = assert.rejects(barrier.wait(), { code: 'ERR_BROKEN_BARRIER' })
    while ((await barrier.nWaiting()) === 1);
    await party.kill()
    await waiting
    assert.equal(await barrier.isBroken(), true)
  })

  test('kill -9 of a consumer of a Queue: the others get all that it had not taken', async () => {
    await using cluster = await StateCluster.start()
    const state = await cluster.connect()
    const queue = state.Queue<number>('q')
    const doomed = cluster.program('take', 'q')
    await doomed.said('ready')
    await queue.putMany(Array.from({ length: 200 }, (_, n) => n))
    await doomed.said('item 20')
    await doomed.kill()
    const given = doomed.lines.filter(line => line.startsWith('item ')).map(line => Number(line.slice(5)))
    const last = given.at(-1)!
    assert.deepEqual(
      given,
      given.map((_, n) => n),
    )
    // One may have been on its way to it: taken and not printed, or given to it and not taken, which comes 30 s later.
    const left: number[] = []
    for (let next = last; next < 199; left.push(next)) next = await queue.get()
    const missing = Array.from({ length: 200 }, (_, n) => n).filter(n => n > last && !left.includes(n))
    assert.ok(missing.length <= 1, `missing: ${missing.join()}`)
    assert.equal(new Set([...given, ...left]).size, given.length + left.length)
  })

  test('SIGSTOP of a holder for longer than its lease: it is told, and its token is refused', async () => {
    await using cluster = await StateCluster.start()
    const state = await cluster.connect()
    const resource = new FencedResource()
    const stopped = cluster.program('hold', 'l')
    const oldToken = Number(await stopped.said('token '))
    assert.equal(resource.accepts(oldToken), true)
    stopped.signal('SIGSTOP')
    {
      await using held = await state.Lock('l').guard({ recover: true })
      assert.equal(held.ownerDied, true)
      assert.equal(resource.accepts(held.token), true)
      stopped.signal('SIGCONT')
      await stopped.said('lost')
      assert.equal(resource.accepts(oldToken), false)
      stopped.child.stdin!.write('go on\n')
      assert.equal(await stopped.said('isLost '), 'true')
      await stopped.said('ERR_LEASE_LOST')
      // What it did has not taken the lock from the one that has it now.
      assert.equal(await state.Lock('l').acquire({ timeout: 0 }), false)
      assert.equal(held.isLost, false)
    }
  })

  test('random kills of holders, and of the server, in 200 hand-overs: tokens only grow', async () => {
    const random = randomNumbers(seed)
    await using cluster = await StateCluster.start()
    const file = join(cluster.server.folder, 'tokens')
    const start = (): StateProgram => cluster.program('hand-over', 'l', file)
    const tokens = (): number[] =>
      existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1).map(Number) : []
    const programs = [start(), start(), start()]
    let next = 20
    for (let kills = 0; tokens().length < 200; kills++) {
      const until = next
      await eventually(() => tokens().length >= until)
      next = tokens().length + 20 + random(30)
      if (kills === 2) {
        await cluster.server.killServer()
        await cluster.server.restartServer()
      } else {
        const index = random(programs.length)
        await programs[index]!.kill()
        programs[index] = start()
      }
    }
    await Promise.all(programs.map(program => program.kill()))
    const all = tokens()
    for (const [index, token] of all.entries())
      assert.ok(index === 0 || token > all[index - 1]!, `seed ${seed}: ${all[index - 1]} and then ${token}`)
  })

  test('two programs that increment one value 500 times each: it is 1000', async () => {
    await using cluster = await StateCluster.start()
    const programs = [cluster.program('increment', 'd', '500'), cluster.program('increment', 'd', '500')]
    await Promise.all(programs.map(program => program.said('done')))
    const state = await cluster.connect()
    assert.equal(await state.dict('d').get('n'), 1000)
  })

  test('a change whose answer is lost is not made twice, however often others change the value meanwhile', async () => {
    await using cluster = await StateCluster.start()
    const [one, other] = [await cluster.connect(), await cluster.connect()]
    const dict = one.dict<string, number>('d')
    const increment = (n = 0): number => n + 1
    const { publisher } = (dict as unknown as { store: StateStore }).store.nats
    const publish = publisher.publish.bind(publisher)
    let losses = 3
    publisher.publish = async (...given: Parameters<typeof publish>) => {
      const answer = await publish(...given)
      if (losses === 0) return answer
      losses--
      for (let count = 0; count < 100; count++) await other.dict<string, number>('d').update('n', increment)
      throw Object.assign(new Error('The answer is lost'), { name: 'TimeoutError' })
    }
    await Promise.all([dict.update('n', increment), dict.update('n', increment), dict.update('n', increment)])
    assert.equal(losses, 0)
    assert.equal(await dict.get('n'), 303)
  })

  test('kill -9 of the server while two programs increment a value: no increment is lost or made twice', async () => {
    await using cluster = await StateCluster.start()
    const programs = [cluster.program('increment', 'd', '400'), cluster.program('increment', 'd', '400')]
    const state = await cluster.connect()
    const dict = state.dict<string, number>('d')
    for (const value of [100, 300, 500]) {
      while ((await dict.get('n', 0)) < value);
      await cluster.server.killServer()
      await cluster.server.restartServer()
    }
    await Promise.all(programs.map(program => program.said('done')))
    assert.equal(await dict.get('n'), 800)
  })

  test('kill -9 of the server while others wait for everything: they get it when it is back', async () => {
    await using cluster = await StateCluster.start()
    const [one, other] = [await cluster.connect(), await cluster.connect()]
    const lock = one.Lock('l')
    await lock.acquire()
    const queue = one.Queue<number>('q', 1)
    await queue.put(1)
    const waiting = Promise.all([
      other.Lock('l').acquire(),
      other.Event('e').wait(),
      other.Barrier('b', 2).wait(),
      other.Queue<number>('empty').get(),
      queue.put(2),
    ])
    while ((await one.Barrier('b', 2).nWaiting()) === 0);
    await cluster.server.killServer()
    const during = one.dict('d').set('k', 'written while it was away')
    await cluster.server.restartServer()
    await during
    await lock.release()
    await one.Event('e').set()
    const index = await one.Barrier('b', 2).wait()
    await one.Queue<number>('empty').put(3)
    assert.equal(await other.Queue<number>('q').get(), 1)
    assert.deepEqual(await waiting, [true, true, 1 - index, 3, undefined])
    assert.equal(await other.Queue<number>('q').get(), 2)
    assert.equal(await other.dict('d').get('k'), 'written while it was away')
  })

  test('a server that stays away: all waits fail, what is held is lost, and all is well when it is back', async () => {
    await using cluster = await StateCluster.start()
    const state = await cluster.connect({ cluster: { servers: cluster.server.url, connectionTimeout: 1000 } })
    const lock = state.Lock('l', { lease: 1000 })
    const held = await lock.guard()
    const lost = new Promise(resolve => held.signal.addEventListener('abort', resolve, { once: true }))
    const connection = { code: 'ERR_CLUSTER_CONNECTION' }
    await state.Queue('q').size()
    const waiting = Promise.all([
      assert.rejects(lock.acquire(), connection),
      assert.rejects(state.Event('e').wait(), connection),
      assert.rejects(state.Queue('q').get(), connection),
      assert.rejects(state.Barrier('b', 2).wait(), connection),
    ])
    await cluster.server.killServer()
    await waiting
    await lost
    await assert.rejects(held.release(), { code: 'ERR_LEASE_LOST' })
    await assert.rejects(state.dict('d').get('k'), connection)
    await cluster.server.restartServer()
    for (let isBack = false; !isBack;) {
      try {
        isBack = !(await state.dict('d').has('k'))
      } catch (error) {
        assert.equal((error as { code: string }).code, connection.code)
        await new Promise(resolve => setImmediate(resolve))
      }
    }
    await using again = await state.Lock('l').guard({ recover: true })
    assert.ok(again.token > held.token)
  })
})

describe('shared state tells', needsServer, () => {
  test('that somebody has deleted its stream', async () => {
    await using cluster = await StateCluster.start()
    const state = await cluster.connect()
    await state.dict('d').set('k', 1)
    const stranger = await connectAsStranger(cluster.server)
    try {
      await (await jetstreamManager(stranger)).streams.delete(`MP_S_${POOL}`)
    } finally {
      await stranger.close()
    }
    await assert.rejects(state.dict('d').get('k'), { code: 'ERR_CLUSTER_SERVER' })
    await assert.rejects(state.dict('d').entries(), { code: 'ERR_CLUSTER_SERVER' })
  })

  test('entries() reads a dict of 2000 keys while the server is killed', async () => {
    await using cluster = await StateCluster.start()
    const dict = (await cluster.connect()).dict<number, number>('d')
    const keys = Array.from({ length: 2000 }, (_, n) => n)
    for (let from = 0; from < 2000; from += 100)
      await Promise.all(keys.slice(from, from + 100).map(n => dict.set(n, -n)))
    const reading = dict.entries()
    await cluster.server.killServer()
    await cluster.server.restartServer()
    assert.deepEqual(new Map(await reading), new Map(keys.map(n => [n, -n])))
  })
})

describe('shared state is not fooled by', needsServer, () => {
  test('a program with another key', async () => {
    await using cluster = await StateCluster.start()
    const state = await cluster.connect()
    await state.dict('d').set('k', 1)
    await assert.rejects(cluster.connect({ authKey: 'another key of thirty-two bytes!' }), {
      code: 'ERR_AUTHENTICATION',
    })
    assert.equal(await state.dict('d').get('k'), 1)
  })

  test('values without a seal, sealed with another key, or moved from one key to another', async () => {
    await using cluster = await StateCluster.start()
    const state = await cluster.connect()
    const dict = state.dict<string, number>('d')
    await dict.set('poor', 1)
    await dict.set('rich', 1_000_000)
    await state.Queue<number>('q').put(1)
    const stranger = await connectAsStranger(cluster.server)
    try {
      const manager = await jetstreamManager(stranger)
      const publisher = jetstream(stranger)
      const stream = `MP_S_${POOL}`
      const { state: facts } = await manager.streams.info(stream, {
        subjects_filter: `mp.s.${POOL}.dict.d.>`,
      })
      const [poor, rich] = Object.keys(facts.subjects!)
      const values = new Map<string, Uint8Array>()
      for (const subject of [poor!, rich!])
        values.set(subject, (await manager.streams.getMessage(stream, { last_by_subj: subject }))!.data)
      // They are swapped.
      await publisher.publish(poor!, values.get(rich!))
      await publisher.publish(rich!, values.get(poor!))
      const forged = { code: 'ERR_AUTHENTICATION' }
      await assert.rejects(dict.get('poor'), forged)
      await assert.rejects(dict.get('rich'), forged)
      await assert.rejects(dict.entries(), forged)
      await assert.rejects(
        dict.update('poor', (n = 0) => n + 1),
        forged,
      )
      const lies = [
        new Uint8Array(),
        Buffer.from('x'),
        seal(Buffer.from('k'.repeat(32)), poor!, [encode({ nonce: '1' })]),
      ]
      for (const lie of lies) {
        await publisher.publish(poor!, lie)
        await assert.rejects(dict.get('poor'), forged)
        await publisher.publish(`mp.s.${POOL}.lock.l`, lie)
        await assert.rejects(state.Lock('l').acquire(), forged)
      }
      await publisher.publish(
        `mp.u.${POOL}.q`,
        seal(Buffer.from(KEY), 'mp.u.another', [encode({}), encode(1)]),
      )
      await state.Queue<number>('q').put(2)
      assert.equal(await state.Queue('q').get(), 1)
      await assert.rejects(state.Queue('q').get(), forged)
      // It is gone, and holds nobody up.
      assert.equal(await state.Queue('q').get(), 2)
      // Pokes are believed as far as that somebody looks again.
      stranger.publish(`mp.w.${POOL}.lock.l2`, 'x')
      assert.equal(await state.Lock('l2').acquire(), true)
    } finally {
      await stranger.close()
    }
  })
})
