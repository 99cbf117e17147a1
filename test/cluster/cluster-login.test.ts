/** How programs and agents say who they are to the server, and what they are told when it, or its network, refuses. */
import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:net'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { nkeys } from '@nats-io/transport-node'
import { type ClusterError, type ClusterOptions, Pool } from 'multiproc'
import { connectState, startAgent } from 'multiproc/cluster'
import { checkLeaks, eventually } from '../leak-check.js'
import { runCommand } from '../cli/run-command.js'
import { ConfiguredServer, certificates } from './configured-server.js'
import { KEY, POOL, needsServer } from './started-server.js'
import { type NatsOperator, newOperator } from './nats-operator.js'

checkLeaks()

const folder = mkdtempSync(join(tmpdir(), 'multiproc-login-'))
after(() => rmSync(folder, { recursive: true, force: true }))

function written(name: string, text: string): string {
  const file = join(folder, name)
  writeFileSync(file, text, { mode: 0o600 })
  return file
}

const serverCertificate = `cert_file: "${certificates('server-cert')}", key_file: "${certificates('server-key')}"`
const tls = `tls { ${serverCertificate} }`
const mutualTls = `tls { ${serverCertificate}, ca_file: "${certificates('client-cert')}", verify: true }`
const ca = certificates('server-cert')
const cert = certificates('client-cert')
const key = certificates('client-key')

/** One task, by a pool and an agent that log in in the same way. */
async function worksWith(cluster: Omit<ClusterOptions, 'authKey'>): Promise<void> {
  const whole = { ...cluster, authKey: KEY }
  const agent = await startAgent({ cluster: whole, pools: POOL, processes: 1 })
  try {
    await using pool = new Pool({ cluster: whole, name: POOL })
    assert.equal(await pool.apply((n: number) => n + 1, [1]), 2)
    await using state = await connectState({ cluster: whole, name: 'login' })
    await state.dict('d').set('a', 1)
  } finally {
    await agent.stop({ timeout: 0 })
  }
}

/** What everybody who connects is told: programs, agents and users of shared state. */
async function refused(cluster: Omit<ClusterOptions, 'authKey'>): Promise<ClusterError> {
  const whole = { ...cluster, authKey: KEY }
  await using pool = new Pool({ cluster: whole, name: POOL })
  const calls = [
    pool.apply(() => 1),
    startAgent({ cluster: whole, pools: POOL }),
    connectState({ cluster: whole, name: 'login' }),
  ]
  const errors = (await Promise.allSettled(calls)).map(call => {
    assert.ok(call.status === 'rejected', 'a call was not refused')
    return call.reason as ClusterError
  })
  const [first] = errors
  assert.equal(first!.name, 'ClusterError')
  for (const { code, message } of errors) {
    assert.equal(code, first!.code)
    assert.match(message, /\nTo fix: /)
  }
  return first!
}

describe('who a program is to the server', needsServer, () => {
  test('a user and a password, or a token, stand in the URL', async () => {
    await using users = await ConfiguredServer.start(
      'authorization { users: [{ user: "ann", password: "p@ss/word" }] }',
    )
    await worksWith({ servers: users.url('ann:p%40ss%2Fword@') })
    await using tokens = await ConfiguredServer.start('authorization { token: "s3cret" }')
    await worksWith({ servers: tokens.url('s3cret@') })
  })

  test('an NKey is in a file with its seed', async () => {
    const pair = nkeys.createUser()
    const seed = Buffer.from(pair.getSeed()).toString('latin1')
    const nkey = written('user.nk', `# of a test\n${seed}\n`)
    await using server = await ConfiguredServer.start(
      `authorization { users: [{ nkey: "${pair.getPublicKey()}" }] }`,
    )
    await worksWith({ servers: server.url(), nkey })
    const other = written('other.nk', Buffer.from(nkeys.createUser().getSeed()).toString('latin1'))
    const error = await refused({ servers: server.url(), nkey: other })
    assert.equal(error.code, 'ERR_CLUSTER_SERVER')
    assert.ok(error.message.includes(other), error.message)
  })

  test('credentials are in a file of a decentralised account', async () => {
    const operator: NatsOperator = newOperator()
    await using server = await ConfiguredServer.start(operator.configuration)
    await worksWith({ servers: server.url(), credentials: written('user.creds', operator.credentials) })
    const stranger = written('stranger.creds', newOperator().credentials)
    const error = await refused({ servers: server.url(), credentials: stranger })
    assert.equal(error.code, 'ERR_CLUSTER_SERVER')
    assert.ok(error.message.includes(stranger), error.message)
  })

  test('a wrong password, and nobody where somebody is asked for, is said at once and without the password', async () => {
    await using server = await ConfiguredServer.start(
      'authorization { users: [{ user: "ann", password: "secret" }] }',
    )
    const wrong = await refused({ servers: server.url('ann:wrong-word@') })
    assert.equal(wrong.code, 'ERR_CLUSTER_SERVER')
    assert.match(wrong.message, /user "ann"/)
    assert.doesNotMatch(wrong.message, /wrong-word/)
    const nobody = await refused({ servers: server.url() })
    assert.equal(nobody.code, 'ERR_CLUSTER_SERVER')
    assert.match(nobody.message, /nats:\/\/user:password@host/)
  })

  test('credentials that were replaced count from the next connection on', async () => {
    const operator = newOperator()
    const file = written('renewed.creds', operator.credentials)
    await using server = await ConfiguredServer.start(operator.configuration)
    const cluster = { servers: server.url(), credentials: file, authKey: KEY }
    const agent = await startAgent({ cluster, pools: POOL, processes: 1 })
    await using pool = new Pool({ cluster, name: POOL })
    assert.equal(await pool.apply((n: number) => n + 1, [1]), 2)
    await server.kill()
    const other = operator.renewed()
    server.configureAnew(text => text.replace(operator.configuration, other.configuration))
    const result = pool.apply((n: number) => n + 1, [2])
    await server.start()
    // Several times refused, by now.
    await eventually(() => server.log.split('authentication error').length > 6)
    writeFileSync(file, other.credentials)
    assert.equal(await result, 3)
    await agent.stop({ timeout: 0 })
  })

  test('a user that the server does not know any more is said, after connectionTimeout', async () => {
    await using server = await ConfiguredServer.start(
      'authorization { users: [{ user: "ann", password: "a" }] }',
    )
    const cluster = { servers: server.url('ann:a@'), authKey: KEY, connectionTimeout: 1000 }
    const agent = await startAgent({ cluster, pools: POOL, processes: 1 })
    await using pool = new Pool({ cluster, name: POOL })
    assert.equal(await pool.apply((n: number) => n + 1, [1]), 2)
    await server.kill()
    server.configureAnew(text => text.replace('"ann"', '"bob"'))
    await server.start()
    for (const call of [pool.apply(() => 1), agent.ended]) {
      await assert.rejects(call, (error: ClusterError) => {
        assert.equal(error.code, 'ERR_CLUSTER_CONNECTION')
        assert.match(error.message, /Authorization Violation.*\n.*still knows this user/)
        return true
      })
    }
  })

  test('a server without JetStream is named without the password', async () => {
    await using server = await ConfiguredServer.start(
      ({ port }) => `listen: "127.0.0.1:${port}"\nauthorization { user: "ann", password: "secret-word" }`,
      { isWhole: true },
    )
    const error = await refused({ servers: server.url('ann:secret-word@') })
    assert.equal(error.code, 'ERR_CLUSTER_SERVER')
    assert.match(error.message, /JetStream/)
    assert.doesNotMatch(error.message, /secret-word/)
  })
})

describe('TLS to the server', needsServer, () => {
  test('the certificate of the server is checked against "tls.ca"', async () => {
    await using server = await ConfiguredServer.start(tls)
    await worksWith({ servers: server.url('', 'tls'), tls: { ca } })
    // A server that asks for TLS gets it, however the URL begins.
    await worksWith({ servers: server.url(), tls: { ca } })
  })

  test('another authority, or none, is an error that says so at once', async () => {
    await using server = await ConfiguredServer.start(tls)
    for (const files of [{ ca: cert }, undefined]) {
      const beganMs = performance.now()
      const error = await refused({
        servers: server.url('', 'tls'),
        connectionTimeout: 60_000,
        ...(files ? { tls: files } : {}),
      })
      assert.equal(error.code, 'ERR_CLUSTER_SERVER')
      assert.match(error.message, /certificate.*\n.*--tls-ca/)
      assert.ok(performance.now() - beganMs < 30_000)
    }
  })

  test('a server that wants a certificate of the program is told apart from one that is away', async () => {
    await using server = await ConfiguredServer.start(mutualTls)
    await worksWith({ servers: server.url('', 'tls'), tls: { ca, cert, key } })
    const without = await refused({
      servers: server.url('', 'tls'),
      tls: { ca },
      connectionTimeout: 60_000,
    })
    assert.equal(without.code, 'ERR_CLUSTER_SERVER')
    assert.match(without.message, /asks for a certificate.*\n.*"tls\.cert"/)
    const strange = await refused({
      servers: server.url('', 'tls'),
      tls: { ca, cert: ca, key: certificates('server-key') },
      connectionTimeout: 60_000,
    })
    assert.equal(strange.code, 'ERR_CLUSTER_SERVER')
    assert.match(strange.message, /does not take the certificate .*server-cert\.pem/)
  })

  test('a user can be who the certificate says', async () => {
    await using server = await ConfiguredServer.start(
      `${mutualTls.replace('verify: true', 'verify_and_map: true')}\nauthorization { users: [{ user: "CN=multiproc test client" }, { user: "localhost" }] }`,
    )
    await worksWith({ servers: server.url('', 'tls'), tls: { ca, cert, key } })
  })

  test('nothing is sent without TLS where it was asked for', async () => {
    await using server = await ConfiguredServer.start('')
    const error = await refused({ servers: server.url('', 'tls'), connectionTimeout: 60_000 })
    assert.equal(error.code, 'ERR_CLUSTER_SERVER')
    assert.match(error.message, /has no TLS/)
  })
})

describe('a server that was never there', () => {
  test('is an error after 5 s, with its address and the reason, and not after a minute', async () => {
    const servers = ['nats://ann:secret-word@127.0.0.1:1', 'nats://ann:secret-word@127.0.0.1:2']
    const beganMs = performance.now()
    const error = await refused({ servers })
    // Time is the subject.
    assert.ok(performance.now() - beganMs < 30_000)
    assert.equal(error.code, 'ERR_CLUSTER_CONNECTION')
    assert.match(
      error.message,
      /nats:\/\/127\.0\.0\.1:1, nats:\/\/127\.0\.0\.1:2 .*127\.0\.0\.1:1 refuses.*127\.0\.0\.1:2 refuses.*5000 ms/,
    )
    assert.doesNotMatch(error.message, /secret-word/)
  })

  test('is told apart by its reason: a name that nobody has, a silent port, something else', async () => {
    const silent = createServer(() => {})
    const other = createServer(socket => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
    const reason = async (server: string): Promise<string> =>
      (await refused({ servers: server, connectionTimeout: 100 })).message
    try {
      assert.match(await reason('nats://nobody.invalid:4222'), /the name nobody\.invalid is not known/)
      assert.match(await reason(`nats://127.0.0.1:${await portOf(silent)}`), /does not answer/)
      assert.match(await reason(`nats://127.0.0.1:${await portOf(other)}`), /is no NATS server/)
    } finally {
      silent.close()
      other.close()
    }
  })

  test('multiproc map says it as a failure', async () => {
    const { code, stderr, stdout } = await runCommand(
      [
        'map',
        written('tasks.mjs', 'export const length = text => text.length\n') + '#length',
        '--cluster',
        'nats://127.0.0.1:1',
        '--name',
        'p',
        'a',
      ],
      { env: { MULTIPROC_AUTH_KEY: KEY } },
    )
    assert.equal(stdout, '')
    assert.notEqual(code, 0)
    assert.match(stderr, /nats:\/\/127\.0\.0\.1:1 cannot be reached: 127\.0\.0\.1:1 refuses/)
  })
})

describe('options of the connection', () => {
  const cluster = { servers: 'nats://127.0.0.1:1', authKey: KEY }
  const open = (options: Partial<ClusterOptions>) => (): void => {
    void new Pool({ cluster: { ...cluster, ...options }, name: POOL })
  }

  test('files that are not there are errors of the constructor', () => {
    for (const option of ['credentials', 'nkey'] as const)
      assert.throws(open({ [option]: join(folder, 'none') }), { code: 'ERR_NOT_FOUND' })
    for (const option of ['ca', 'cert', 'key'] as const)
      assert.throws(open({ tls: { [option]: join(folder, 'none') } }), { code: 'ERR_NOT_FOUND' })
    assert.throws(open({ nkey: 5 as never }), { code: 'ERR_INVALID_ARGUMENT' })
  })

  test('two ways to say who one is exclude each other', () => {
    const file = written('any', 'text')
    assert.throws(open({ credentials: file, nkey: file }), /"credentials" and by "nkey"/)
    assert.throws(open({ servers: 'nats://token@127.0.0.1:1', nkey: file }), /URL/)
  })

  test('a prefix of inboxes is a subject', () => {
    for (const wrong of ['', 'a b', '_INBOX.>', '.a', 'a.', 5 as never])
      assert.throws(open({ inboxPrefix: wrong }), { code: 'ERR_INVALID_ARGUMENT' })
  })

  test('a file that has no credentials or seed in it is an error before anything is sent', async () => {
    const file = written('nothing', 'nothing\n')
    for (const option of ['credentials', 'nkey']) {
      const error = await refused({ servers: cluster.servers, [option]: file })
      assert.equal(error.code, 'ERR_CLUSTER_SERVER')
      assert.ok(error.message.includes(file), error.message)
    }
  })
})

async function portOf(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as { port: number }).port
}
