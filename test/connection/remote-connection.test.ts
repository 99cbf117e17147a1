/** RemoteConnection: every message whole and in order or an error for its sender, whatever the other side does. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import { Client, Listener, Lock, type RemoteConnection, RemoteConnection as Class } from 'multiproc'
import { parseAddress } from '#src/connection/address.js'
import { checkLeaks, eventually } from '../leak-check.js'
import { randomNumbers, seed } from '../queue/random-numbers.js'
import { Connected, tcpWay, ways } from './connected.js'
import { runProgram } from './run-program.js'
import { frame, rawSocket } from './started-server.js'

checkLeaks()

const closed = { code: 'ERR_CLOSED' }

/** The listener's end of a connection whose other side is a plain socket. */
async function besideRaw(
  options: { maxMessageSize?: number } = {},
): Promise<{ connection: RemoteConnection; raw: Awaited<ReturnType<typeof rawSocket>>; listener: Listener }> {
  const listener = new Listener(undefined, options)
  const [raw, connection] = await Promise.all([rawSocket(parseAddress(listener.address)), listener.accept()])
  return { connection, raw, listener }
}

for (const way of ways) {
  describe(`over ${way.name}`, () => {
    test('values keep what they are, and functions run on the other side', async () => {
      using pair = await Connected.open(way)
      const date = new Date(0)
      const value = {
        list: [1, 2.5, 10n],
        date,
        map: new Map([[date, new Set(['x'])]]),
        bytes: Uint8Array.of(1, 2),
      }
      await pair.here.send(value)
      assert.deepEqual(await pair.there.recv(), value)
      const factor = 3
      await pair.here.send((n: number) => n * factor)
      assert.equal(((await pair.there.recv()) as (n: number) => number)(14), 42)
      await pair.there.send(new RangeError('far'))
      const error = (await pair.here.recv()) as Error
      assert.ok(error instanceof RangeError && error.message === 'far')
    })

    test('messages of every size pass in both directions at once', async () => {
      using pair = await Connected.open(way)
      const sizes = [0, 1, 3, 4, 5, 16_383, 16_384, 16_385, 65_535, 65_536, 200_000, 3_000_000, 7]
      const bytesOf = (size: number, first: number): Uint8Array =>
        new Uint8Array(size).fill(first + (size % 250))
      const pass = async (from: RemoteConnection, to: RemoteConnection, first: number): Promise<void> => {
        const sending = Promise.all(sizes.map(size => from.sendBytes(bytesOf(size, first))))
        for (const size of sizes) {
          const received = await to.recvBytes()
          assert.ok(Buffer.from(received).equals(bytesOf(size, first)), `${size} bytes`)
        }
        await sending
      }
      await Promise.all([pass(pair.here, pair.there, 1), pass(pair.there, pair.here, 5)])
    })

    test('an iteration gives all values, and ends with the other side', async () => {
      using pair = await Connected.open(way)
      for (let number = 0; number < 1000; number++) await pair.here.send(number)
      pair.here.close()
      const received = []
      for await (const number of pair.there) received.push(number)
      assert.deepEqual(
        received,
        Array.from({ length: 1000 }, (_, number) => number),
      )
    })

    test('who does not receive makes senders wait, and a sender that gives up has sent nothing', async () => {
      using pair = await Connected.open(way)
      const { here, there } = pair
      const sent: number[] = []
      const block = new Uint8Array(256 * 1024)
      for (let number = 0; ; number++) {
        block[0] = number
        try {
          await here.sendBytes(block, { timeout: 200 })
          sent.push(number)
        } catch (error) {
          assert.equal((error as { code: string }).code, 'ERR_TIMEOUT')
          break
        }
        assert.ok(sent.length < 256, 'nothing holds the sender back')
      }
      // The system may have made room meanwhile: then this one is sent, and fulfils.
      const stop = new AbortController()
      block[0] = 255
      const aborted = here.sendBytes(block, { signal: stop.signal })
      stop.abort(new Error('enough'))
      try {
        await aborted
        sent.push(255)
      } catch (error) {
        assert.equal((error as Error).message, 'enough')
      }
      const last = here.send('last')
      for (const number of sent) assert.equal((await there.recvBytes())[0], number)
      assert.equal(await there.recv(), 'last')
      await last
    })

    test('close() has everything arrive that was sent before, also what waits for room', async () => {
      using pair = await Connected.open(way)
      const blocks = Array.from({ length: 64 }, (_, number) => new Uint8Array(256 * 1024).fill(number))
      const sending = blocks.map(block => pair.here.sendBytes(block))
      pair.here.close()
      await assert.rejects(pair.here.send(1), closed)
      for (const [number] of blocks.entries()) {
        const bytes = await pair.there.recvBytes()
        assert.ok(bytes.length === 256 * 1024 && bytes[0] === number && bytes.at(-1) === number)
      }
      await assert.rejects(pair.there.recv(), closed)
      await Promise.all(sending)
    })
  })
}

describe('a wait', () => {
  test(`for a message that times out or is aborted takes nothing, in any order of events (SEED=${seed})`, async () => {
    using pair = await Connected.open()
    const { here, there } = pair
    const random = randomNumbers(seed)
    const count = 2000
    const received: number[] = []
    const receive = async (): Promise<void> => {
      while (received.length < count) {
        const stop = new AbortController()
        if (random(2) === 0) setImmediate(() => stop.abort('stopped'))
        const timeout = random(2) === 0 ? random(3) : 5000
        try {
          received.push((await there.recv({ timeout, signal: stop.signal })) as number)
        } catch (error) {
          assert.ok(error === 'stopped' || (error as { code: string }).code === 'ERR_TIMEOUT', String(error))
        }
      }
    }
    const receiving = Promise.allSettled([receive(), receive(), receive()])
    for (let number = 0; number < count; number++) {
      await here.send(number)
      if (random(5) === 0) await new Promise<void>(resolve => setImmediate(() => resolve()))
    }
    // Those who still wait for one more.
    await eventually(() => received.length >= count)
    pair.here.close()
    await receiving
    assert.deepEqual(
      received.toSorted((a, b) => a - b),
      Array.from({ length: count }, (_, number) => number),
    )
  })

  test('is served in the order in which it came', async () => {
    using pair = await Connected.open()
    const waiting = [1, 2, 3].map(() => pair.there.recv())
    for (const value of ['a', 'b', 'c']) await pair.here.send(value)
    assert.deepEqual(await Promise.all(waiting), ['a', 'b', 'c'])
  })

  test('ends when the connection is closed here', async () => {
    using pair = await Connected.open()
    const waiting = [pair.there.recv(), pair.there.recvBytes(), pair.there.poll({ timeout: Infinity })]
    pair.there.close()
    for (const each of waiting) await assert.rejects(each, closed)
    assert.equal(inspect(pair.there), '<RemoteConnection closed>')
  })

  test('has no time that is no number', async () => {
    using pair = await Connected.open()
    for (const timeout of [Number.NaN, '5' as unknown as number])
      await assert.rejects(pair.there.recv({ timeout }), { code: 'ERR_INVALID_ARGUMENT' })
    await assert.rejects(pair.there.recv({ timeout: 0 }), { code: 'ERR_TIMEOUT' })
  })
})

describe('the other side', () => {
  test('that is killed in the middle of a message leaves an end inside a message', async () => {
    using listener = new Listener(['127.0.0.1', 0])
    const program = await runProgram('begin', await listener.listening())
    using connection = await listener.accept()
    await program.line('begun')
    await connection.poll()
    program.kill()
    await assert.rejects(connection.recv(), { ...closed, message: /middle of a message/ })
    await program.end()
  })

  for (const { name, address, isTls } of ways) {
    if (isTls) continue
    test(`that is killed ends senders that wait, over ${name}`, async () => {
      using listener = new Listener(address())
      const program = await runProgram('deaf', await listener.listening())
      using connection = await listener.accept()
      await program.line('connected')
      const block = new Uint8Array(256 * 1024)
      const sending = Array.from({ length: 256 }, () => connection.sendBytes(block))
      const outcomes = Promise.allSettled(sending)
      program.kill()
      assert.equal((await outcomes).at(-1)!.status, 'rejected')
      for (const outcome of await outcomes)
        if (outcome.status === 'rejected') assert.equal(outcome.reason.code, 'ERR_CLOSED')
      await assert.rejects(connection.recv(), closed)
      await assert.rejects(connection.send(1), closed)
      await program.end()
    })
  }

  test('that leaves right after send() has sent all of it', async () => {
    using listener = new Listener()
    const program = await runProgram('send', listener.address)
    using connection = await listener.accept()
    const bytes = await connection.recvBytes()
    assert.equal(bytes.length, 8 * 1024 * 1024)
    assert.ok(bytes.every(byte => byte === 7))
    assert.equal(await program.end(), 0)
  })

  for (const [name, bytes, code] of [
    ['a length below zero', 'fffffffe', 'ERR_PROTOCOL'],
    ['a request of HTTP', Buffer.from('GET / HTTP/1.1\r\n').toString('hex'), 'ERR_LIMIT'],
    ['a length of petabytes', 'ffffffff0fffffffffffffff', 'ERR_LIMIT'],
    ['one byte more than "maxMessageSize"', '00000401', 'ERR_LIMIT'],
  ] as const) {
    test(`that sends ${name} ends the connection, after what came before`, async () => {
      const { connection, raw, listener } = await besideRaw({ maxMessageSize: 1024 })
      raw.write(Buffer.concat([frame('before'), Buffer.from(bytes, 'hex')]))
      await once(raw.resume(), 'close')
      assert.equal(Buffer.from(await connection.recvBytes()).toString(), 'before')
      await assert.rejects(connection.recv(), { code })
      await assert.rejects(async () => {
        for await (const value of connection) assert.fail(String(value))
      })
      connection.close()
      listener.close()
    })
  }

  test('that sends what is no value fails that call alone, and the error says what it is', async () => {
    const { connection, raw, listener } = await besideRaw()
    raw.write(frame(Buffer.from('80049503000000000000004b012e', 'hex')))
    await assert.rejects(connection.recv(), { code: 'ERR_NOT_DESERIALIZABLE', message: /pickle/ })
    raw.write(frame('nonsense'))
    await assert.rejects(connection.recv(), { code: 'ERR_NOT_DESERIALIZABLE' })
    raw.write(frame(''))
    await assert.rejects(connection.recv(), { code: 'ERR_NOT_DESERIALIZABLE' })
    raw.write(frame('still there'))
    assert.equal(Buffer.from(await connection.recvBytes()).toString(), 'still there')
    raw.destroy()
    connection.close()
    listener.close()
  })

  test('that has a key tells who has none what is missing', async () => {
    using listener = new Listener(undefined, { authKey: 'key' })
    using client = await Client(listener.address)
    await assert.rejects(client.recv(), { code: 'ERR_AUTHENTICATION', message: /authKey/ })
  })

  test('can send a byte at a time', async () => {
    const { connection, raw, listener } = await besideRaw()
    const whole = Buffer.concat([frame('one'), frame(''), frame('three')])
    const receiving = [connection.recvBytes(), connection.recvBytes(), connection.recvBytes()]
    for (const byte of whole) {
      raw.write(Uint8Array.of(byte))
      await new Promise<void>(resolve => setImmediate(() => resolve()))
    }
    const texts = (await Promise.all(receiving)).map(bytes => Buffer.from(bytes).toString())
    assert.deepEqual(texts, ['one', '', 'three'])
    raw.destroy()
    connection.close()
    listener.close()
  })
})

describe('a connection', () => {
  test('that nobody waits for does not keep a program alive, nor does such a listener', async () => {
    using listener = new Listener()
    const program = await runProgram('idle', listener.address)
    using connection = await listener.accept()
    assert.equal(await connection.recv(), 'here')
    assert.equal(await program.end(), 0)
  })

  test('that somebody waits for does', async () => {
    using listener = new Listener()
    const program = await runProgram('wait', listener.address)
    using connection = await listener.accept()
    await connection.send('after all')
    await program.line('after all')
    assert.equal(await program.end(), 0)
  })

  test('carries shared objects within a program', async () => {
    using pair = await Connected.open()
    const lock = new Lock()
    await pair.here.send({ lock })
    const { lock: same } = (await pair.there.recv()) as { lock: Lock }
    using held = await lock.guard()
    assert.ok(held)
    assert.equal(await same.acquire({ timeout: 0 }), false)
  })

  test('is not made with new, and its methods are for nothing else', async () => {
    assert.throws(() => new Class(), { code: 'ERR_INVALID_ARGUMENT' })
    await assert.rejects(Class.prototype.recv.call({} as Class), { code: 'ERR_INVALID_ARGUMENT' })
  })

  test('says who is on the other side', async () => {
    using pair = await Connected.open(tcpWay)
    assert.match(pair.there.peer, /^tcp:\/\/(127\.0\.0\.1|\[::1\]):\d+$/)
    assert.equal(inspect(pair.there), `<RemoteConnection to ${pair.there.peer}>`)
    const [host, port] = pair.listener.address as [string, number]
    assert.equal(pair.here.peer, `tcp://${host}:${port}`)
  })
})
