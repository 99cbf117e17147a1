/**
 * Agents, the server and programs are killed, and people lie: no result is lost, none is given to the caller twice, and
 * every call ends.
 */
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { Pool, WorkerDiedError } from 'multiproc'
import type { NatsConnection } from '@nats-io/transport-node'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { encode } from '#src/serialize/codec.js'
import { seal } from '#src/cluster/sealed-message.js'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks, eventually } from '../leak-check.js'
import { KEY, POOL, TestCluster, connectAsStranger, needsServer } from './started-server.js'

checkLeaks()

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}

/** A task that notes that it ran. (A function of a module: programs and agents of this machine both have it.) */
export function noted(file: string, n: number): number {
  appendFileSync(file, `${n}\n`)
  return n
}

/** A task that says in which agent it runs, and waits there to be let on. */
async function pass(latch: string, name: string): Promise<number> {
  await passLatch(latch, `${name} of ${process.ppid}`)
  return process.ppid
}

describe('work on a cluster survives', needsServer, () => {
  test('kill -9 of an agent: what it had runs elsewhere after its lease', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    const pool = cluster.pool()
    const doomed = await cluster.agentProgram(1)
    const result = pool.apply(
      async (latch: string) => {
        await passLatch(latch, 'running')
        return process.ppid
      },
      [latches.address],
    )
    await latches.arrival('running')
    doomed.kill('SIGKILL')
    await once(doomed, 'exit')
    latches.release('running')
    const heir = await cluster.agent({ processes: 1 })
    await latches.arrival('running')
    latches.release('running')
    assert.equal(await result, process.pid)
    assert.equal(heir.processes, 1)
  })

  test('SIGTERM of an agent and its workers, as Slurm sends it: what they ran runs elsewhere', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    const pool = cluster.pool()
    for (const isWorkerFirst of [true, false]) {
      const leaving = await cluster.agentProgram(1)
      // Of its only worker.
      const pid = await pool.apply(() => process.pid)
      const result = pool.apply(
        async (latch: string) => {
          await passLatch(latch, `of ${process.ppid}`)
          return process.ppid
        },
        [latches.address],
      )
      await latches.arrival(`of ${leaving.pid}`)
      if (isWorkerFirst) process.kill(pid, 'SIGTERM')
      leaving.kill('SIGTERM')
      if (!isWorkerFirst) process.kill(pid, 'SIGTERM')
      assert.deepEqual(await once(leaving, 'exit'), [0, null])
      const heir = await cluster.agentProgram(1)
      await latches.arrival(`of ${heir.pid}`)
      latches.release(`of ${heir.pid}`)
      assert.equal(await result, heir.pid)
      heir.kill('SIGTERM')
      await once(heir, 'exit')
    }
  })

  test('SIGTERM of a worker alone ends its task, as everywhere', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent({ processes: 1 })
    const result = cluster.pool().apply(() => process.kill(process.pid, 'SIGTERM') && new Promise(() => {}))
    await assert.rejects(result, { name: 'WorkerDiedError', signal: 'SIGTERM' })
  })

  test('SIGTERM of an agent: it finishes what it runs, and gives back what it has not begun', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    const pool = cluster.pool()
    const leaving = await cluster.agentProgram(1)
    const result = pool.apply(passLatch, [latches.address, 'running'])
    await latches.arrival('running')
    leaving.kill('SIGTERM')
    // It takes nothing any more.
    await eventually(() => pool.processes === 1)
    latches.release('running')
    await result
    const [exitCode] = (await once(leaving, 'exit')) as [number]
    assert.equal(exitCode, 0)
    const after = pool.apply(() => 'after')
    await cluster.agent()
    assert.equal(await after, 'after')
  })

  test('kill -9 of an agent: what it had runs elsewhere, although something else that it had is called off', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    const pool = cluster.pool()
    const doomed = await cluster.agentProgram(2)
    const result = pool.apply(pass, [latches.address, 'one'])
    await latches.arrival(`one of ${doomed.pid}`)
    const calledOff = pool.apply(pass, [latches.address, 'two'])
    await latches.arrival(`two of ${doomed.pid}`)
    const heir = await cluster.agentProgram(2)
    doomed.kill('SIGKILL')
    calledOff.cancel()
    await assert.rejects(calledOff)
    await using nats = await closing(connectAsStranger(cluster))
    const manager = await jetstreamManager(nats.connection)
    while ((await manager.streams.info(`MP_T_${POOL}`)).state.messages !== 1);
    // With its acknowledgement the server could take the first for acknowledged, too: see #purge() of ClusterLink.
    await pool.apply(() => {})
    await latches.arrival(`one of ${heir.pid}`)
    latches.release(`one of ${heir.pid}`)
    assert.equal(await result, heir.pid)
  })

  test('what the server takes for acknowledged although nobody has said so is sent again', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    const pool = cluster.pool()
    const doomed = await cluster.agentProgram(2)
    const results = ['one', 'two'].map(name => pool.apply(pass, [latches.address, name]))
    for (const name of ['one', 'two']) await latches.arrival(`${name} of ${doomed.pid}`)
    const heir = await cluster.agentProgram(3)
    doomed.kill('SIGKILL')
    // By which the server forgets the first, and loses the second.
    await using nats = await closing(connectAsStranger(cluster))
    const { streams } = await jetstreamManager(nats.connection)
    const tasks = `MP_T_${POOL}`
    const { state } = await streams.info(tasks, { subjects_filter: '>' })
    const subjects = Object.keys(state.subjects!).toSorted()
    assert.equal(subjects.length, 2)
    await streams.purge(tasks, { filter: subjects[1]! })
    await pool.apply(() => {})
    for (const name of ['one', 'two']) {
      await latches.arrival(`${name} of ${heir.pid}`)
      latches.release(`${name} of ${heir.pid}`)
    }
    assert.deepEqual(await Promise.all(results), [heir.pid, heir.pid])
  })

  test('kill -9 of a child: its agent says so at once, and the item runs again without waiting for a lease', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    // With a lease that nobody waits for.
    await cluster.agent({ processes: 1, cluster: { ...cluster.options, lease: 600_000 } })
    const file = join(cluster.folder, 'pid')
    const outcome = cluster.pool().apply(
      async (latch: string) => {
        writeFileSync(file, String(process.pid))
        await passLatch(latch, 'running')
        return process.pid
      },
      [latches.address],
      { retries: 1 },
    )
    await latches.arrival('running')
    const pid = Number(readFileSync(file, 'utf8'))
    const killedAtMs = performance.now()
    process.kill(pid, 'SIGKILL')
    latches.release('running')
    await latches.arrival('running')
    const againAfterMs = performance.now() - killedAtMs
    latches.release('running')
    assert.notEqual(await outcome, pid)
    // Long before a lease would have ended: the agent says at once that its worker has died.
    assert.ok(againAfterMs < 15_000, `again after ${againAfterMs} ms`)
  })

  test('kill -9 of the server: every item has one result when it is back', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent()
    const pool = cluster.pool()
    const file = join(cluster.folder, 'ran')
    let done = 0
    const given: number[] = []
    const results = pool.imapUnordered((n: number) => noted(file, n), range(3000), { chunkSize: 5 })
    for await (const n of results) {
      given.push(n)
      if (++done === 600) {
        await cluster.killServer()
        await cluster.restartServer()
      }
    }
    assert.deepEqual(
      given.toSorted((a, b) => a - b),
      range(3000),
    )
    const ran = new Set(readFileSync(file, 'utf8').trimEnd().split('\n').map(Number))
    assert.equal(ran.size, 3000)
  })

  test('a program whose event loop is blocked while its results arrive', async () => {
    await using cluster = await TestCluster.start()
    const agent = await cluster.agentProgram(2)
    const pool = cluster.pool()
    await pool.apply(() => {})
    const results = pool.map((n: number) => n, range(2000), { chunkSize: 20 })
    await pool.apply(() => {}, [], { priority: 1 })
    const untilMs = performance.now() + 1500
    while (performance.now() < untilMs);
    assert.deepEqual(await results, range(2000))
    assert.equal(agent.exitCode, null)
  })

  test('kill -9 of a program: what it left does not keep agents from the work of others', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    await cluster.agent({ processes: 2 })
    const killed = await cluster.program('submitter-program.js', [latches.address])
    await latches.arrival('item 0')
    killed.kill('SIGKILL')
    await once(killed, 'exit')
    // Nobody releases its tasks: whoever wants something more important has to wait for a worker only.
    const open = setInterval(() => {
      for (const n of range(1000)) latches.release(`item ${n}`)
    }, 5)
    assert.equal(await cluster.pool().apply(() => 'served', [], { priority: 1 }), 'served')
    clearInterval(open)
  })

  test('a chunk that was fetched behind a long one goes to an agent that is idle, and runs once', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    await using nats = await closing(connectAsStranger(cluster))
    const busy = await cluster.agentProgram(1)
    const pool = cluster.pool()
    const { address } = latches
    const file = join(cluster.folder, 'ran')
    const run = async (name: string): Promise<number> => {
      if (name !== '') await passLatch(address, name)
      appendFileSync(file, `${name}\n`)
      return process.ppid
    }
    // Short work: the agent fetches ahead.
    for (let round = 0; round < 3; round++) await pool.apply(run, [''])
    const long = pool.apply(run, ['long'])
    await latches.arrival('long')
    const behind = pool.map(run, ['behind'])
    const manager = await jetstreamManager(nats.connection)
    // Both chunks are with the agent that is there.
    await untilCount(
      async () => (await manager.consumers.info(`MP_T_${POOL}`, 'normal')).num_ack_pending === 2,
    )
    await cluster.agent({ processes: 1 })
    await latches.arrival('behind')
    latches.release('behind')
    assert.deepEqual(await behind, [process.pid])
    latches.release('long')
    assert.equal(await long, busy.pid)
    assert.deepEqual(readFileSync(file, 'utf8'), '\n\n\nbehind\nlong\n')
  })

  test('a chunk that a busy agent gives back counts as never delivered, and runs when the agent is free', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    await using nats = await closing(connectAsStranger(cluster))
    const once = { ...cluster.options, maxDeliveries: 1 }
    await cluster.agent({ processes: 1, cluster: once })
    const pool = cluster.pool({ cluster: once })
    const { address } = latches
    for (let round = 0; round < 3; round++) await pool.apply(() => {})
    const long = pool.apply(passLatch, [address, 'long'])
    await latches.arrival('long')
    let answers = 0
    nats.connection.subscribe(`mp.r.${POOL}.>`, { callback: () => void answers++ })
    await nats.connection.flush()
    const waiting = pool.apply(passLatch, [address, 'waiting'])
    await eventually(() => answers === 1)
    latches.release('long')
    await long
    await latches.arrival('waiting')
    latches.release('waiting')
    await waiting
    const manager = await jetstreamManager(nats.connection)
    assert.equal((await manager.streams.info(`MP_D_${POOL}`)).state.messages, 0)
  })

  test('a queue that somebody emptied: chunks that nobody has are sent again', async () => {
    await using cluster = await TestCluster.start()
    await using nats = await closing(connectAsStranger(cluster))
    const pool = cluster.pool()
    const result = pool.apply(() => 'ran')
    const manager = await jetstreamManager(nats.connection)
    const isQueued = async (): Promise<boolean> =>
      (await manager.streams.info(`MP_T_${POOL}`)).state.messages === 1
    await untilCount(() => isQueued().catch(() => false))
    await manager.streams.purge(`MP_T_${POOL}`)
    await cluster.agent()
    assert.equal(await result, 'ran')
  })
})

describe('what nobody survives', needsServer, () => {
  test('an item that ends every agent fails with WorkerDiedError, and is kept as a dead letter', async () => {
    await using cluster = await TestCluster.start()
    await using nats = await closing(connectAsStranger(cluster))
    const pool = cluster.pool({ cluster: { maxDeliveries: 2 } })
    const result = pool.apply(() => process.kill(process.ppid, 'SIGKILL') && new Promise(() => {}))
    const failed = assert.rejects(result, (error: unknown) => {
      assert.ok(error instanceof WorkerDiedError)
      assert.match(error.message, /given to 2 agents/)
      return true
    })
    for (let round = 0; round < 2; round++) await once(await cluster.agentProgram(1), 'exit')
    await cluster.agent({ processes: 1 })
    await failed
    const manager = await jetstreamManager(nats.connection)
    assert.equal((await manager.streams.info(`MP_D_${POOL}`)).state.messages, 1)
    // The result is written before the chunk is acknowledged.
    const queued = async (): Promise<number> => (await manager.streams.info(`MP_T_${POOL}`)).state.messages
    while ((await queued()) > 0) await nats.connection.flush()
  })

  test('an agent whose health port is taken says so, and leaves nothing that keeps its program alive', async () => {
    await using cluster = await TestCluster.start()
    // The server's own.
    const { port } = new URL(cluster.url)
    const { child, line } = await cluster.spoken('refused-agent-program.js', [port])
    if (child.exitCode === null) await once(child, 'exit')
    assert.equal(child.exitCode, 0)
    const { name, code, message } = JSON.parse(line) as Record<string, string>
    assert.deepEqual([name, code], ['ProcessError', 'ERR_START_FAILED'])
    assert.match(message!, /EADDRINUSE.*\nTo fix: choose another port/)
  })

  test('a server that stays away fails all calls with ERR_CLUSTER_CONNECTION', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    await cluster.agent()
    const pool = cluster.pool({ cluster: { connectionTimeout: 300 } })
    const result = pool.apply(passLatch, [latches.address, 'running'])
    await latches.arrival('running')
    await cluster.killServer()
    await assert.rejects(result, { name: 'ClusterError', code: 'ERR_CLUSTER_CONNECTION' })
    latches.release('running')
    await cluster.restartServer()
  })

  test('a server that is too old is refused with the reason', async () => {
    const old = createServer(socket => {
      const facts = {
        server_id: 'x',
        version: '2.9.10',
        jetstream: true,
        max_payload: 1 << 20,
        headers: true,
      }
      socket.write(`INFO ${JSON.stringify(facts)}\r\n`)
      socket.on('data', data => {
        if (data.includes('PING')) socket.write('PONG\r\n')
      })
      socket.on('error', () => {})
    })
    old.listen(0, '127.0.0.1')
    await once(old, 'listening')
    const { port } = old.address() as { port: number }
    const pool = new Pool({ cluster: { servers: `nats://127.0.0.1:${port}`, authKey: KEY }, name: POOL })
    await assert.rejects(
      pool.apply(() => 1),
      { code: 'ERR_CLUSTER_SERVER', message: /2\.9\.10/ },
    )
    old.close()
    await once(old, 'close')
  })
})

describe('who has not the key', needsServer, () => {
  test('gets nothing run: a program with another key is told so by agents', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent({ cluster: { ...cluster.options, maxDeliveries: 1 } })
    const file = join(cluster.folder, 'ran')
    const pool = cluster.pool({
      cluster: { authKey: 'another key of thirty-two bytes, or more', maxDeliveries: 1 },
    })
    await assert.rejects(pool.apply(noted, [file, 1]), {
      name: 'AuthenticationError',
      code: 'ERR_AUTHENTICATION',
    })
    assert.throws(() => readFileSync(file), { code: 'ENOENT' })
  })

  test('does no harm to others: while agents with the key are busy, refusals of one without it end no call', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    await using nats = await closing(connectAsStranger(cluster))
    await cluster.agent({ processes: 1, cluster: { ...cluster.options, maxDeliveries: 1 } })
    const pool = cluster.pool()
    const { address } = latches
    const busy = pool.apply(passLatch, [address, 'busy'])
    await latches.arrival('busy')
    let refusals = 0
    nats.connection.subscribe(`mp.r.${POOL}.>`, {
      callback: (_, { data }) => {
        if (Buffer.from(data).toString().startsWith('{"refused"')) refusals++
      },
    })
    const warnings: string[] = []
    const note = ({ message }: Error): void => void warnings.push(message)
    process.on('warning', note)
    await nats.connection.flush()
    // The only one that is idle, and it has another key: it takes what waits, and what is sent again.
    const idle = await cluster.agent({
      cluster: { ...cluster.options, authKey: 'another key of thirty-two bytes, or more' },
    })
    const waiting = pool.apply(passLatch, [address, 'waiting'])
    await eventually(() => refusals === 2)
    process.removeListener('warning', note)
    assert.equal(warnings.filter(message => message.includes('is sent again')).length, 1)
    await idle.stop({ timeout: 0 })
    latches.release('busy')
    await busy
    await latches.arrival('waiting')
    latches.release('waiting')
    await waiting
  })

  test('gets nothing run: work without a seal, or with the seal of other work, goes to the dead letters', async () => {
    await using cluster = await TestCluster.start()
    await using nats = await closing(connectAsStranger(cluster))
    await cluster.agent({ cluster: { ...cluster.options, maxDeliveries: 1 } })
    const publisher = jetstream(nats.connection)
    const subject = `mp.t.${POOL}.normal.0123456789abcdef01234567.1`
    const sealedForOther = seal(Buffer.from(KEY), `${subject}0`, [encode({ chunk: {} })])
    await publisher.publish(subject, 'no seal at all')
    await publisher.publish(`mp.t.${POOL}.normal.0123456789abcdef01234567.2`, sealedForOther)
    const manager = await jetstreamManager(nats.connection)
    await untilCount(async () => (await manager.streams.info(`MP_D_${POOL}`)).state.messages === 2)
    assert.equal(await cluster.pool().apply(() => 'still served'), 'still served')
  })

  test('cannot answer: a forged result is not taken, and the real one is', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    await using nats = await closing(connectAsStranger(cluster))
    await cluster.agent()
    const subjects: string[] = []
    nats.connection.subscribe(`mp.t.${POOL}.>`, {
      callback: (_, { subject }) => void subjects.push(subject),
    })
    await nats.connection.flush()
    const result = cluster.pool().apply(
      async (latch: string) => {
        await passLatch(latch, 'running')
        return 'real'
      },
      [latches.address],
    )
    await latches.arrival('running')
    const [session, chunkId] = subjects[0]!.split('.').slice(-2)
    const messages = [
      {
        type: 'results',
        bodies: 1,
        chunkId: Number(chunkId),
        first: 0,
        count: 1,
        isPacked: false,
        elapsedMs: 1,
      },
    ]
    const lie = [encode({ agent: 'x', messages, attached: [0] }), encode('forged')]
    const answer = `mp.r.${POOL}.${session}.${chunkId}`
    const publisher = jetstream(nats.connection)
    await publisher.publish(answer, seal(Buffer.from('a key that was guessed and is wrong'), answer, lie))
    await publisher.publish(answer, createHmac('sha256', KEY).update('something').digest())
    latches.release('running')
    assert.equal(await result, 'real')
  })
})

/** Closes the connection with its block. */
async function closing(
  opening: Promise<NatsConnection>,
): Promise<AsyncDisposable & { connection: NatsConnection }> {
  const connection = await opening
  return { connection, [Symbol.asyncDispose]: () => connection.close() }
}

async function untilCount(isDone: () => Promise<boolean>): Promise<void> {
  // Sleep: a server tells of its streams only who asks, and an answer takes a moment anyway.
  while (!(await isDone())) await new Promise(resolve => setTimeout(resolve, 10))
}
