/** Writes to streams: each ends, whatever the server says, and also when it says nothing. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type NatsConnection, createInbox, headers } from '@nats-io/transport-node'
import { jetstreamManager } from '@nats-io/jetstream'
import { StreamWriter } from '#src/cluster/stream-writer.js'
import { checkLeaks, eventually } from '../leak-check.js'
import { TestCluster, connectAsStranger, needsServer } from './started-server.js'

checkLeaks()

interface Opened extends AsyncDisposable {
  connection: NatsConnection
  writer: StreamWriter
}

/** A connection with the stream "S", of two messages at most. */
async function open(cluster: TestCluster, answerMsMax = 60_000): Promise<Opened> {
  const connection = await connectAsStranger(cluster, { reconnectTimeWait: 20 })
  const manager = await jetstreamManager(connection)
  await manager.streams.add({ name: 'S', subjects: ['s.>'], max_msgs: 2, discard: 'new' })
  const writer = new StreamWriter(connection, { newHeaders: headers, inbox: createInbox(), answerMsMax })
  return { connection, writer, [Symbol.asyncDispose]: async () => await connection.close() }
}

describe('a write to a stream', needsServer, () => {
  test('resolves when the stream has it, and is there once however often it is written with one id', async () => {
    await using cluster = await TestCluster.start()
    await using opened = await open(cluster)
    const { connection, writer } = opened
    await Promise.all([1, 2, 3].map(() => writer.write('s.a', 'text', { msgID: 'one' })))
    const manager = await jetstreamManager(connection)
    assert.equal((await manager.streams.info('S')).state.messages, 1)
  })

  test('rejects with what the server says: the stream is full, or there is none', async () => {
    await using cluster = await TestCluster.start()
    await using opened = await open(cluster)
    const { writer } = opened
    await writer.write('s.a', 'text')
    await writer.write('s.a', new Uint8Array(10))
    await assert.rejects(writer.write('s.a', 'text'), {
      message: /maximum messages/,
      code: 10077,
      status: 503,
    })
    await assert.rejects(writer.write('nobody', 'text'), /no stream takes "nobody"/)
  })

  test('rejects an answer that is none', async () => {
    await using cluster = await TestCluster.start()
    await using opened = await open(cluster)
    const { connection, writer } = opened
    connection.subscribe('liar', { callback: (_, message) => void message.respond('no JSON') })
    await connection.flush()
    await assert.rejects(writer.write('liar', 'text'), /the answer is none of JetStream/)
    await writer.write('s.a', 'text')
  })

  test('rejects when the connection is cut, and at once while the server is away', async () => {
    await using cluster = await TestCluster.start()
    await using opened = await open(cluster)
    const { connection, writer } = opened
    // A subject that somebody hears who does not answer, as a server does that is killed meanwhile.
    connection.subscribe('silence', { callback: () => {} })
    const open1 = assert.rejects(writer.write('silence', 'text'), /the connection was cut/)
    await connection.flush()
    await cluster.killServer()
    await open1
    await assert.rejects(writer.write('s.a', 'text'), /the server is away/)
    await cluster.restartServer()
    await eventually(() => !connection.isClosed() && connection.info !== undefined)
    const written = async (): Promise<void> => {
      for (;;) {
        try {
          await writer.write('s.b', 'text')
          return
        } catch (error) {
          assert.match((error as Error).message, /away|cut/)
          await connection.flush().catch(() => {})
        }
      }
    }
    await written()
  })

  test('rejects when no answer comes in time, and when the connection is closed', async () => {
    await using cluster = await TestCluster.start()
    await using opened = await open(cluster, 1)
    const { connection, writer } = opened
    connection.subscribe('silence', { callback: () => {} })
    await assert.rejects(writer.write('silence', 'text'), /did not answer/)
    const patient = new StreamWriter(connection, {
      newHeaders: headers,
      inbox: createInbox(),
      answerMsMax: 60_000,
    })
    const last = assert.rejects(patient.write('silence', 'text'), /the connection was closed/)
    await connection.flush()
    await connection.close()
    await last
    await assert.rejects(patient.write('s.a', 'text'))
  })
})
