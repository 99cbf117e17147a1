/** Listener and Client: a server loop that nobody stops, addresses that are free again, and errors that say what to do. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import {
  Client,
  Listener,
  Process,
  type RemoteConnection,
  arbitraryAddress,
  currentProcess,
  wait,
} from 'multiproc'
import { parseAddress } from '#src/connection/address.js'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks, eventually } from '../leak-check.js'
import { randomNumbers, seed } from '../queue/random-numbers.js'
import { localWay, tcpWay, ways } from './connected.js'
import { runProgram } from './run-program.js'
import {
  clientCertificate,
  clientTls,
  closed,
  frame,
  rawSocket,
  serverTls,
  trustedClients,
} from './started-server.js'

checkLeaks()

/** Answers everybody until the listener is closed. */
async function serve(listener: Listener<number, number>): Promise<void> {
  const answer = async (connection: RemoteConnection<number, number>): Promise<void> => {
    for await (const number of connection) await connection.send(number * number)
    connection.close()
  }
  const answers: Promise<void>[] = []
  for await (const connection of listener) answers.push(answer(connection))
  await Promise.all(answers)
}

describe('a server loop', () => {
  test('goes on whatever strangers do, and tells of each of them', async () => {
    const refused: string[] = []
    const listener = new Listener<number, number>(['127.0.0.1', 0], {
      authKey: 'key',
      handshakeTimeout: 60_000,
      onRefused: ({ code }: Error & { code?: string }) => void refused.push(code!),
    })
    const serving = serve(listener)
    const address = await listener.listening()
    const parsed = parseAddress(address)

    const silent = await rawSocket(parsed)
    const garbage = await rawSocket(parsed)
    garbage.write(frame('garbage'))
    const gone = await rawSocket(parsed)
    gone.resetAndDestroy()
    await assert.rejects(Client(address, { authKey: 'other' }), { code: 'ERR_AUTHENTICATION' })
    await closed(garbage)

    const client = await Client<number, number>(address, { authKey: 'key' })
    await client.send(12)
    assert.equal(await client.recv(), 144)
    client.close()
    await eventually(() => refused.length === 3)
    assert.deepEqual(refused.toSorted(), ['ERR_AUTHENTICATION', 'ERR_AUTHENTICATION', 'ERR_CLOSED'])
    assert.match(inspect(listener), /^<Listener tcp:\/\/127\.0\.0\.1:\d+ waiting=0 refused=3>$/)
    silent.destroy()
    listener.close()
    await serving
  })

  for (const way of ways) {
    test(`serves 200 clients at once over ${way.name}`, async () => {
      const listener = new Listener<number, number>(way.address(), {
        authKey: 'key',
        ...(way.isTls ? { tls: serverTls } : {}),
      })
      const serving = serve(listener)
      const address = await listener.listening()
      const ask = async (number: number): Promise<number> => {
        using client = await Client<number, number>(address, {
          authKey: 'key',
          timeout: 60_000,
          ...(way.isTls ? { tls: clientTls } : {}),
        })
        await client.send(number)
        return await client.recv()
      }
      const numbers = Array.from({ length: 200 }, (_, number) => number)
      assert.deepEqual(
        await Promise.all(numbers.map(ask)),
        numbers.map(number => number * number),
      )
      listener.close()
      await serving
    })
  }

  test(`goes on while clients are killed at any moment (SEED=${seed})`, async () => {
    const random = randomNumbers(seed)
    const refused: string[] = []
    const listener = new Listener<Uint8Array, number>(undefined, {
      authKey: 'key',
      onRefused: ({ code }: Error & { code?: string }) => void refused.push(code!),
    })
    let served = 0
    const answer = async (connection: RemoteConnection<Uint8Array, number>): Promise<void> => {
      try {
        for await (const bytes of connection) await connection.send(bytes.length)
      } catch (error) {
        // Killed in the middle of a message, or before it took the answer.
        assert.equal((error as { code: string }).code, 'ERR_CLOSED')
      }
      connection.close()
      served++
    }
    const serving = (async () => {
      const answers: Promise<void>[] = []
      for await (const connection of listener) answers.push(answer(connection))
      await Promise.all(answers)
    })()
    const start = (): Process => {
      const child = new Process({
        args: [listener.address],
        target: async (address: string | [string, number]) => {
          const bytes = new Uint8Array(300_000)
          for (;;) {
            using client = await Client(address, { authKey: 'key' })
            await client.send(bytes)
            await client.recv()
          }
        },
      })
      child.start()
      return child
    }
    const children = [start(), start(), start()]
    for (let kill = 0; kill < 6; kill++) {
      const until = served + 1 + random(20)
      await eventually(() => served >= until)
      const index = random(children.length)
      children[index]!.kill()
      await children[index]!.join()
      children[index] = start()
    }
    for (const child of children) {
      child.kill()
      await child.join()
    }
    using client = await Client<number, Uint8Array>(listener.address, { authKey: 'key' })
    await client.send(new Uint8Array(7))
    assert.equal(await client.recv(), 7)
    client.close()
    listener.close()
    await serving
    assert.ok(
      refused.every(code => code === 'ERR_CLOSED'),
      refused.join(),
    )
  })

  test('has no more than "backlog" connections that wait for accept(), and refuses the next', async () => {
    const refused: string[] = []
    using listener = new Listener(undefined, {
      backlog: 2,
      onRefused: ({ code }: Error & { code?: string }) => void refused.push(code!),
    })
    const clients = []
    for (let count = 0; count < 3; count++) {
      clients.push(await Client(listener.address))
      await eventually(() => inspect(listener).includes(`waiting=${Math.min(2, count + 1)}`))
    }
    await assert.rejects(clients[2]!.recv(), { code: 'ERR_CLOSED' })
    assert.deepEqual(refused, ['ERR_LIMIT'])
    for (const client of clients.slice(0, 2)) {
      using accepted = await listener.accept()
      await accepted.send('in')
      assert.equal(await client.recv(), 'in')
    }
    for (const client of clients) client.close()
  })
})

forEachStartMethod(context => {
  test('the key of the process is the same in its children', async () => {
    using listener = new Listener(undefined, { authKey: currentProcess().authKey })
    const child = new Process({
      context,
      args: [listener.address],
      target: async (address: string | [string, number]) => {
        using client = await Client(address, { authKey: currentProcess().authKey })
        await client.send('family')
      },
    })
    child.start()
    using connection = await listener.accept()
    assert.equal(await connection.recv(), 'family')
    await child.join()
  })

  test('a child can listen, and its parent connect', async () => {
    const address = arbitraryAddress()
    const child = new Process({
      context,
      args: [address],
      target: async (address: string | [string, number]) => {
        using listener = new Listener(address)
        using connection = await listener.accept()
        await connection.send('from the child')
        await connection.poll({ timeout: Infinity })
      },
    })
    child.start()
    const connect = async (): Promise<RemoteConnection> => {
      for (;;) {
        const client = await Client(address).catch((error: { code: string }) => error.code)
        if (typeof client === 'object') return client
        assert.equal(client, 'ERR_NOT_FOUND')
      }
    }
    const client = await connect()
    assert.equal(await client.recv(), 'from the child')
    client.close()
    assert.equal(await child.join(), 0)
  })
})

describe('accept()', () => {
  test('ends with its timeout, its signal and the end of the listener, and takes nothing then', async () => {
    const listener = new Listener()
    await assert.rejects(listener.accept({ timeout: 0 }), { code: 'ERR_TIMEOUT' })
    await assert.rejects(listener.accept({ timeout: 5 }), { code: 'ERR_TIMEOUT' })
    const stop = new AbortController()
    const aborted = listener.accept({ signal: stop.signal })
    stop.abort(new Error('enough'))
    await assert.rejects(aborted, { message: 'enough' })
    using client = await Client(listener.address)
    using accepted = await listener.accept()
    await client.send(1)
    assert.equal(await accepted.recv(), 1)
    const waiting = [listener.accept(), listener.accept()]
    listener.close()
    listener.close()
    for (const each of waiting) await assert.rejects(each, { code: 'ERR_CLOSED' })
    await client.send(2)
    assert.equal(await accepted.recv(), 2)
    assert.equal(inspect(listener), '<Listener closed>')
  })

  test('says who was accepted last, when that is another machine or could be', async () => {
    using listener = new Listener(tcpWay.address())
    assert.equal(listener.lastAccepted, null)
    using client = await Client(await listener.listening())
    using accepted = await listener.accept()
    assert.equal(typeof listener.lastAccepted![1], 'number')
    assert.ok(accepted.peer.endsWith(`:${listener.lastAccepted![1]}`))
    assert.equal(client.isClosed, false)
    using local = new Listener(localWay.address())
    using other = await Client(local.address)
    using acceptedThere = await local.accept()
    assert.equal(local.lastAccepted, null)
    assert.ok(!other.isClosed && !acceptedThere.isClosed)
  })

  test('gives what cut off clients had sent', async () => {
    using listener = new Listener()
    const client = await Client(listener.address)
    await client.send('last words')
    client.close()
    using accepted = await listener.accept()
    assert.equal(await accepted.recv(), 'last words')
    await assert.rejects(accepted.recv(), { code: 'ERR_CLOSED' })
  })
})

describe('Client()', () => {
  test('rejects where nobody listens, and says what to do', async () => {
    const free = new Listener(['127.0.0.1', 0])
    const address = await free.listening()
    free.close()
    await assert.rejects(Client(address), (error: Error & { code?: string; cause?: { code?: string } }) => {
      assert.equal(error.code, 'ERR_NOT_FOUND')
      assert.equal(error.cause?.code, 'ECONNREFUSED')
      assert.match(error.message, /nobody listens there\nTo fix: start the listener first/)
      return true
    })
    await assert.rejects(Client(['no-such-host.invalid', 1]), { code: 'ERR_NOT_FOUND' })
    await assert.rejects(Client(arbitraryAddress()), { code: 'ERR_NOT_FOUND' })
  })

  test('needs a certificate where the listener asks for one', async () => {
    using listener = new Listener(['localhost', 0], { tls: { ...serverTls, ...trustedClients } })
    const address = await listener.listening()
    using known = await Client(address, { tls: { ...clientTls, ...clientCertificate } })
    using accepted = await listener.accept()
    await known.send('known')
    assert.equal(await accepted.recv(), 'known')
    const stranger = async (): Promise<void> => {
      using client = await Client(address, { tls: clientTls })
      await client.recv()
    }
    await assert.rejects(stranger(), (error: { code: string }) =>
      ['ERR_AUTHENTICATION', 'ERR_CLOSED'].includes(error.code),
    )
  })

  test('takes addresses in text', async () => {
    using plain = new Listener('tcp://127.0.0.1:0', { authKey: 'key' })
    const [host, port] = (await plain.listening()) as [string, number]
    using first = await Client(`tcp://${host}:${port}`, { authKey: Buffer.from('key') })
    using secure = new Listener('tls://localhost:0', { tls: serverTls })
    const [name, securePort] = (await secure.listening()) as [string, number]
    using second = await Client(`tls://${name}:${securePort}`, { tls: clientTls })
    assert.ok(!first.isClosed && !second.isClosed)
    assert.throws(() => new Listener('tls://0.0.0.0:0', { authKey: 'key', tls: 5 as never }), {
      code: 'ERR_INVALID_ARGUMENT',
    })
  })
})

test('options that do not exist or make no sense are errors of the call', async () => {
  const wrong = [
    { autKey: 'x' },
    { authKey: 5 },
    { backlog: 0 },
    { maxPending: -1 },
    { handshakeTimeout: Number.NaN },
    { maxMessageSize: 1.5 },
    { family: 'AF_PIPES' },
  ]
  for (const options of wrong)
    assert.throws(
      () => new Listener(undefined, options as object),
      { code: 'ERR_INVALID_ARGUMENT' },
      inspect(options),
    )
  await assert.rejects(Client('x', { autKey: 'x' } as object), { code: 'ERR_INVALID_ARGUMENT' })
  await assert.rejects(Client(['0.0.0.0', 1], { authKey: null as never }), { code: 'ERR_INVALID_ARGUMENT' })
  assert.throws(() => new Listener(['0.0.0.0', 0]), { code: 'ERR_INVALID_ARGUMENT', message: /authKey/ })
})

describe('the file of a socket', { skip: process.platform === 'win32' }, () => {
  const inFolder = async (body: (path: string) => Promise<void>): Promise<void> => {
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
    try {
      await body(join(folder, 'socket'))
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }

  test('is gone after close(), and after process.exit()', () =>
    inFolder(async path => {
      const listener = new Listener(path)
      assert.ok(existsSync(path))
      listener.close()
      assert.equal(existsSync(path), false)
      const program = await runProgram('leave', path)
      await program.line('listening')
      assert.equal(await program.end(), 0)
      assert.equal(existsSync(path), false)
    }))

  test('that a killed program left is replaced, and one of a living program is not', () =>
    inFolder(async path => {
      const program = await runProgram('listen', path)
      await program.line('listening')
      const early = new Listener(path)
      await assert.rejects(early.listening(), { code: 'ERR_ALREADY_EXISTS' })
      using client = await Client(path)
      assert.equal(await client.recv(), 'hello')
      program.kill()
      await program.end()
      assert.ok(existsSync(path))
      await assert.rejects(Client(path), { code: 'ERR_NOT_FOUND' })
      using listener = new Listener(path)
      assert.equal(await listener.listening(), path)
      using again = await Client(path)
      assert.equal(again.isClosed, false)
    }))

  test('that a killed program left is replaced by one of several who find it', () =>
    inFolder(async path => {
      const program = await runProgram('listen', path)
      await program.line('listening')
      program.kill()
      await program.end()
      const listeners = Array.from({ length: 8 }, () => new Listener(path))
      const outcomes = await Promise.allSettled(listeners.map(listener => listener.listening()))
      const winners = listeners.filter((_, index) => outcomes[index]!.status === 'fulfilled')
      assert.equal(winners.length, 1)
      using client = await Client(path)
      await client.send('one')
      // The others have looked whether somebody listens, by connecting.
      for await (const connection of winners[0]!) {
        const value = await connection.recv().catch((error: { code: string }) => error.code)
        connection.close()
        if (value === 'one') break
        assert.equal(value, 'ERR_CLOSED')
      }
      for (const listener of listeners) listener.close()
    }))

  test('has a path that the system takes whole', () => {
    assert.throws(() => new Listener(`/tmp/${'x'.repeat(200)}`), { code: 'ERR_INVALID_ARGUMENT' })
    assert.throws(() => new Listener(String.raw`\\.\pipe\x`), { code: 'ERR_NOT_SUPPORTED' })
  })
})

test('wait() wakes for a listener whose address cannot be had, and accept() says why', async () => {
  using first = new Listener(tcpWay.address())
  const second = new Listener(await first.listening())
  assert.deepEqual(await wait([second]), [second])
  await assert.rejects(second.accept(), { code: 'ERR_ALREADY_EXISTS' })
  assert.equal(inspect(second), '<Listener not listening yet waiting=0 refused=0>')
  second.close()
})
