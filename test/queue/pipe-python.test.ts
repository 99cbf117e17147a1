/**
 * The behaviours that CPython's own tests of its pipes and of `multiprocessing.connection.wait` check, by the names of
 * those tests (classes _TestConnection, _TestPoll, TestWait, _TestFinalize and _TestPollEintr).
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { type Socket, connect, createServer } from 'node:net'
import { describe, test } from 'node:test'
import { Pipe, type PipeConnection, Process, Queue, wait } from 'multiproc'
import { checkLeaks } from '../leak-check.js'
import { forEachSharingMethod } from './sharing-methods.js'

checkLeaks()

const closed = { code: 'ERR_CLOSED' }
const latin = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'))

forEachSharingMethod(context => {
  test('C130 test_connection: values, bytes and large messages there and back', async () => {
    const [here, there] = Pipe()
    const child = new Process({
      context,
      args: [there],
      target: async (there: PipeConnection) => {
        for (;;) {
          const bytes = await there.recvBytes()
          if (bytes.length === 0) break
          await there.sendBytes(bytes)
        }
        there.close()
      },
    })
    child.start()
    there.close()
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
    const start = performance.now()
    assert.equal(await here.poll({ timeout: 20 }), false)
    assert.ok(performance.now() - start >= 18)
    await here.send(null)
    assert.ok(await here.poll({ timeout: 10_000 }))
    assert.equal(await here.recv(), null)
    const large = new Uint8Array(16 * 1024 * 1024 + 100).fill(88)
    await here.sendBytes(large)
    assert.ok(Buffer.from(await here.recvBytes()).equals(large))
    await here.sendBytes(new Uint8Array(0))
    await child.join()
    assert.ok(await here.poll())
    await assert.rejects(here.recv(), closed)
    await assert.rejects(here.recvBytes(), closed)
    here.close()
  })

  test('C132 test_spawn_close: the end of the child may be closed here right after start()', async () => {
    const [here, there] = Pipe()
    const child = new Process({
      context,
      args: [there],
      target: async (there: PipeConnection) => {
        const bytes = await there.recvBytes()
        await there.sendBytes(bytes)
        there.close()
      },
    })
    child.start()
    there.close()
    await here.sendBytes(latin('hello'))
    assert.deepEqual(await here.recvBytes(), latin('hello'))
    here.close()
    await child.join()
  })

  test('C146 test_strings: messages, empty ones included, arrive one by one while polling', async () => {
    const strings = ['hello', '', 'a', 'b', '', 'bye', '', 'lop']
    const [reader, writer] = Pipe({ duplex: false })
    const child = new Process({
      context,
      args: [writer, strings],
      target: async (writer: PipeConnection, strings: string[]) => {
        for (const text of strings) await writer.sendBytes(new Uint8Array(Buffer.from(text, 'latin1')))
        writer.close()
      },
    })
    child.start()
    for (const text of strings) {
      assert.ok(await reader.poll({ timeout: 10_000 }))
      assert.deepEqual(await reader.recvBytes(), latin(text))
    }
    await child.join()
    reader.close()
    writer.close()
  })

  test('C147 test_boundaries: polling in one process takes nothing of a message from another', async () => {
    const [reader, writer] = Pipe({ duplex: false })
    using first = new Queue()
    const child = new Process({
      context,
      args: [reader, first],
      target: async (reader: PipeConnection, first: Queue) => {
        await reader.poll({ timeout: Infinity })
        await first.put('polled')
      },
    })
    child.start()
    const messages = ['first', 'second'].map(latin)
    for (const message of messages) await writer.sendBytes(message)
    await child.join()
    assert.equal(await first.get(), 'polled')
    assert.deepEqual([await reader.recvBytes(), await reader.recvBytes()], messages)
    reader.close()
    writer.close()
  })

  test('test_dont_merge: messages that were polled for several times arrive one by one', async () => {
    const [here, there] = Pipe()
    assert.equal(await here.poll({ timeout: 0 }), false)
    const child = new Process({
      context,
      target: async () => {
        for (const text of ['a', 'b', 'cd']) await there.sendBytes(Buffer.from(text))
      },
    })
    child.start()
    for (const text of ['a', 'b', 'cd']) {
      assert.ok(await here.poll({ timeout: 10_000 }))
      assert.ok(await here.poll({ timeout: 10_000 }))
      assert.deepEqual(await here.recvBytes(), latin(text))
    }
    await child.join()
    here.close()
    there.close()
  })

  test('C179 test_poll_eintr: join() survives a signal handler that runs meanwhile', async () => {
    if (context === 'thread') return
    const caught = once(process, 'SIGUSR2')
    const child = new Process({
      context,
      args: [process.pid],
      target: (pid: number) => void process.kill(pid, 'SIGUSR2'),
    })
    child.start()
    assert.equal(await child.join(), 0)
    await caught
  })

  for (const name of ['C189 test_wait', 'C191 test_wait_slow']) {
    test(`${name}: four readers give all forty messages and four ends`, async () => {
      const readers: PipeConnection<[number, number]>[] = []
      const children: Process[] = []
      for (let sender = 0; sender < 4; sender++) {
        const [reader, writer] = Pipe<[number, number]>({ duplex: false })
        const child = new Process({
          context,
          daemon: true,
          args: [writer, sender, name.includes('slow')],
          target: async (writer: PipeConnection<[number, number]>, sender: number, isSlow: boolean) => {
            for (let number = 0; number < 10; number++) {
              // Any delay between messages is right here: it changes which ends are ready together.
              if (isSlow) await new Promise<void>(resolve => setImmediate(() => resolve()))
              await writer.send([number, sender])
            }
            writer.close()
          },
        })
        child.start()
        writer.close()
        readers.push(reader)
        children.push(child)
      }
      const messages: [number, number][] = []
      const left = new Set(readers)
      while (left.size > 0) {
        for (const reader of await wait(left)) {
          try {
            messages.push(await reader.recv())
          } catch (error) {
            assert.equal((error as { code: string }).code, 'ERR_CLOSED')
            left.delete(reader)
            reader.close()
          }
        }
      }
      const byBoth = (a: number[], b: number[]): number => a[0]! - b[0]! || a[1]! - b[1]!
      assert.deepEqual(
        messages.toSorted(byBoth),
        Array.from({ length: 40 }, (_, index) => [Math.floor(index / 4), index % 4]),
      )
      for (const child of children) await child.join()
    })
  }

  test('C194 test_wait_integer: processes, sentinels and ends of pipes become ready together', async () => {
    const [a, b] = Pipe<string>()
    const go = new Queue()
    const child = new Process({ context, target: async () => void (await go.get()) })
    child.start()
    const all = [a, child.sentinel, child, b]
    assert.deepEqual(await wait(all, { timeout: 5 }), [])
    await go.put(null)
    await child.join()
    assert.deepEqual(await wait(all, { timeout: 10_000 }), [child.sentinel, child])
    await a.send('for b')
    assert.deepEqual(await wait(all), [child.sentinel, child, b])
    await b.send('for a')
    assert.deepEqual(await wait(all), [a, child.sentinel, child, b])
    for (const each of [a, b, go]) each.close()
  })
})

describe('within one process', () => {
  test('C131 test_duplex_false: the first end only receives, the second only sends', async () => {
    const [reader, writer] = Pipe({ duplex: false })
    await writer.send(1)
    assert.equal(await reader.recv(), 1)
    assert.ok(reader.readable && !reader.writable)
    assert.ok(!writer.readable && writer.writable)
    await assert.rejects(reader.send(2), { code: 'ERR_INVALID_STATE' })
    await assert.rejects(writer.recv(), { code: 'ERR_INVALID_STATE' })
    await assert.rejects(writer.poll(), { code: 'ERR_INVALID_STATE' })
    reader.close()
    writer.close()
  })

  test('C133 test_sendbytes: offset and size choose a part, and cannot lead out of it', async () => {
    const message = latin('abcdefghijklmnopqrstuvwxyz')
    const [a, b] = Pipe()
    const passes = async (options: { offset?: number; size?: number }): Promise<string> => {
      await a.sendBytes(message, options)
      return Buffer.from(await b.recvBytes()).toString()
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
    for (const options of wrong) await assert.rejects(a.sendBytes(message, options), RangeError)
    await assert.rejects(b.recvBytes({ maxLength: -1 }), RangeError)
    // Views of all kinds count in bytes, and what is none is refused.
    await a.sendBytes(Uint16Array.of(1, 2, 3), { offset: 2, size: 2 })
    assert.deepEqual(await b.recvBytes(), Uint8Array.of(2, 0))
    await a.sendBytes(new DataView(new ArrayBuffer(3), 1))
    assert.deepEqual(await b.recvBytes(), new Uint8Array(2))
    await assert.rejects(a.sendBytes('text' as never), TypeError)
    await assert.rejects(b.recvBytesInto([1, 2] as never), TypeError)
    await assert.rejects(b.recvBytesInto(message, { offset: 27 }), RangeError)
    await a.sendBytes(message)
    await assert.rejects(b.recvBytes({ maxLength: 25 }), { code: 'ERR_LIMIT' })
    assert.equal((await b.recvBytes({ maxLength: 26 })).length, 26)
    a.close()
    b.close()
  })

  test('C136 test_missing_fd_transfer: a FileHandle cannot be sent, and the error says what can', async () => {
    const [a, b] = Pipe()
    const file = await open(import.meta.filename ?? process.argv[1]!)
    await assert.rejects(a.send(file), { code: 'ERR_NOT_SERIALIZABLE', message: /DupFd/ })
    await file.close()
    a.close()
    b.close()
  })

  test('C137 test_context: the scope closes both ends, and use after it throws', async () => {
    let ends: [PipeConnection, PipeConnection]
    {
      ends = Pipe()
      using a = ends[0]
      using b = ends[1]
      await a.send(1729)
      assert.equal(await b.recv(), 1729)
    }
    for (const end of ends) {
      assert.ok(end.isClosed)
      await assert.rejects(end.recv(), closed)
      await assert.rejects(end.send(1), closed)
    }
  })

  test('C145 test_empty_string: poll() sees an empty message and does not take it', async () => {
    const [a, b] = Pipe()
    assert.equal(await a.poll(), false)
    await b.sendBytes(new Uint8Array(0))
    assert.ok(await a.poll())
    assert.ok(a.pollSync())
    assert.equal((await a.recvBytes()).length, 0)
    assert.equal(await a.poll(), false)
    a.close()
    b.close()
  })

  for (const name of ['C190 test_wait_socket', 'C192 test_wait_socket_slow']) {
    test(`${name}: plain sockets can be waited for`, async () => {
      const server = createServer()
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as { port: number }
      const accepted: Socket[] = []
      server.on('connection', socket => accepted.push(socket))
      const clients = Array.from({ length: 4 }, () => connect(port, '127.0.0.1'))
      for (const client of clients) await once(client, 'connect')
      while (accepted.length < 4) await once(server, 'connection')
      assert.deepEqual(await wait(accepted, { timeout: 0 }), [])
      const send = async (client: Socket): Promise<void> => {
        for (let number = 0; number < 10; number++) {
          if (name.includes('slow')) await new Promise<void>(resolve => setImmediate(() => resolve()))
          client.write(`${number}\n`)
        }
        client.end()
      }
      for (const client of clients) void send(client)
      const texts = new Map(accepted.map(socket => [socket, '']))
      const left = new Set(accepted)
      while (left.size > 0) {
        for (const socket of await wait(left)) {
          const chunk = socket.read() as Buffer | null
          if (chunk !== null) texts.set(socket, texts.get(socket)! + chunk.toString())
          else if (socket.readableEnded || socket.destroyed) left.delete(socket)
        }
      }
      for (const text of texts.values()) assert.equal(text, '0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n')
      for (const socket of [...accepted, ...clients]) socket.destroy()
      server.close()
      await once(server, 'close')
    })
  }

  test('test_wait_timeout: wait() gives nothing after its timeout, and at once what is ready', async () => {
    const [a, b] = Pipe()
    const start = performance.now()
    assert.deepEqual(await wait([a, b], { timeout: 20 }), [])
    assert.ok(performance.now() - start >= 18)
    await b.send(null)
    assert.deepEqual(await wait([a, b], { timeout: 60_000 }), [a])
    for (const wrong of [5, null, a]) {
      await assert.rejects(wait(wrong as never), { name: 'TypeError', code: 'ERR_INVALID_ARGUMENT' })
    }
    a.close()
    b.close()
  })

  test('C195 test_neg_timeout: a negative timeout looks and returns at once', async () => {
    const [a, b] = Pipe()
    const start = performance.now()
    assert.deepEqual(await wait([a], { timeout: -1 }), [])
    assert.ok(performance.now() - start < 1000)
    a.close()
    b.close()
  })

  test('wait() takes queues and promises, leaves what they have, and refuses other things', async () => {
    using queue = new Queue<number>()
    const never = new Promise<void>(() => {})
    const waiting = wait([queue, never])
    await queue.put(1)
    assert.deepEqual(await waiting, [queue])
    assert.equal(queue.size, 1)
    assert.deepEqual(
      await wait([never, Promise.reject(new Error('settled'))]).then(({ length }) => length),
      1,
    )
    await assert.rejects(wait([5 as unknown as Promise<void>]), TypeError)
    const controller = new AbortController()
    const aborted = wait([never], { signal: controller.signal })
    controller.abort(new Error('enough'))
    await assert.rejects(aborted, { message: 'enough' })
    const [a, b] = Pipe()
    const atClose = wait([a])
    a.close()
    assert.deepEqual(await atClose, [a])
    b.close()
  })

  test('C173 test_finalize: what is released twice is released once', () => {
    const queue = new Queue()
    queue.close()
    queue.close()
    const [a, b] = Pipe()
    for (const end of [a, b, a, b]) end.close()
  })
})
