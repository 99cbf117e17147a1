/** Connections as values: another process goes on with them, and has every byte that nobody had taken here. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Listener, Pool, Process, Queue, type RemoteConnection } from 'multiproc'
import { parseAddress } from '#src/connection/address.js'
import { checkLeaks } from '../leak-check.js'
import { randomNumbers, seed } from '../queue/random-numbers.js'
import { forEachSharingMethod, isNative } from '../queue/sharing-methods.js'
import { Connected, tcpWay, ways } from './connected.js'
import { frame, rawSocket } from './started-server.js'

checkLeaks()

/** Answers everything with its square, until the other side ends. */
async function square(connection: RemoteConnection<number, number>): Promise<number> {
  let count = 0
  for await (const number of connection) {
    await connection.send(number * number)
    count++
  }
  connection.close()
  return count
}

async function textsOf(connection: RemoteConnection): Promise<string[]> {
  const texts: string[] = []
  try {
    for (;;) texts.push(Buffer.from(await connection.recvBytes()).toString('latin1'))
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_CLOSED') throw error
  }
  connection.close()
  return texts
}

if (isNative) {
  forEachSharingMethod(context => {
    for (const way of ways) {
      if (way.isTls) continue
      test(`a child goes on with a connection over ${way.name} after the sender has closed its own`, async () => {
        using pair = await Connected.open(way, { authKey: 'key' })
        await pair.here.send(3)
        await pair.here.send(4)
        // One message has come, and perhaps both.
        await pair.there.poll({ timeout: Infinity })
        const child = new Process({ context, target: square, args: [pair.there as RemoteConnection<number>] })
        child.start()
        pair.there.close()
        assert.equal(await pair.here.recv(), 9)
        assert.equal(await pair.here.recv(), 16)
        await pair.here.send(5)
        assert.equal(await pair.here.recv(), 25)
        pair.here.close()
        assert.equal(await child.result(), 3)
      })
    }

    test(`every byte arrives that was not taken here, wherever the stream was cut (SEED=${seed})`, async () => {
      const random = randomNumbers(seed)
      using queue = new Queue<RemoteConnection>()
      using results = new Queue<string[]>()
      const child = new Process({
        context,
        target: async () => {
          for await (const connection of queue) await results.put(await textsOf(connection))
        },
      })
      child.start()
      for (let round = 0; round < 20; round++) {
        using listener = new Listener()
        const [raw, connection] = await Promise.all([
          rawSocket(parseAddress(listener.address)),
          listener.accept(),
        ])
        const texts = Array.from({ length: 1 + random(8) }, (_, index) => `${index}`.repeat(random(3000)))
        const stream = Buffer.concat(texts.map(text => frame(text)))
        const cut = random(stream.length)
        raw.write(stream.subarray(0, cut))
        // What has arrived by now is more or less of it.
        for (let turn = random(4); turn > 0; turn--)
          await new Promise<void>(resolve => setImmediate(() => resolve()))
        const taken: string[] = []
        while (random(2) === 0 && (await connection.poll()))
          taken.push(Buffer.from(await connection.recvBytes()).toString('latin1'))
        await queue.put(connection)
        connection.close()
        raw.end(stream.subarray(cut))
        assert.deepEqual([...taken, ...(await results.get())], texts)
        raw.destroy()
      }
      queue.shutdown()
      assert.equal(await child.join(), 0)
    })

    test('a pool answers connections that its parent accepts', async () => {
      await using pool = new Pool({ processes: 2, context })
      using listener = new Listener<number, number>(tcpWay.address(), { authKey: 'key' })
      const { Client } = await import('multiproc')
      const address = await listener.listening()
      const ask = async (number: number): Promise<number> => {
        using client = await Client<number, number>(address, { authKey: 'key' })
        await client.send(number)
        return await client.recv()
      }
      const answers = Promise.all([1, 2, 3, 4].map(ask))
      const counts: Promise<number>[] = []
      for (let count = 0; count < 4; count++) {
        const connection = await listener.accept()
        const answered = pool.apply(square, [connection])
        counts.push(answered.then(count => (connection.close(), count)))
      }
      assert.deepEqual(await answers, [1, 4, 9, 16])
      assert.deepEqual(await Promise.all(counts), [1, 1, 1, 1])
    })
  })

  test('what a peer sent before it ended is there, although no connection is any more', async () => {
    using queue = new Queue<RemoteConnection>()
    using pair = await Connected.open()
    await pair.here.send('last')
    await pair.here.send('words')
    pair.here.close()
    assert.equal(await pair.there.recv(), 'last')
    while (!(await pair.there.poll())) continue
    // The end itself may have been seen or not.
    for (let turn = 0; turn < 10; turn++) await new Promise<void>(resolve => setImmediate(() => resolve()))
    await queue.put(pair.there)
    pair.there.close()
    using arrived = await queue.get()
    assert.equal(arrived.peer, pair.there.peer)
    assert.equal(await arrived.recv(), 'words')
    await assert.rejects(arrived.recv(), { code: 'ERR_CLOSED' })
  })

  test('a message that comes to nothing leaves the connection as it was', async () => {
    using queue = new Queue()
    using pair = await Connected.open()
    await pair.here.send('one')
    assert.ok(await pair.there.poll({ timeout: Infinity }))
    await assert.rejects(queue.put([pair.there, Promise.resolve()]), { code: 'ERR_NOT_SERIALIZABLE' })
    await pair.here.send('two')
    assert.equal(await pair.there.recv(), 'one')
    assert.equal(await pair.there.recv(), 'two')
    await pair.there.send('three')
    assert.equal(await pair.here.recv(), 'three')
  })

  test('what would lose something is an error of the call, and says why', async () => {
    using queue = new Queue()
    const refused = (text: RegExp): object => ({ code: 'ERR_NOT_SERIALIZABLE', message: text })
    using pair = await Connected.open()
    const receiving = pair.there.recv()
    await assert.rejects(queue.put(pair.there), refused(/being received from/))
    await pair.here.send(1)
    assert.equal(await receiving, 1)
    const sending = pair.here.sendBytes(new Uint8Array(16 * 1024 * 1024))
    await assert.rejects(queue.put(pair.here), refused(/is sending/))
    await pair.there.recvBytes()
    await sending
    pair.here.close()
    await assert.rejects(queue.put(pair.here), refused(/closed/))
    await assert.rejects(queue.put(pair.listener), refused(/a Listener/))
    using secure = await Connected.open(ways.find(({ isTls }) => isTls))
    await assert.rejects(queue.put(secure.there), refused(/TLS/))
  })
} else {
  test('without the addon a connection cannot be sent, and goes on', async () => {
    using queue = new Queue<RemoteConnection>()
    using pair = await Connected.open()
    await pair.here.send('one')
    assert.ok(await pair.there.poll({ timeout: Infinity }))
    await assert.rejects(queue.put(pair.there), { code: 'ERR_NOT_SUPPORTED' })
    await pair.here.send('two')
    assert.equal(await pair.there.recv(), 'one')
    assert.equal(await pair.there.recv(), 'two')
  })
}
