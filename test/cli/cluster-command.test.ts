/** multiproc worker and multiproc cluster, as a shell runs them. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect as connectSocket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, test } from 'node:test'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connectState } from 'multiproc/cluster'
import { Latches, passLatch } from '../latch.js'
import { eventually } from '../leak-check.js'
import { KEY, POOL, TestCluster, connectAsStranger, needsServer } from '../cluster/started-server.js'
import { fixture, runCommand, startCommand } from './run-command.js'

function environment(cluster: TestCluster): NodeJS.ProcessEnv {
  return { MULTIPROC_CLUSTER: cluster.url, MULTIPROC_AUTH_KEY: KEY }
}

async function isListening(port: number): Promise<boolean> {
  const socket = connectSocket(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

describe('multiproc worker', needsServer, () => {
  test('runs what programs send, says that it is well, and ends by SIGTERM with what it has', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    const worker = startCommand(
      ['worker', '--pool', POOL, '-p', '1', '--lease', '2s', '--max-deliveries', '3'],
      { env: environment(cluster) },
    )
    const [line] = (await once(createInterface(worker.stderr), 'line')) as [string]
    assert.match(line, /works for test with processes: 1/)
    const connection = await connectAsStranger(cluster)
    const manager = await jetstreamManager(connection)
    const { config } = await manager.consumers.info(`MP_T_${POOL}`, 'normal')
    const { config: stream } = await manager.streams.info(`MP_T_${POOL}`)
    assert.deepEqual([config.ack_wait, stream.metadata?.['deliveriesMax']], [2e9, '3'])
    await connection.close()
    const result = cluster.pool().apply(
      async (latch: string) => {
        await passLatch(latch, 'running')
        return process.ppid
      },
      [latches.address],
    )
    await latches.arrival('running')
    worker.kill('SIGTERM')
    latches.release('running')
    assert.equal(await result, worker.pid)
    assert.deepEqual(await once(worker, 'exit'), [0, null])
  })

  test('--label and --resource say what the machine has, which status shows and map can require', async () => {
    await using cluster = await TestCluster.start()
    const env = environment(cluster)
    const worker = startCommand(
      [
        'worker',
        '--pool',
        POOL,
        '-p',
        '1',
        '--label',
        'zone=eu',
        '--label',
        'disk=ssd',
        '--resource',
        'gpu=2,memory=64G',
      ],
      { env },
    )
    await once(createInterface(worker.stderr), 'line')
    await cluster.agent()
    const requires = { labels: { zone: 'eu' }, resources: { memory: '60G' } }
    assert.equal(await cluster.pool({ requires }).apply(() => process.ppid), worker.pid)
    const { stdout: status } = await runCommand(['cluster', 'status'], { env })
    assert.match(status, /1 process, zone=eu, disk=ssd, gpu=2, memory=64G\n/)
    assert.match(status, /no labels and no resources\n/)
    const task = fixture('elsewhere.mjs#whoSquares')
    const flags = ['--cluster', cluster.url, '--name', POOL, '--require-resource', 'gpu=1']
    const mapped = await runCommand(['map', task, ...flags, '3'], { env })
    assert.deepEqual(JSON.parse(mapped.stdout), { square: 9, caller: worker.pid }, mapped.stderr)
    for (const wrong of [
      ['--label', 'zone'],
      ['--label', 'a=1', '--label', 'a=2'],
      ['--resource', 'gpu=many'],
    ]) {
      const { code, stderr } = await runCommand(['worker', '--pool', POOL, ...wrong], { env })
      assert.equal(code, 2, stderr)
      assert.match(stderr, /To fix: /)
    }
    const here = await runCommand(['map', task, '--require-label', 'zone=eu', '3'])
    assert.equal(here.code, 2)
    worker.kill('SIGTERM')
    await once(worker, 'exit')
  })

  test('says what is wrong with its options, and that a server cannot be reached', async () => {
    const without = await runCommand(['worker', '--pool', 'p'])
    assert.equal(without.code, 2)
    assert.match(without.stderr, /--cluster/)
    const env = { MULTIPROC_CLUSTER: 'nats://127.0.0.1:1' }
    const noKey = await runCommand(['worker', '--pool', 'p'], { env })
    assert.equal(noKey.code, 2)
    assert.match(noKey.stderr, /MULTIPROC_AUTH_KEY/)
    const away = await runCommand(['cluster', 'status'], { env: { ...env, MULTIPROC_AUTH_KEY: KEY } })
    assert.equal(away.code, 1)
    assert.match(away.stderr, /cannot be reached.*\nTo fix: .*MULTIPROC_CLUSTER/)
    assert.doesNotMatch(away.stderr, /connectionTimeout/)
  })
})

describe('multiproc cluster', needsServer, () => {
  test('create makes pools and state with what was asked for, and says what there is', async () => {
    await using cluster = await TestCluster.start()
    const env = environment(cluster)
    const made = await runCommand(
      [
        'cluster',
        'create',
        '--pool',
        'a,b',
        '--lease',
        '3s',
        '--max-deliveries',
        '2',
        '--state',
        's',
        '--queue',
        'q=7,r',
      ],
      { env },
    )
    assert.equal(made.code, 0, made.stderr)
    assert.match(
      made.stdout,
      /The pool a is there: lease 3000 ms, deliveries at most 2, replicas 1\nThe pool b/,
    )
    assert.match(made.stdout, /The shared state s is there, with the queues q, r\n/)
    await using state = await connectState({ cluster: cluster.options, name: 's' })
    assert.equal(await state.Queue('q').full(), false)
    await state.Queue('q').putMany([1, 2, 3, 4, 5, 6, 7])
    assert.equal(await state.Queue('q').full(), true)
    const again = await runCommand(['cluster', 'create', '--pool', 'a', '--lease', '9s'], { env })
    assert.equal(again.code, 0)
    assert.match(again.stdout, /lease 3000 ms/)
    assert.match(again.stderr, /"lease" 3000, .* and not 9000/)
  })

  test('create says what is missing or wrong, before it connects', async () => {
    const env = { MULTIPROC_CLUSTER: 'nats://127.0.0.1:1', MULTIPROC_AUTH_KEY: KEY }
    const wrong = async (...args: string[]): Promise<string> => {
      const { code, stderr } = await runCommand(['cluster', 'create', ...args], { env })
      assert.equal(code, 2, stderr)
      return stderr
    }
    assert.match(await wrong(), /--pool/)
    assert.match(await wrong('--pool', 'p', '--queue', 'q'), /--state/)
    assert.match(await wrong('--state', 's', '--queue', 'q=many'), /--queue must be a whole number/)
    assert.match(await wrong('--pool', 'p', '--replicas', 'x'), /--replicas/)
  })

  test('status shows agents and what waits, jobs the programs, and cancel takes their work away', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    const agent = await cluster.agent({ processes: 1 })
    const env = environment(cluster)
    const pool = cluster.pool()
    const { address } = latches
    const results = pool.map((name: string) => passLatch(address, name), ['a', 'b', 'c', 'd'])
    const called = assert.rejects(results, { name: 'ClusterError', code: 'ERR_TERMINATED' })
    await latches.arrival('a')
    const { stdout: status } = await runCommand(['cluster', 'status', '--json'], { env })
    const { pools } = JSON.parse(status) as {
      pools: { pool: string; running: number; agents: { agent: string; processes: number }[] }[]
    }
    assert.equal(pools[0]!.pool, POOL)
    assert.equal(pools[0]!.running, 1)
    assert.deepEqual(
      pools[0]!.agents.map(({ agent: name, processes }) => [name, processes]),
      [[agent.name, 1]],
    )
    const { stdout: text } = await runCommand(['cluster', 'status'], { env })
    assert.match(text, /Pool test: 1 agent with 1 process\n/)
    const { stdout: jobs } = await runCommand(['cluster', 'jobs', '--json'], { env })
    const [job] = JSON.parse(jobs) as { id: string; chunks: number }[]
    assert.ok(job!.chunks >= 2, `${job!.chunks} chunks`)
    const cancelled = await runCommand(['cluster', 'cancel', job!.id], { env })
    assert.equal(cancelled.code, 0, cancelled.stderr)
    const { stdout: after } = await runCommand(['cluster', 'jobs'], { env })
    assert.match(after, /No program has work/)
    await called
  })

  test('dead shows what was not signed, and deletes it', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agent({ cluster: { ...cluster.options, maxDeliveries: 1 } })
    const env = environment(cluster)
    const stranger = await connectAsStranger(cluster)
    await jetstream(stranger).publish(`mp.t.${POOL}.normal.0123456789abcdef01234567.1`, 'no seal')
    await stranger.close()
    let letters: { taskName?: string; byteLength: number }[] = []
    while (letters.length === 0) {
      const { stdout } = await runCommand(['cluster', 'dead', '--json'], { env })
      letters = JSON.parse(stdout) as typeof letters
    }
    assert.deepEqual([letters[0]!.taskName, letters[0]!.byteLength], [undefined, 7])
    const { stdout } = await runCommand(['cluster', 'dead', '--clear'], { env })
    assert.match(stdout, /1 dead letters were deleted/)
  })

  test('dev starts a server and agents, says how to reach them, and ends with them by Ctrl-C', async () => {
    const dev = startCommand(['cluster', 'dev', '--agents', '1'])
    let said = ''
    dev.stdout.on('data', data => {
      said += String(data)
    })
    while (!said.includes('Ctrl-C')) await once(dev.stdout, 'data')
    const env = Object.fromEntries(
      [...said.matchAll(/^export (\w+)=(.*)$/gm)].map(([, name, value]) => [name!, value!]),
    )
    const { stdout } = await runCommand(['cluster', 'status'], { env })
    assert.match(stdout, /Pool dev: 1 agent with 1 process\n/)
    dev.kill('SIGINT')
    assert.deepEqual(await once(dev, 'exit'), [0, null])
  })

  test('dev leaves no server and no folder of its own when it is killed by kill -9', async () => {
    const temporary = mkdtempSync(join(tmpdir(), 'multiproc-dev-test-'))
    const dev = startCommand(['cluster', 'dev', '--agents', '1'], {
      env: { TMPDIR: temporary, TEMP: temporary },
    })
    let said = ''
    dev.stdout.on('data', data => {
      said += String(data)
    })
    while (!said.includes('Ctrl-C')) await once(dev.stdout, 'data')
    const port = Number(/^export MULTIPROC_CLUSTER=.*:(\d+)$/m.exec(said)![1])
    const folders = (): string[] =>
      readdirSync(temporary).filter(name => name.startsWith('multiproc-cluster-'))
    assert.equal(await isListening(port), true)
    assert.equal(folders().length, 1)
    dev.kill('SIGKILL')
    await once(dev, 'exit')
    while (await isListening(port));
    await eventually(() => folders().length === 0)
    rmSync(temporary, { recursive: true })
  })
})

test('cluster dev says how to get a server where there is none', async () => {
  const { code, stderr } = await runCommand(['cluster', 'dev'], {
    env: { PATH: '/nowhere', MULTIPROC_NATS_SERVER: '' },
  })
  assert.equal(code, 1)
  assert.match(stderr, /There is no NATS server.*\nTo fix: download nats-server/)
})
