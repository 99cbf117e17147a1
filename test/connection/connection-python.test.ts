/**
 * The behaviours that CPython's own tests of its connections and listeners check, by the names of those tests (classes
 * _TestConnection, _TestListener, _TestListenerClient, _TestPoll and OtherTest).
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import {
  type Address,
  Client,
  Listener,
  Process,
  type RemoteConnection,
  addressType,
  arbitraryAddress,
  wait,
} from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks } from '../leak-check.js'
import { Connected, ways } from './connected.js'
import { clientTls, serverTls } from './started-server.js'

checkLeaks()

const latin = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'))
const closed = { code: 'ERR_CLOSED' }

forEachStartMethod(context => {
  for (const { name, address, isTls } of ways) {
    test(`C142 test_listener_client: a child connects over ${name} and sends a message`, async () => {
      using listener = new Listener(address(), isTls ? { tls: serverTls } : {})
      const child = new Process({
        context,
        args: [await listener.listening(), isTls ? clientTls : undefined],
        target: async (address: Address, tls?: { ca: string }) => {
          const connection = await Client(address, { tls })
          await connection.send('hello')
          connection.close()
        },
      })
      child.start()
      const connection = await listener.accept()
      assert.equal(await connection.recv(), 'hello')
      await assert.rejects(connection.recv(), closed)
      connection.close()
      assert.equal(await child.join(), 0)
    })
  }

  test('C130 test_connection: values, bytes and large messages there and back', async () => {
    using listener = new Listener()
    const child = new Process({
      context,
      args: [listener.address],
      target: async (address: Address) => {
        using connection = await Client(address)
        for (;;) {
          const bytes = await connection.recvBytes()
          if (bytes.length === 0) break
          await connection.sendBytes(bytes)
        }
      },
    })
    child.start()
    const here = await listener.accept()
    const list = [1, 2.25, null]
    await here.send(list)
    assert.deepEqual(await here.recv(), list)
    await here.sendBytes(latin('hello world'))
    assert.deepEqual(await here.recvBytes(), latin('hello world'))
    const target = new Float64Array(10)
    await here.sendBytes(Float64Array.of(0, 1, 2, 3))
    assert.equal(await here.recvBytesInto(target, { offset: 3 * 8 }), 32)
    assert.deepEqual([...target], [0, 0, 0, 0, 1, 2, 3, 0, 0, 0])
    await here.sendBytes(new Uint8Array(100))
    await assert.rejects(here.recvBytesInto(target), { code: 'ERR_LIMIT' })
    assert.equal((await here.recvBytes()).length, 100)
    assert.equal(await here.poll(), false)
    assert.equal(await here.poll({ timeout: -1 }), false)
    assert.equal(await here.poll({ timeout: -1 }), false)
    await here.send(null)
    assert.ok(await here.poll({ timeout: 10_000 }))
    assert.equal(await here.recv(), null)
    const large = new Uint8Array(16 * 1024 * 1024 + 100).fill(88)
    await here.sendBytes(large)
    assert.ok(Buffer.from(await here.recvBytes()).equals(large))
    await here.sendBytes(new Uint8Array(0))
    assert.equal(await child.join(), 0)
    assert.ok(await here.poll({ timeout: 10_000 }))
    await assert.rejects(here.recv(), closed)
    await assert.rejects(here.recvBytes(), closed)
    here.close()
  })

  test('C146 test_strings: messages, empty ones included, arrive one by one while polling', async () => {
    const strings = ['hello', '', 'a', 'b', '', 'bye', '', 'lop']
    using listener = new Listener()
    const child = new Process({
      context,
      args: [listener.address, strings],
      target: async (address: Address, strings: string[]) => {
        using connection = await Client(address)
        for (const text of strings) await connection.sendBytes(new Uint8Array(Buffer.from(text, 'latin1')))
      },
    })
    child.start()
    using connection = await listener.accept()
    for (const text of strings) {
      assert.ok(await connection.poll({ timeout: 10_000 }))
      assert.deepEqual(await connection.recvBytes(), latin(text))
    }
    await child.join()
  })

  test('C144 test_issue16955: what was sent before close() is there for poll() of the client', async () => {
    for (const { address, isTls } of ways) {
      using listener = new Listener(address(), isTls ? { tls: serverTls } : {})
      const child = new Process({
        context,
        args: [await listener.listening(), isTls ? clientTls : undefined],
        target: async (address: Address, tls?: { ca: string }) => {
          using connection = await Client(address, { tls })
          if (!(await connection.poll({ timeout: 10_000 }))) throw new Error('nothing came')
          if ((await connection.recv()) !== 'hello') throw new Error('something else came')
        },
      })
      child.start()
      const connection = await listener.accept()
      await connection.send('hello')
      connection.close()
      assert.equal(await child.join(), 0)
    }
  })
})

describe('within one process', () => {
  test('test_issue14725: what a client sent before it ended is there for who accepts it later', async () => {
    using listener = new Listener()
    using client = await Client(await listener.listening())
    await client.send('hello')
    client.close()
    using accepted = await listener.accept()
    assert.equal(await accepted.recv(), 'hello')
    await assert.rejects(accepted.recv(), closed)
    assert.equal(listener.lastAccepted, null)
    assert.equal(String(listener), inspect(listener))
    assert.equal(String(accepted), inspect(accepted))
  })

  const isLinux = process.platform === 'linux'
  test('test_abstract_socket: a listener at a name without a file', { skip: !isLinux }, async () => {
    const listener = new Listener(`\0something-${process.pid}`)
    using client = await Client(listener.address)
    using accepted = await listener.accept()
    await client.send(1729)
    assert.equal(await accepted.recv(), 1729)
    listener.close()
    await assert.rejects(listener.accept(), closed)
  })

  for (const way of ways) {
    test(`C133 test_sendbytes: offset and size choose a part, and cannot lead out of it, over ${way.name}`, async () => {
      using pair = await Connected.open(way)
      const { here, there } = pair
      const message = latin('abcdefghijklmnopqrstuvwxyz')
      const passes = async (options: { offset?: number; size?: number }): Promise<string> => {
        await here.sendBytes(message, options)
        return Buffer.from(await there.recvBytes()).toString()
      }
      assert.equal(await passes({}), 'abcdefghijklmnopqrstuvwxyz')
      assert.equal(await passes({ offset: 5 }), 'fghijklmnopqrstuvwxyz')
      assert.equal(await passes({ offset: 7, size: 8 }), 'hijklmno')
      assert.equal(await passes({ offset: 26 }), '')
      assert.equal(await passes({ offset: 26, size: 0 }), '')
      const wrong = [
        { offset: 27 },
        { offset: 22, size: 5 },
        { offset: 26, size: 1 },
        { offset: -1 },
        { offset: 4, size: -1 },
      ]
      for (const options of wrong) await assert.rejects(here.sendBytes(message, options), RangeError)
      await assert.rejects(there.recvBytes({ maxLength: -1 }), RangeError)
      await assert.rejects(there.recvBytesInto(message, { offset: 27 }), RangeError)
      await here.sendBytes(message)
      await assert.rejects(there.recvBytes({ maxLength: 25 }), { code: 'ERR_LIMIT' })
      assert.equal((await there.recvBytes({ maxLength: 26 })).length, 26)
    })
  }

  test('C137 test_context: the scope closes both ends, and use after it throws', async () => {
    let ends: RemoteConnection[]
    {
      using pair = await Connected.open()
      ends = [pair.here, pair.there]
      await pair.here.send(1729)
      assert.equal(await pair.there.recv(), 1729)
      assert.ok(pair.here.readable && pair.here.writable)
    }
    for (const end of ends) {
      assert.ok(end.isClosed)
      for (const use of [end.recv(), end.send(1), end.recvBytes(), end.sendBytes(latin('')), end.poll()])
        await assert.rejects(use, closed)
    }
  })

  test('C139 test_context: listener, client and accepted connection are scopes, and accept() after it throws', async () => {
    let listener: Listener
    {
      using scoped = new Listener()
      listener = scoped
      using client = await Client(scoped.address)
      using accepted = await scoped.accept()
      await client.send(1729)
      assert.equal(await accepted.recv(), 1729)
    }
    assert.ok(listener.isClosed)
    await assert.rejects(listener.accept(), closed)
    await assert.rejects(Client(listener.address), { code: 'ERR_NOT_FOUND' })
  })

  test('C140 test_empty_authkey: an empty key is a key, and both sides need it', async () => {
    for (const authKey of ['', new Uint8Array(0)]) {
      using pair = await Connected.open(undefined, { authKey })
      await pair.here.send('in')
      assert.equal(await pair.there.recv(), 'in')
    }
    using listener = new Listener(undefined, { authKey: '' })
    await assert.rejects(Client(listener.address, { authKey: 'other' }), { code: 'ERR_AUTHENTICATION' })
  })

  test('C138 test_multiple_bind: two listeners cannot be at one address', async () => {
    for (const { address, isTls } of ways) {
      if (isTls) continue
      using first = new Listener(address())
      using second = new Listener(await first.listening())
      await assert.rejects(second.accept(), { code: 'ERR_ALREADY_EXISTS' })
      await assert.rejects(second.listening(), { code: 'ERR_ALREADY_EXISTS' })
    }
  })

  test('C145 test_empty_string: poll() sees an empty message and does not take it', async () => {
    using pair = await Connected.open()
    const { here, there } = pair
    assert.equal(await here.poll(), false)
    assert.equal(await here.poll({ timeout: -1 }), false)
    await there.sendBytes(new Uint8Array(0))
    assert.ok(await here.poll({ timeout: 10_000 }))
    assert.ok(await here.poll())
    assert.equal((await here.recvBytes()).length, 0)
    assert.equal(await here.poll(), false)
    assert.equal(await here.poll({ timeout: -1 }), false)
  })

  test('C147 test_boundaries: polling takes nothing of a message away', async () => {
    using pair = await Connected.open()
    const { here, there } = pair
    const polling = here.poll({ timeout: Infinity })
    const messages = ['first', 'second'].map(latin)
    for (const message of messages) await there.sendBytes(message)
    assert.ok(await polling)
    assert.deepEqual([await here.recvBytes(), await here.recvBytes()], messages)
  })

  test('C181 test_deliver_challenge_auth_failure, C182: garbage in the place of a challenge or a response is refused', async () => {
    using listener = new Listener(undefined, { authKey: 'abc' })
    const lying = (async () => {
      using client = await Client(listener.address)
      await client.sendBytes(latin('something bogus'))
      await assert.rejects(client.recv(), { code: 'ERR_AUTHENTICATION' })
    })()
    const accepting = listener.accept({ timeout: 200 })
    await lying
    await assert.rejects(accepting, { code: 'ERR_TIMEOUT' })

    using naive = new Listener()
    const asking = Client(naive.address, { authKey: 'abc' })
    const connection = await naive.accept()
    await connection.sendBytes(latin('something bogus'))
    await assert.rejects(asking, { code: 'ERR_AUTHENTICATION' })
    connection.close()
  })

  test('wait() tells which listeners and connections are ready', async () => {
    using listener = new Listener()
    assert.deepEqual(await wait([listener], { timeout: 0 }), [])
    const waiting = wait([listener])
    using client = await Client(listener.address)
    assert.deepEqual(await waiting, [listener])
    using accepted = await listener.accept()
    assert.deepEqual(await wait([listener, client, accepted], { timeout: 0 }), [])
    const both = wait([listener, client, accepted])
    await client.send(1)
    assert.deepEqual(await both, [accepted])
    assert.deepEqual(await wait([listener, client, accepted], { timeout: 0 }), [accepted])
    accepted.close()
    assert.deepEqual(await wait([listener, client]), [client])
    await assert.rejects(client.recv(), closed)
    const atClose = wait([listener])
    listener.close()
    assert.deepEqual(await atClose, [listener])
  })

  test('addressType() and arbitraryAddress() know the families, and refuse what is no address', () => {
    assert.equal(addressType(['localhost', 5000]), 'AF_INET')
    assert.equal(addressType({ host: '::1', port: 5000 }), 'AF_INET')
    assert.equal(addressType('tcp://[::1]:5000'), 'AF_INET')
    assert.equal(addressType('/tmp/x'), 'AF_UNIX')
    assert.equal(addressType('\0x'), 'AF_UNIX')
    assert.equal(addressType(String.raw`\\.\pipe\x`), 'AF_PIPE')
    for (const wrong of [5, null, {}, [1, 2], ['localhost', 70_000], ['', 1], 'tcp://x', 'tls://x:y', '']) {
      assert.throws(() => addressType(wrong as string), { code: 'ERR_INVALID_ARGUMENT' }, inspect(wrong))
    }
    assert.deepEqual(arbitraryAddress('AF_INET'), ['localhost', 0])
    assert.notEqual(arbitraryAddress(), arbitraryAddress())
    assert.throws(() => arbitraryAddress('AF_X' as 'AF_INET'), { code: 'ERR_INVALID_ARGUMENT' })
    assert.throws(() => new Listener(['localhost', 0], { family: 'AF_UNIX' }), {
      code: 'ERR_INVALID_ARGUMENT',
    })
  })
})
