/** The users of deploy/nats/users.conf can do what they have to, and nothing else. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { NatsConnection } from '@nats-io/transport-node'
import { type ClusterError, Pool, currentTask } from 'multiproc'
import { type ClusterState, connectState, startAgent } from 'multiproc/cluster'
import { findServer } from '#src/cluster/local-server.js'
import { runCommand } from '../cli/run-command.js'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks } from '../leak-check.js'
import { type ConfiguredServer, certificates } from './configured-server.js'
import {
  type User,
  clusterAs,
  copyConfigurations,
  deployEnvironment,
  rawAs,
  startDeployServer,
} from './deploy-server.js'
import { KEY, needsServer } from './started-server.js'

checkLeaks()

const POOL = 'render'
const mebibyte = 1 << 20

/** What `multiproc cluster` says to the administrator. */
async function administer(server: ConfiguredServer, args: readonly string[]): Promise<string> {
  const { servers } = clusterAs(server, 'admin')
  const { code, stdout, stderr } = await runCommand(['cluster', ...args, '--inbox-prefix', '_INBOX_admin'], {
    env: { MULTIPROC_CLUSTER: String(servers), MULTIPROC_AUTH_KEY: KEY },
  })
  assert.equal(code, 0, stderr)
  return stdout
}

async function startCreated(edit?: (text: string) => string): Promise<ConfiguredServer> {
  const server = await startDeployServer('single-without-tls.conf', edit)
  await administer(server, ['create', '--pool', POOL, '--lease', '2s', '--state', POOL, '--queue', 'frames'])
  return server
}

/** Also what nobody waits for, as the deletion of what is not needed any more. */
function assertNothingRefused(server: ConfiguredServer): void {
  assert.deepEqual(
    server.log.split('\n').filter(line => /violation/i.test(line)),
    [],
  )
}

/** Whether the server lets this user publish to that subject; by its own answer, which comes before that to a flush. */
async function mayPublish(connection: NatsConnection, subject: string): Promise<boolean> {
  const seen = await refusalsDuring(connection, () => connection.publish(subject, '{}'))
  return !seen.some(message => message.includes(`"${subject}"`))
}

async function maySubscribe(connection: NatsConnection, subject: string): Promise<boolean> {
  const seen = await refusalsDuring(connection, () => {
    connection.subscribe(subject, { callback: () => {} })
  })
  return !seen.some(message => message.includes(`"${subject}"`))
}

async function refusalsDuring(connection: NatsConnection, act: () => void): Promise<string[]> {
  const seen: string[] = []
  const status = connection.status()
  const reading = (async () => {
    for await (const event of status) if (event.type === 'error') seen.push(event.error.message)
  })()
  act()
  await connection.flush()
  ;(status as unknown as { stop: () => void }).stop()
  await reading
  return seen
}

describe('the users of deploy/nats/users.conf', needsServer, () => {
  test('submitter and agent: results, reports, errors, cancelling, long payloads, functions by value, a restart', async () => {
    await using server = await startCreated()
    await using latches = await Latches.open()
    const { address } = latches
    const agent = await startAgent({ cluster: clusterAs(server, 'agent'), pools: POOL, processes: 2 })
    await using pool = new Pool({ cluster: clusterAs(server, 'submitter'), name: POOL })

    const offset = 10
    assert.deepEqual(await pool.map((n: number) => n + offset, [1, 2, 3]), [11, 12, 13])

    const reports: unknown[] = []
    await pool.map(
      (n: number) => {
        currentTask().report(n)
        return n
      },
      [7],
      { onReport: value => void reports.push(value) },
    )
    assert.deepEqual(reports, [7])

    await assert.rejects(
      pool.apply(() => {
        throw new RangeError('far')
      }),
      { name: 'RangeError', message: 'far' },
    )

    const long = Buffer.alloc(3 * mebibyte, 'x')
    const doubled = await pool.apply((bytes: Buffer) => Buffer.concat([bytes, bytes]), [long])
    assert.equal(doubled.length, 2 * long.length)

    const words = 'a function of more than 4 KiB, with what it captures '.repeat(200)
    assert.deepEqual(await pool.map((n: number) => words.length + n, [0, 1]), [
      words.length,
      words.length + 1,
    ])

    const cancelled = pool.apply((latch: string) => passLatch(latch, 'cancelled'), [address])
    await latches.arrival('cancelled')
    cancelled.cancel()
    await assert.rejects(cancelled)

    // Its result is read from the stream again, after a reconnection.
    const late = pool.apply((latch: string) => passLatch(latch, 'late'), [address])
    await latches.arrival('late')
    await server.kill()
    latches.release('late')
    await server.start()
    await late

    const { pools } = JSON.parse(await administer(server, ['status', '--json'])) as {
      pools: { pool: string; agents: unknown[] }[]
    }
    assert.deepEqual(
      pools.map(({ pool: name, agents }) => [name, agents.length]),
      [[POOL, 1]],
    )
    await agent.stop()
    await pool.terminate()
    assertNothingRefused(server)
  })

  test('submitter: calls with which another program goes on', async () => {
    await using server = await startCreated()
    const agent = await startAgent({ cluster: clusterAs(server, 'agent'), pools: POOL, processes: 1 })
    const cluster = clusterAs(server, 'submitter')
    const first = new Pool({ cluster, name: POOL })
    assert.deepEqual(await first.map((n: number) => n + 1, [1, 2, 3], { jobId: 'sums' }), [2, 3, 4])
    await first.terminate()
    assert.deepEqual(await Pool.attach('sums', { cluster, name: POOL }), [2, 3, 4])
    await agent.stop()
    assertNothingRefused(server)
  })

  test('submitter: work with requirements, once it may make consumers', async () => {
    const requires = { labels: { zone: 'eu' } }
    {
      await using server = await startCreated()
      await using pool = new Pool({ cluster: clusterAs(server, 'submitter'), name: POOL })
      await assert.rejects(
        pool.apply(() => 1, [], { requires }),
        { code: 'ERR_CLUSTER_SERVER', message: /may not make consumers/ },
      )
    }
    await using server = await startCreated(text =>
      text.replace('# "$JS.API.CONSUMER.CREATE.MP_T_render.>"', '"$JS.API.CONSUMER.CREATE.MP_T_render.>"'),
    )
    const cluster = clusterAs(server, 'agent')
    const agent = await startAgent({ cluster, pools: POOL, processes: 1, labels: { zone: 'eu' } })
    await using pool = new Pool({ cluster: clusterAs(server, 'submitter'), name: POOL })
    assert.equal(await pool.apply(() => 1, [], { requires }), 1)
    await agent.stop()
    await pool.terminate()
    assertNothingRefused(server)
  })

  test('state: every kind of object', async () => {
    await using server = await startCreated()
    await using state = await connectState({ cluster: clusterAs(server, 'state'), name: POOL })
    await using other = await connectState({ cluster: clusterAs(server, 'state'), name: POOL })
    await useEverything(state, other)
    await other.close()
    await state.close()
    assertNothingRefused(server)
    // A queue that was not made, and another state.
    await using third = await connectState({ cluster: clusterAs(server, 'state'), name: POOL })
    await assert.rejects(third.Queue('others').put(1), { code: 'ERR_CLUSTER_SERVER' })
    await assert.rejects(connectState({ cluster: clusterAs(server, 'state'), name: 'other' }), {
      code: 'ERR_CLUSTER_SERVER',
    })
  })

  test('admin: sees what is there, takes work out of the queue, and clears dead letters', async () => {
    await using server = await startCreated()
    const again = await administer(server, ['create', '--pool', POOL, '--json'])
    const { pools } = JSON.parse(again) as { pools: unknown[] }
    assert.deepEqual(pools, [{ pool: POOL, leaseMs: 2000, deliveriesMax: 5, replicas: 1 }])
    await using pool = new Pool({ cluster: clusterAs(server, 'submitter'), name: POOL })
    const failed = assert.rejects(
      pool.map((n: number) => n, [1, 2, 3]),
      { code: 'ERR_TERMINATED' },
    )
    let jobs: { id: string }[] = []
    while (jobs.length === 0)
      jobs = JSON.parse(await administer(server, ['jobs', '--json'])) as { id: string }[]
    assert.match(await administer(server, ['cancel', jobs[0]!.id]), /taken out/)
    await failed
    assert.match(await administer(server, ['dead', '--clear']), /0 dead letters/)
    assertNothingRefused(server)
  })

  test('nobody can do the work of another, or make and delete streams', async () => {
    await using server = await startCreated()
    const everybody: User[] = ['submitter', 'agent', 'state']
    const forbidden: Record<'submitter' | 'agent' | 'state', { publish: string[]; subscribe: string[] }> = {
      agent: {
        publish: [
          'mp.t.render.normal.a.1',
          'mp.c.render',
          'mp.q.render',
          '$JS.API.STREAM.MSG.GET.MP_T_render',
          '$JS.API.STREAM.MSG.GET.MP_R_render',
          '$JS.API.DIRECT.GET.MP_R_render',
          '$JS.API.CONSUMER.CREATE.MP_R_render',
          '$JS.API.STREAM.PURGE.MP_T_render',
          '$JS.API.STREAM.PURGE.MP_R_render',
          'mp.s.render.lock.a',
        ],
        subscribe: ['mp.r.render.>', 'mp.t.render.>', 'mp.n.render.>', '_INBOX.>', '_INBOX_submitter.>'],
      },
      submitter: {
        publish: [
          '$JS.API.CONSUMER.MSG.NEXT.MP_T_render.normal',
          '$JS.API.CONSUMER.CREATE.MP_T_render',
          '$JS.API.CONSUMER.DELETE.MP_T_render.normal',
          '$JS.API.CONSUMER.CREATE.MP_P_render',
          '$JS.ACK.MP_T_render.normal.1.1.1.1.1',
          'mp.r.render.a.1',
          'mp.d.render.a.1',
          'mp.a.render',
          '$JS.API.STREAM.PURGE.MP_D_render',
        ],
        subscribe: ['mp.t.render.>', 'mp.r.>', '_INBOX.>', '_INBOX_agent.>'],
      },
      state: {
        publish: [
          'mp.t.render.normal.a.1',
          'mp.r.render.a.1',
          '$JS.API.STREAM.MSG.GET.MP_T_render',
          '$JS.API.STREAM.MSG.GET.MP_P_render',
          '$JS.API.STREAM.PURGE.MP_T_render',
          '$JS.API.CONSUMER.MSG.NEXT.MP_T_render.normal',
        ],
        subscribe: ['mp.r.render.>', 'mp.s.render.>', '_INBOX.>', '_INBOX_agent.>'],
      },
    }
    for (const user of everybody) {
      const connection = await rawAs(server, user)
      try {
        const { publish, subscribe } = forbidden[user as keyof typeof forbidden]
        const streams = ['MP_T_render', 'MP_R_render', 'MP_P_render', 'MP_S_render', 'MP_T_other'].flatMap(
          name => ['CREATE', 'UPDATE', 'DELETE'].map(act => `$JS.API.STREAM.${act}.${name}`),
        )
        for (const subject of [...publish, ...streams, 'mp.t.other.normal.a.1', '$SYS.REQ.SERVER.PING'])
          assert.equal(await mayPublish(connection, subject), false, `${user} may publish to ${subject}`)
        for (const subject of [...subscribe, '>', '$SYS.>'])
          assert.equal(await maySubscribe(connection, subject), false, `${user} may listen to ${subject}`)
        // What it may is not refused by the same means.
        assert.equal(await mayPublish(connection, '$JS.API.INFO'), true)
        assert.equal(await maySubscribe(connection, `_INBOX_${user}.>`), true)
      } finally {
        await connection.close()
      }
    }
  })

  test('without the prefix of its inbox a user is told what to do', async () => {
    await using server = await startCreated()
    const { inboxPrefix: _, ...cluster } = clusterAs(server, 'submitter')
    await using pool = new Pool({ cluster, name: POOL })
    await assert.rejects(
      pool.apply(() => 1),
      (error: ClusterError) => {
        assert.equal(error.code, 'ERR_CLUSTER_SERVER')
        assert.match(error.message, /_INBOX/)
        return true
      },
    )
  })

  test('a pool that nobody has made is an error that names the command', async () => {
    await using server = await startDeployServer('single-without-tls.conf')
    await using pool = new Pool({ cluster: clusterAs(server, 'submitter'), name: POOL })
    const isHelpful = (error: ClusterError): true => {
      assert.equal(error.code, 'ERR_CLUSTER_SERVER')
      assert.match(error.message, /multiproc cluster create --pool render/)
      return true
    }
    await assert.rejects(
      pool.apply(() => 1),
      isHelpful,
    )
    await assert.rejects(startAgent({ cluster: clusterAs(server, 'agent'), pools: POOL }), isHelpful)
  })
})

describe('the configurations of deploy/nats/', needsServer, () => {
  test('are valid, each with TLS that is mutual or not', () => {
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-deploy-'))
    try {
      const copy = copyConfigurations(folder)
      const whole = readdirSync(copy).filter(name => /^(?:single|three)/.test(name))
      assert.deepEqual(whole.toSorted(), ['single-without-tls.conf', 'single.conf', 'three.conf'])
      for (const name of whole) {
        // Throws when it is not.
        execFileSync(findServer()!, ['-t', '-c', join(copy, name)], {
          env: { ...process.env, ...deployEnvironment },
          stdio: ['ignore', 'pipe', 'pipe'],
        })
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  test('with TLS, the pool works as without', async () => {
    await using server = await startDeployServer('single.conf')
    const tls = { ca: certificates('server-cert') }
    const secure = (user: User) => ({
      ...clusterAs(server, user),
      servers: String(clusterAs(server, user).servers).replace('nats:', 'tls:'),
      tls,
    })
    const { code, stderr } = await runCommand(
      ['cluster', 'create', '--pool', POOL, '--inbox-prefix', '_INBOX_admin', '--tls-ca', tls.ca],
      { env: { MULTIPROC_CLUSTER: secure('admin').servers, MULTIPROC_AUTH_KEY: KEY } },
    )
    assert.equal(code, 0, stderr)
    const agent = await startAgent({ cluster: secure('agent'), pools: POOL, processes: 1 })
    await using pool = new Pool({ cluster: secure('submitter'), name: POOL })
    assert.equal(await pool.apply((n: number) => n * 2, [4]), 8)
    await agent.stop({ timeout: 0 })
  })
})

async function useEverything(state: ClusterState, other: ClusterState): Promise<void> {
  {
    await using held = await state.Lock('l').guard()
    assert.equal(await other.Lock('l').acquire({ timeout: 0 }), false)
    assert.equal(held.isLost, false)
  }
  const semaphore = state.Semaphore('s', 2)
  assert.equal(await semaphore.acquire(), true)
  await semaphore.release()
  const waiting = other.Event('e').wait()
  await state.Event('e').set()
  assert.equal(await waiting, true)
  await Promise.all([state.Barrier('b', 2).wait(), other.Barrier('b', 2).wait()])
  const queue = state.Queue<number>('frames')
  await queue.putMany([1, 2, 3])
  assert.deepEqual([await other.Queue('frames').get(), await queue.get(), await queue.size()], [1, 2, 1])
  const dict = state.dict<string, number>('d')
  await dict.set('a', 1)
  await dict.update('a', (n = 0) => n + 1)
  await dict.set('b', 5)
  const entries = await other.dict<string, number>('d').entries()
  assert.deepEqual(new Map(entries), new Map(Object.entries({ a: 2, b: 5 })))
  assert.equal(await dict.delete('a'), true)
  await dict.clear()
  assert.equal(await dict.size(), 0)
}
