/** SocketServer and connectSocket: who knows the key comes in with every byte, and nobody else costs more than a place. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { text } from 'node:stream/consumers'
import { type Address, arbitraryAddress } from '#src/connection/address.js'
import { connectSocket } from '#src/connection/connect-socket.js'
import { createResponse } from '#src/connection/handshake.js'
import { SocketServer } from '#src/connection/socket-server.js'
import { SocketConnection } from '#src/transport/socket-connection.js'
import { checkLeaks, eventually } from '../leak-check.js'
import { randomNumbers, seed } from '../queue/random-numbers.js'
import {
  KEY,
  OTHER_KEY,
  StartedServer,
  clientCertificate,
  clientTls,
  closed,
  frame,
  rawSocket,
  serverTls,
  trustedClients,
} from './started-server.js'

checkLeaks()

const addresses: [name: string, address: () => Address][] = [
  ['TCP', () => ['127.0.0.1', 0]],
  ['a local name', () => arbitraryAddress()],
]
if (process.platform === 'linux')
  addresses.push(['a name without a file', () => `\0multiproc-test-${process.pid}`])

for (const [name, address] of addresses) {
  describe(`over ${name}`, () => {
    test('a client with the key comes in, and both sides read what came right behind the handshake', async () => {
      const greetings: string[] = []
      await using started = await StartedServer.open(address(), {
        authKey: KEY,
        onSocket: socket => {
          socket.write('from the listener')
          socket.on('data', data => greetings.push(String(data)))
          socket.on('end', () => socket.end())
        },
      })
      const client = await connectSocket(started.address, { authKey: KEY })
      client.end('from the client')
      assert.equal(await text(client), 'from the listener')
      assert.deepEqual(greetings, ['from the client'])
    })

    test('bytes that a client sends together with its last message of the handshake are there', async () => {
      await using started = await StartedServer.open(address(), { authKey: KEY })
      const client = await rawSocket(started.address)
      const messages = messagesOf(client)
      const challenge = await messages()
      client.write(frame(createResponse(KEY, challenge.subarray(11))))
      assert.equal((await messages()).toString(), '#WELCOME#')
      const own = Buffer.concat([Buffer.from('{sha256}'), Buffer.alloc(40, 1)])
      client.write(frame(Buffer.concat([Buffer.from('#CHALLENGE#'), own])))
      assert.deepEqual(await messages(), createResponse(KEY, own))
      client.end(Buffer.concat([frame('#WELCOME#'), Buffer.from('and more')]))
      assert.equal(await text(await started.socket()), 'and more')
      await closed(client)
    })

    test('frames of transport/ travel over what both return', async () => {
      await using started = await StartedServer.open(address(), { authKey: KEY })
      const client = new SocketConnection(await connectSocket(started.address, { authKey: KEY }))
      client.send(Buffer.from('early'))
      const listener = new SocketConnection(await started.socket())
      const received: string[] = []
      const isClosed = new Promise<void>(resolve => {
        listener.onClose = () => resolve()
      })
      listener.onMessage = bytes => {
        received.push(Buffer.from(bytes).toString())
      }
      client.send(Buffer.from('late'))
      client.close()
      await isClosed
      assert.deepEqual(received, ['early', 'late'])
    })

    test('a client with another key is refused on both sides', async () => {
      await using started = await StartedServer.open(address(), { authKey: KEY })
      const refused = { name: 'AuthenticationError', code: 'ERR_AUTHENTICATION' }
      await assert.rejects(connectSocket(started.address, { authKey: OTHER_KEY }), refused)
      const { error } = await started.refusal()
      assert.equal(error.code, 'ERR_AUTHENTICATION')
      assert.equal(error.reason, 'it has another key')
      assert.deepEqual(started.sockets, [])
    })

    test('without a key everybody comes in', async () => {
      await using started = await StartedServer.open(address())
      const client = await connectSocket(started.address)
      client.end('hello')
      assert.equal(await text(await started.socket()), 'hello')
      await closed(client)
    })

    test('a client with a key that is asked for none is given up after its timeout', async () => {
      await using started = await StartedServer.open(address())
      await assert.rejects(connectSocket(started.address, { authKey: KEY, timeout: 20 }), {
        code: 'ERR_TIMEOUT',
      })
    })

    test('the signal of a client ends it', async () => {
      await using started = await StartedServer.open(address())
      const stop = new AbortController()
      const client = connectSocket(started.address, { authKey: KEY, signal: stop.signal })
      await started.socket()
      stop.abort(new Error('enough'))
      await assert.rejects(client, { message: 'enough' })
      await closed(await started.socket())
      assert.throws(() => stop.signal.throwIfAborted())
      await assert.rejects(connectSocket(started.address, { signal: stop.signal }), { message: 'enough' })
    })

    test('when the listener closes, who is in the handshake is cut off and who is in stays', async () => {
      await using started = await StartedServer.open(address(), { authKey: KEY })
      const inside = await connectSocket(started.address, { authKey: KEY })
      const waiting = await rawSocket(started.address)
      await once(waiting, 'readable')
      await started.server.close()
      await closed(waiting)
      assert.equal(inside.destroyed, false)
      assert.deepEqual(started.refusals, [])
      await assert.rejects(connectSocket(started.address, { authKey: KEY }), { code: 'ERR_NOT_FOUND' })
      inside.destroy()
    })
  })
}

/** The messages that arrive at a socket, one by one. */
function messagesOf(socket: Socket): () => Promise<Buffer> {
  let buffer = Buffer.alloc(0)
  socket.on('data', chunk => {
    buffer = Buffer.concat([buffer, chunk])
  })
  return async () => {
    await eventually(() => buffer.length >= 4 && buffer.length >= 4 + buffer.readInt32BE())
    const end = 4 + buffer.readInt32BE()
    const message = buffer.subarray(4, end)
    buffer = buffer.subarray(end)
    return message
  }
}

describe('a peer that misbehaves', () => {
  const lies: [name: string, bytes: Buffer][] = [
    ['a length below zero, as of a long message', Buffer.from('ffffffff0000000000000010', 'hex')],
    ['a length of a gigabyte', Buffer.from('40000000', 'hex')],
    ['a length of 257', Buffer.concat([Buffer.from([0, 0, 1, 1]), Buffer.alloc(257)])],
    ['a request of HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
    ['an empty message', frame('')],
    ['a welcome', frame('#WELCOME#')],
    ['a response with a digest that does not exist', frame(`{sha1}${'x'.repeat(20)}`)],
    ['a value', frame(Buffer.from([1, 0, 131]))],
  ]
  for (const [name, bytes] of lies) {
    test(`by sending ${name} is refused at once`, async () => {
      await using started = await StartedServer.open(['127.0.0.1', 0], { authKey: KEY })
      const client = await rawSocket(started.address)
      client.write(bytes)
      await closed(client)
      assert.equal((await started.refusal()).error.code, 'ERR_AUTHENTICATION')
      assert.equal(started.server.pendingCount, 0)
    })
  }

  test('by saying nothing is cut off after "handshakeMs", and others come in meanwhile', async () => {
    await using started = await StartedServer.open(['127.0.0.1', 0], {
      authKey: KEY,
      limits: { handshakeMs: 2000 },
    })
    const silent = await rawSocket(started.address)
    const client = await connectSocket(started.address, { authKey: KEY })
    await closed(silent)
    const { error, peer } = await started.refusal()
    assert.equal(error.code, 'ERR_TIMEOUT')
    assert.match(peer, /^tcp:\/\/127\.0\.0\.1:\d+$/)
    assert.equal(started.server.pendingCount, 0)
    client.destroy()
  })

  test('by sending a byte now and then has no more time than others', async () => {
    await using started = await StartedServer.open(['127.0.0.1', 0], {
      authKey: KEY,
      limits: { handshakeMs: 100 },
    })
    const slow = await rawSocket(started.address)
    // Of a message with 200 bytes, which would be complete after 20 s.
    slow.write(Buffer.from([0, 0, 0, 200]))
    const timer = setInterval(() => slow.write('x'), 100)
    await closed(slow)
    clearInterval(timer)
    assert.equal((await started.refusal()).error.code, 'ERR_TIMEOUT')
  })

  test('by keeping all places has the oldest cut off, so that others come in', async () => {
    await using started = await StartedServer.open(['127.0.0.1', 0], {
      authKey: KEY,
      limits: { pendingMax: 3 },
    })
    const silent = []
    for (let count = 0; count < 3; count++) {
      silent.push(await rawSocket(started.address))
      await once(silent[count]!, 'readable')
    }
    assert.equal(started.server.pendingCount, 3)
    const client = await connectSocket(started.address, { authKey: KEY })
    assert.equal((await started.refusal()).error.code, 'ERR_LIMIT')
    assert.equal(started.refusals.length, 1)
    await closed(silent[0]!)
    assert.ok(silent.slice(1).every(socket => !socket.destroyed))
    for (const socket of [client, ...silent]) socket.destroy()
    await eventually(() => started.server.pendingCount === 0)
  })

  for (const after of ['connecting', 'half a length', 'half a response', 'a whole response', 'the welcome']) {
    test(`by ending after ${after} is forgotten`, async () => {
      await using started = await StartedServer.open(['127.0.0.1', 0], { authKey: KEY })
      const client = await rawSocket(started.address)
      const messages = messagesOf(client)
      const challenge = await messages()
      const response = frame(createResponse(KEY, challenge.subarray(11)))
      if (after === 'half a length') client.write(response.subarray(0, 2))
      if (after === 'half a response') client.write(response.subarray(0, 20))
      if (after === 'a whole response' || after === 'the welcome') client.write(response)
      if (after === 'the welcome') await messages()
      client.resetAndDestroy()
      const { error } = await started.refusal()
      assert.equal(error.code, 'ERR_CLOSED')
      assert.equal(started.server.pendingCount, 0)
    })
  }

  for (const [after, bytes] of [
    ['connecting', Buffer.alloc(0)],
    ['half a challenge', frame(`#CHALLENGE#{sha256}${'x'.repeat(40)}`).subarray(0, 30)],
    ['a challenge', frame(`#CHALLENGE#{sha256}${'x'.repeat(40)}`)],
    ['a welcome', Buffer.concat([frame(`#CHALLENGE#{sha256}${'x'.repeat(40)}`), frame('#WELCOME#')])],
  ] as const) {
    test(`as a listener that ends after ${after} gives the client a ClosedError`, async () => {
      const server = createServer(socket => {
        socket.on('error', () => {}).resume()
        socket.end(bytes)
      })
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as { port: number }
      await assert.rejects(connectSocket(['127.0.0.1', port], { authKey: KEY }), { code: 'ERR_CLOSED' })
      server.close()
      await once(server, 'close')
    })
  }

  test('as a listener that says garbage gives the client an AuthenticationError', async () => {
    const server = createServer(socket => {
      socket.on('error', () => {}).resume()
      socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    await assert.rejects(connectSocket(['127.0.0.1', port], { authKey: KEY }), {
      code: 'ERR_AUTHENTICATION',
    })
    server.close()
    await once(server, 'close')
  })
})

test(`random bytes in random pieces, with random ends, leave no place taken and keep nobody out (SEED=${seed})`, async () => {
  const random = randomNumbers(seed)
  await using started = await StartedServer.open(['127.0.0.1', 0], {
    authKey: KEY,
    limits: { handshakeMs: 60_000, pendingMax: 16 },
  })
  const attack = async (): Promise<void> => {
    const socket = await rawSocket(started.address)
    socket.resume()
    for (let piece = random(6); piece > 0 && !socket.destroyed; piece--) {
      const kinds = [
        (): Buffer => Buffer.from(Array.from({ length: random(300) }, () => random(256))),
        (): Buffer => frame(Buffer.from(Array.from({ length: random(300) }, () => random(256)))),
        (): Buffer => frame('#CHALLENGE#{sha256}' + 'x'.repeat(random(60))),
        (): Buffer => frame('{sha256}' + 'x'.repeat(32)),
        (): Buffer => frame(['#WELCOME#', '#FAILURE#', ''][random(3)]!),
      ]
      socket.write(kinds[random(kinds.length)]!())
      if (random(2) === 0) await new Promise<void>(resolve => setImmediate(() => resolve()))
    }
    if (random(2) === 0) socket.resetAndDestroy()
    else socket.end()
    await closed(socket)
  }
  for (let round = 0; round < 10; round++) {
    const attacks = Promise.all(Array.from({ length: 12 }, attack))
    const client = await connectSocket(started.address, { authKey: KEY })
    client.destroy()
    await attacks
  }
  await eventually(() => started.server.pendingCount === 0)
  assert.equal(started.sockets.length, 10)
  assert.equal(started.refusals.length, 120)
  for (const { error } of started.refusals)
    assert.ok(['ERR_AUTHENTICATION', 'ERR_CLOSED', 'ERR_LIMIT'].includes(error.code!), error.message)
})

describe('over TLS', () => {
  const address = ['localhost', 0] as const

  test('a client that trusts the certificate comes in and shows its key', async () => {
    await using started = await StartedServer.open(address, { authKey: KEY, tls: serverTls })
    const client = await connectSocket(started.address, { authKey: KEY, tls: clientTls })
    client.end('secret')
    assert.equal(await text(await started.socket()), 'secret')
    await closed(client)
  })

  test('a client that does not trust the certificate refuses the listener', async () => {
    await using started = await StartedServer.open(address, { authKey: KEY, tls: serverTls })
    await assert.rejects(connectSocket(started.address, { authKey: KEY, tls: {} }), {
      code: 'ERR_AUTHENTICATION',
    })
    assert.ok((await started.refusal()).error.code?.startsWith('ERR_'))
    assert.equal(started.server.pendingCount, 0)
  })

  test('another key is refused', async () => {
    await using started = await StartedServer.open(address, { authKey: KEY, tls: serverTls })
    await assert.rejects(connectSocket(started.address, { authKey: OTHER_KEY, tls: clientTls }), {
      code: 'ERR_AUTHENTICATION',
    })
    assert.equal((await started.refusal()).error.code, 'ERR_AUTHENTICATION')
  })

  test('certificates of clients can stand for the key', async () => {
    await using started = await StartedServer.open(address, { tls: { ...serverTls, ...trustedClients } })
    const client = await connectSocket(started.address, { tls: { ...clientTls, ...clientCertificate } })
    client.end('known')
    assert.equal(await text(await started.socket()), 'known')
    await closed(client)
    const stranger = await connectSocket(started.address, { tls: clientTls }).catch(() => undefined)
    assert.equal((await started.refusal()).error.code, 'ERR_AUTHENTICATION')
    stranger?.destroy()
    assert.equal(started.sockets.length, 1)
  })

  test('a peer that speaks no TLS is refused, and one that says nothing is cut off', async () => {
    await using started = await StartedServer.open(address, {
      authKey: KEY,
      tls: serverTls,
      limits: { handshakeMs: 2000 },
    })
    const plain = await rawSocket(started.address)
    plain.write(frame('#CHALLENGE#'))
    await closed(plain)
    assert.equal((await started.refusal()).error.code, 'ERR_AUTHENTICATION')
    const silent = await rawSocket(started.address)
    await closed(silent)
    assert.equal((await started.refusal(1)).error.code, 'ERR_TIMEOUT')
    assert.equal(started.refusals.length, 2)
    assert.equal(started.server.pendingCount, 0)
  })

  test('a peer that goes away is forgotten', async () => {
    await using started = await StartedServer.open(address, { authKey: KEY, tls: serverTls })
    const client = await rawSocket(started.address)
    await eventually(() => started.server.pendingCount === 1)
    client.resetAndDestroy()
    assert.ok((await started.refusal()).error.code?.startsWith('ERR_'))
    assert.equal(started.server.pendingCount, 0)
  })

  test('old versions and paths are errors of the call', () => {
    const options = { onSocket: () => {} }
    assert.throws(
      () => new SocketServer(address, { ...options, tls: { ...serverTls, minVersion: 'TLSv1' } }),
      {
        code: 'ERR_INVALID_ARGUMENT',
      },
    )
    assert.throws(() => new SocketServer(arbitraryAddress(), { ...options, tls: serverTls }), {
      code: 'ERR_INVALID_ARGUMENT',
    })
  })
})

describe('an address', () => {
  test('that other machines reach needs a key, certificates of clients, or the word "insecure"', async () => {
    const options = { onSocket: () => {} }
    for (const refused of [{}, { authKey: Buffer.alloc(0) }, { tls: serverTls }]) {
      assert.throws(() => new SocketServer(['0.0.0.0', 0], { ...options, ...refused }), {
        code: 'ERR_INVALID_ARGUMENT',
      })
    }
    for (const allowed of [
      { authKey: KEY },
      { insecure: true },
      { tls: { ...serverTls, ...trustedClients } },
    ]) {
      await using started = await StartedServer.open(['0.0.0.0', 0], allowed)
      assert.equal(started.address.family, 'AF_INET')
    }
  })

  test('with port 0 is known when the server listens, and is an error before', async () => {
    const server = new SocketServer(['127.0.0.1', 0], { onSocket: () => {} })
    assert.throws(() => server.address, { code: 'ERR_INVALID_STATE' })
    await server.listening()
    const { address } = server
    assert.ok(address.family === 'AF_INET' && address.port > 0)
    await server.close()
  })

  test('where somebody listens is ERR_ALREADY_EXISTS, and can be had again after close()', async () => {
    for (const [, address] of addresses) {
      const started = await StartedServer.open(address())
      await assert.rejects(StartedServer.open(started.address), { code: 'ERR_ALREADY_EXISTS' })
      const client = await connectSocket(started.address)
      await started.server.close()
      const again = await StartedServer.open(started.address)
      await again[Symbol.asyncDispose]()
      client.destroy()
      await started[Symbol.asyncDispose]()
    }
  })

  test('that does not exist is ERR_NOT_FOUND, for both sides', async () => {
    const folder = join(tmpdir(), `multiproc-no-such-folder-${process.pid}`)
    await assert.rejects(connectSocket(['127.0.0.1', await freePort()]), { code: 'ERR_NOT_FOUND' })
    if (process.platform === 'win32') return
    await assert.rejects(connectSocket(join(folder, 's')), { code: 'ERR_NOT_FOUND' })
    await assert.rejects(StartedServer.open(join(folder, 's')), { code: 'ERR_NOT_FOUND' })
  })

  test('that is closed before it listens rejects', async () => {
    const server = new SocketServer(['localhost', 0], { onSocket: () => {} })
    const listening = server.listening()
    await server.close()
    await assert.rejects(listening, { code: 'ERR_CLOSED' })
  })
})

async function freePort(): Promise<number> {
  await using started = await StartedServer.open(['127.0.0.1', 0])
  const { address } = started
  return address.family === 'AF_INET' ? address.port : 0
}

describe('a file of a socket', { skip: process.platform === 'win32' }, () => {
  test('is removed by close()', async () => {
    const path = arbitraryAddress('AF_UNIX') as string
    const started = await StartedServer.open(path)
    assert.ok(existsSync(path))
    await started[Symbol.asyncDispose]()
    assert.equal(existsSync(path), false)
  })

  test('that is no socket is left alone', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
    const path = join(folder, 'file')
    writeFileSync(path, 'data')
    await assert.rejects(StartedServer.open(path), { code: 'ERR_ALREADY_EXISTS' })
    assert.ok(existsSync(path))
    rmSync(folder, { recursive: true })
  })
})
