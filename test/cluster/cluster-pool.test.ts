/** A pool on a cluster has the methods, the order and the errors of every pool. */
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import {
  type ClusterError,
  Lock,
  PoisonedItemError,
  Pool,
  type RemoteError,
  SerializeError,
  TimeoutError,
  WorkerDiedError,
  carryAcross,
  currentTask,
} from 'multiproc'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks } from '../leak-check.js'
import { TestCluster, needsServer } from './started-server.js'

checkLeaks()

const user = new AsyncLocalStorage<string>()
const carrying = carryAcross('user', user)
after(() => carrying.stop())

class Price {
  readonly amount: number
  constructor(amount: number) {
    this.amount = amount
  }
}

describe('a pool on a cluster', needsServer, () => {
  test('map() gives results in order, of closures that agents have never seen', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent()
    const offset = 10
    const results = await cluster.pool().map((n: number) => n + offset, [1, 2, 3, 4, 5])
    assert.deepEqual(results, [11, 12, 13, 14, 15])
  })

  test('a million small items come back once each, and in order', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent()
    const items = Array.from({ length: 1_000_000 }, (_, index) => index)
    const results = await cluster.pool().map((n: number) => n + 1, items)
    assert.equal(results.length, items.length)
    assert.ok(results.every((result, index) => result === index + 1))
  })

  test('the stores of carryAcross() are those of the caller, on every machine', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent()
    const pool = cluster.pool()
    const whoAmI = (): string | undefined => user.getStore()
    const asked = ['ann', 'bob'].map(name => user.run(name, () => pool.apply(whoAmI)))
    asked.push(pool.apply(whoAmI))
    const mapped = user.run('cy', () => pool.map(whoAmI, [1, 2, 3]))
    assert.deepEqual(await Promise.all(asked), ['ann', 'bob', undefined])
    assert.deepEqual(await mapped, ['cy', 'cy', 'cy'])
  })

  test('starmap(), apply(), mapSettled() and imapUnordered() work as in every pool', async () => {
    await using cluster = await TestCluster.start()
    const agent = await cluster.agent()
    const pool = cluster.pool()
    assert.deepEqual(
      await pool.starmap(
        (a: number, b: number) => a * b,
        [
          [2, 3],
          [4, 5],
        ],
      ),
      [6, 20],
    )
    assert.equal(await pool.apply(async (name: string) => `hello ${name}`, ['there']), 'hello there')
    const outcomes = await pool.mapSettled(
      (n: number) => {
        if (n === 2) throw new RangeError('two')
        return n
      },
      [1, 2, 3],
    )
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    )
    const [, second] = outcomes as PromiseRejectedResult[]
    assert.ok(second!.reason instanceof RangeError)
    const { workerName } = second!.reason.cause as RemoteError
    assert.ok(workerName.startsWith(agent.name), workerName)
    assert.match(String(second!.reason.stack), /cluster-pool\.test/)
    const unordered: number[] = []
    for await (const n of pool.imapUnordered((n: number) => n * 2, [1, 2, 3])) unordered.push(n)
    assert.deepEqual(
      unordered.toSorted((a, b) => a - b),
      [2, 4, 6],
    )
  })

  test('imap() reads an endless input only as far as its results are consumed', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent()
    let read = 0
    function* endless(): Generator<number> {
      for (;;) yield read++
    }
    const results = cluster.pool().imap((n: number) => n, endless(), { bufferSize: 16 })
    for (let expected = 0; expected < 100; expected++)
      assert.deepEqual(await results.next(), { done: false, value: expected })
    assert.ok(read <= 100 + 16, `${read} items were read`)
    await results.return?.()
  })

  test('values keep their classes, and large ones are stored in pieces and come back whole', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent()
    const pool = cluster.pool()
    const doubled = await pool.apply((price: Price) => new Price(price.amount * 2), [new Price(21)])
    assert.ok(doubled instanceof Price)
    assert.equal(doubled.amount, 42)
    const large = new Float64Array(1_000_000).map((_, index) => index)
    const back = await pool.apply((numbers: Float64Array) => numbers.map(n => n + 1), [large])
    assert.equal(back.length, large.length)
    assert.ok(back.every((n, index) => n === index + 1))
    // Longer than what goes along with each chunk.
    const table = Array.from({ length: 3000 }, (_, index) => `row ${index}`)
    assert.deepEqual(await pool.map((n: number) => table[n]!, [0, 2999]), ['row 0', 'row 2999'])
  })

  test('a task knows its place and its run, reports, and is retried by the policy of its call', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent()
    const reports = new Set<unknown>()
    const results = await cluster.pool().map(
      (n: number) => {
        const task = currentTask()
        if (task.attempt < 3) throw new Error('not yet')
        task.report(`item ${n}`)
        return [task.index, task.attempt]
      },
      [5, 6],
      { retries: 2, onReport: value => void reports.add(value) },
    )
    assert.deepEqual(results, [
      [0, 3],
      [1, 3],
    ])
    assert.deepEqual(reports, new Set(['item 5', 'item 6']))
  })

  test('a task that takes too long fails with TimeoutError, and its worker is replaced', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent({ processes: 1 })
    const pool = cluster.pool()
    const endless = (): void => {
      for (;;);
    }
    await assert.rejects(pool.apply(endless, [], { timeout: 100, gracePeriod: 10 }), TimeoutError)
    assert.equal(await pool.apply(() => 'next'), 'next')
  })

  test('a call that is cancelled rejects at once, what runs of it is stopped, and what waits never runs', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    await cluster.agent({ processes: 1 })
    const pool = cluster.pool()
    const { address } = latches
    const first = pool.apply(passLatch, [address, 'first'], { gracePeriod: 10 })
    await latches.arrival('first')
    const waiting = pool.map((name: string) => passLatch(address, name), ['second', 'third'])
    const [why, whyToo] = [new Error('not wanted'), new Error('nor this')]
    first.cancel(why)
    waiting.cancel(whyToo)
    await assert.rejects(first, why)
    await assert.rejects(waiting, whyToo)
    // The only worker is free again.
    assert.equal(await pool.apply(() => 'next'), 'next')
  })

  test('what has a higher priority goes first', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    await cluster.agent({ processes: 1 })
    const pool = cluster.pool()
    const { address } = latches
    const blocker = pool.apply(passLatch, [address, 'blocker'])
    await latches.arrival('blocker')
    const order: string[] = []
    const note = (name: string): string => name
    const calls = [
      pool.apply(note, ['low'], { priority: -1 }).then(name => order.push(name)),
      pool.apply(note, ['normal']).then(name => order.push(name)),
      pool.apply(note, ['high'], { priority: 7 }).then(name => order.push(name)),
    ]
    latches.release('blocker')
    await Promise.all([blocker, ...calls])
    assert.equal(order[0], 'high')
  })

  test('a worker that dies fails the item that it ran and nothing else', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent()
    const outcomes = await cluster.pool().mapSettled(
      (n: number) => {
        if (n === 50) process.kill(process.pid, 'SIGKILL')
        return n
      },
      Array.from({ length: 100 }, (_, index) => index),
    )
    const failed = outcomes.flatMap((outcome, index) => (outcome.status === 'rejected' ? [index] : []))
    assert.deepEqual(failed, [50])
    const { reason } = outcomes[50] as PromiseRejectedResult
    assert.ok(reason instanceof WorkerDiedError)
    assert.equal(reason.signal, 'SIGKILL')
    assert.equal(reason.taskIndex, 50)
  })

  test('an item that kills every worker is given up although it may be retried', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent()
    const pool = cluster.pool({ maxDeathsPerItem: 2 })
    const deadly = (): void => process.kill(process.pid, 'SIGKILL') as never
    await assert.rejects(pool.apply(deadly, [], { retries: 10 }), (error: unknown) => {
      assert.ok(error instanceof PoisonedItemError)
      assert.equal(error.deaths, 2)
      return true
    })
  })

  test('what belongs to one machine is refused at the call, or fails its item', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent()
    const pool = cluster.pool()
    const lock = new Lock()
    const isNotSent = (error: unknown): boolean =>
      error instanceof SerializeError && error.message.includes('another machine')
    assert.throws(() => pool.apply((value: Lock) => value.toString(), [lock]), isNotSent)
    await assert.rejects(
      pool.map((value: Lock) => value.toString(), [lock]),
      isNotSent,
    )
    assert.throws(() => pool.map(() => lock.toString(), [1]), isNotSent)
  })

  test('a function of a module that the agents do not have is sent by value, with what it needs of that module', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent()
    const file = join(cluster.folder, 'work.mjs')
    writeFileSync(
      file,
      'const rate = 3\nconst pay = n => n * rate\nexport function wage(hours) { return pay(hours) }\n',
    )
    const { wage } = (await import(pathToFileURL(file).href)) as { wage: (hours: number) => number }
    // This machine is the agent's, too.
    rmSync(file)
    assert.deepEqual(await cluster.pool().map(wage, [1, 2, 3]), [3, 6, 9])
  })

  test('agents that come later run what has waited, and the pool counts their processes', async () => {
    await using cluster = await TestCluster.start()
    const pool = cluster.pool()
    const results = pool.map((n: number) => n * n, [1, 2, 3])
    await cluster.agent({ processes: 1 })
    assert.deepEqual(await results, [1, 4, 9])
    await cluster.agent({ processes: 2 })
    while (pool.processes !== 3) await pool.apply(() => {})
    assert.equal(pool.stats().total.done >= 3, true)
  })

  test('stats() has one line for all machines, and the longest tasks, however long those of other programs were', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent({ processes: 1 })
    function spin(ms: number): number {
      const endsMs = performance.now() + ms
      while (performance.now() < endsMs);
      return ms
    }
    await cluster.pool().map(spin, [80, 80, 80, 80, 80])
    const pool = cluster.pool()
    await pool.map(spin, [5, 40, 6, 7, 8, 9, 10])
    await pool.apply(spin, [20])
    const { workers, longestTasks } = pool.stats()
    assert.equal(workers.length, 1)
    assert.equal(longestTasks.length, 5)
    const [first] = longestTasks
    assert.deepEqual(
      { ...first, durationMs: 0 },
      { name: 'spin', index: 1, count: 1, durationMs: 0, arguments: '40' },
    )
    assert.ok(first!.durationMs >= 40)
    assert.ok(longestTasks.some(task => task.arguments === '20' && task.index === undefined))
    const [, line] = pool.statsTable().split('\n')
    assert.match(line!, /^cluster +ready +8 /)
  })

  test('two programs share the agents, and one agent serves several pools', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent({ pools: ['one', 'two'], processes: 2 })
    const pools = [
      cluster.pool({ name: 'one' }),
      cluster.pool({ name: 'one' }),
      cluster.pool({ name: 'two' }),
    ]
    const all = await Promise.all(
      pools.map((pool, place) => pool.map((n: number) => n + place, [1, 2, 3, 4, 5, 6, 7, 8])),
    )
    for (const [place, results] of all.entries())
      assert.deepEqual(
        results,
        Array.from({ length: 8 }, (_, index) => index + 1 + place),
      )
  })

  test('who asks for another lease or number of deliveries than the pool has is told both values', async () => {
    await using cluster = await TestCluster.start()
    const warnings: Error[] = []
    const note = (warning: Error): void => void warnings.push(warning)
    process.on('warning', note)
    await cluster.agent({ cluster: { ...cluster.options, lease: 2000, maxDeliveries: 3 } })
    const asked = { lease: 2000, maxDeliveries: 3 }
    await cluster.pool({ cluster: asked }).apply(() => 1)
    await cluster.pool({ cluster: { lease: undefined } }).apply(() => 1)
    assert.equal(warnings.length, 0, warnings[0]?.message)
    await cluster.pool({ cluster: { lease: 60_000, maxDeliveries: 7 } }).apply(() => 1)
    process.removeListener('warning', note)
    assert.deepEqual(
      warnings.map(({ name }) => name),
      ['ClusterWarning', 'ClusterWarning'],
    )
    assert.match(warnings[0]!.message, /"lease" 2000, .* and not 60000/)
    assert.match(warnings[1]!.message, /"maxDeliveries" 3, .* and not 7/)
  })

  test('close() finishes what was submitted, and join() waits for it', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent()
    const pool = cluster.pool()
    const results = pool.map((n: number) => -n, [1, 2, 3])
    pool.close()
    await pool.join()
    assert.deepEqual(await results, [-1, -2, -3])
    assert.throws(() => pool.apply(() => 1), { code: 'ERR_CLOSED' })
  })

  test('agents need nobody: calls fail with ERR_CLUSTER_NO_AGENTS when none comes in time', async () => {
    await using cluster = await TestCluster.start()
    const pool = cluster.pool({ cluster: { agentTimeout: 100 } })
    await assert.rejects(
      pool.apply(() => 1),
      (error: ClusterError) => {
        assert.equal(error.code, 'ERR_CLUSTER_NO_AGENTS')
        assert.match(error.message, /multiproc worker/)
        return true
      },
    )
  })
})

describe('the option cluster', () => {
  test('a pool without a name, without a key or with options about workers says what to do', () => {
    const cluster = { servers: 'nats://127.0.0.1:1', authKey: 'k'.repeat(32) }
    assert.throws(() => new Pool({ cluster }), /name/)
    assert.throws(() => new Pool({ cluster, name: 'a b' }), { code: 'ERR_INVALID_ARGUMENT' })
    assert.throws(() => new Pool({ cluster: { ...cluster, authKey: 'short' }, name: 'p' }), /openssl/)
    assert.throws(
      () => new Pool({ cluster: { servers: 'http://x', authKey: 'k'.repeat(32) }, name: 'p' }),
      /nats:/,
    )
    assert.throws(() => new Pool({ cluster, name: 'p', processes: 2 }), { code: 'ERR_NOT_SUPPORTED' })
    assert.throws(() => new Pool({ cluster, name: 'p', finalizer: () => {} }), {
      code: 'ERR_NOT_SUPPORTED',
    })
  })

  test('a server that is not there fails the calls with ERR_CLUSTER_CONNECTION', async () => {
    await using pool = new Pool({
      cluster: { servers: 'nats://127.0.0.1:1', authKey: 'k'.repeat(32), connectionTimeout: 100 },
      name: 'p',
    })
    await assert.rejects(
      pool.map((n: number) => n, [1]),
      { name: 'ClusterError', code: 'ERR_CLUSTER_CONNECTION' },
    )
    assert.throws(() => pool.apply(() => 1), { code: 'ERR_CLUSTER_CONNECTION' })
  })
})
