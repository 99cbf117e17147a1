/** Sockets, servers and descriptors as values, in every way that a value can take, to processes and threads. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { closeSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { DupFd, Pipe, type PipeConnection, Pool, Process, Queue } from 'multiproc'
import { keptDescriptors } from '#src/platform/descriptors.js'
import { checkLeaks, eventually } from '../leak-check.js'
import { forEachSharingMethod, isNative } from '../queue/sharing-methods.js'
import { connected, listening, portOf, textOf } from './connected.js'

checkLeaks()

/** Says where it runs, and answers one message with the same in capitals. */
async function answer(socket: Socket): Promise<string> {
  const [data] = (await once(socket, 'data')) as [Buffer]
  socket.end(String(data).toUpperCase())
  socket.destroy()
  return String(data)
}

function serve(server: Server, name: string): Promise<string> {
  return new Promise(resolve => {
    server.on('connection', socket => {
      socket.on('error', () => {})
      socket.end(name)
      server.close(() => resolve(name))
    })
  })
}

function inodeOf({ fd }: { fd: number }): number {
  return fstatSync(fd).ino
}

const onlyNative = { skip: isNative ? false : 'needs the native addon' }

if (isNative) {
  forEachSharingMethod(context => {
    test('a socket is an argument of a process, which talks to the client after the sender has closed its own', async () => {
      using pair = await connected()
      const child = new Process({ context, target: answer, args: [pair.accepted] })
      child.start()
      pair.accepted.destroy()
      pair.client.write('question')
      assert.equal(await textOf(pair.client), 'QUESTION')
      await pair.closed
      assert.equal(await child.result(), 'question')
      assert.equal(keptDescriptors(), 0)
    })

    test('sockets are items of a queue: each is fetched by the one who takes it', async () => {
      using queue = new Queue<Socket | null>()
      const children = [1, 2].map(
        () =>
          new Process({
            context,
            args: [queue],
            target: async (sockets: Queue<Socket | null>) => {
              let count = 0
              for (let socket = await sockets.get(); socket !== null; socket = await sockets.get()) {
                await answer(socket)
                count++
              }
              return count
            },
          }),
      )
      for (const child of children) child.start()
      const pairs = await Promise.all([1, 2, 3, 4].map(() => connected()))
      for (const [index, pair] of pairs.entries()) {
        await queue.put(pair.accepted)
        pair.accepted.destroy()
        pair.client.write(`number ${index}`)
      }
      const texts = await Promise.all(pairs.map(pair => textOf(pair.client)))
      assert.deepEqual(texts, ['NUMBER 0', 'NUMBER 1', 'NUMBER 2', 'NUMBER 3'])
      await Promise.all(pairs.map(pair => pair.closed))
      await queue.putMany([null, null])
      const counts = await Promise.all(children.map(child => child.result()))
      assert.equal(counts[0]! + counts[1]!, 4)
      for (const pair of pairs) pair[Symbol.dispose]()
      assert.equal(keptDescriptors(), 0)
    })

    test('C135 test_large_fd_transfer, C150: a socket and an end of a pipe go through a connection', async () => {
      using pair = await connected()
      const [here, there] = Pipe<unknown, unknown>()
      const child = new Process({
        context,
        args: [there],
        target: async (connection: PipeConnection) => {
          const [socket, end] = (await connection.recv()) as [Socket, PipeConnection]
          await end.send(await answer(socket))
          await connection.send(end)
          end.close()
        },
      })
      child.start()
      there.close()
      const [reader, writer] = Pipe<unknown, unknown>({ duplex: false })
      await here.send([pair.accepted, writer])
      pair.accepted.destroy()
      writer.close()
      pair.client.resume().write('through a pipe')
      assert.equal(await reader.recv(), 'through a pipe')
      const back = (await here.recv()) as PipeConnection
      await back.send('from here')
      assert.equal(await reader.recv(), 'from here')
      back.close()
      await child.join()
      await assert.rejects(reader.recv(), { code: 'ERR_CLOSED' })
      await pair.closed
      reader.close()
      here.close()
    })

    test('a pool takes sockets as arguments and items, and nothing keeps them open after the task', async () => {
      await using pool = new Pool({ processes: 2, context })
      using one = await connected()
      const pairs = await Promise.all([1, 2, 3].map(() => connected()))
      const single = pool.apply(answer, [one.accepted])
      const all = pool.map(
        answer,
        pairs.map(({ accepted }) => accepted),
      )
      one.client.write('one')
      for (const { client } of pairs) client.write('many')
      assert.equal(await single, 'one')
      assert.deepEqual(await all, ['many', 'many', 'many'])
      for (const pair of [one, ...pairs]) {
        pair.accepted.destroy()
        pair.client.resume()
        await pair.closed
        pair[Symbol.dispose]()
      }
      assert.equal(keptDescriptors(), 0)
    })

    test('C150: a pool returns sockets and ends of pipes, also from a worker that ends after the task', async () => {
      const server = await listening()
      server.on('connection', socket => socket.end('hello'))
      await using pool = new Pool({ processes: 1, context, maxTasksPerChild: 1 })
      const dial = async (port: number): Promise<Socket> => {
        const socket = connect(port, '127.0.0.1').pause()
        await once(socket, 'connect')
        return socket
      }
      const socket = await pool.apply(dial, [portOf(server)])
      assert.equal(await textOf(socket), 'hello')
      socket.destroy()
      const pipe = (): [unknown, unknown] => {
        const [a, b] = Pipe()
        return [a, b]
      }
      const [a, b] = (await pool.apply(pipe)) as [PipeConnection, PipeConnection]
      await a.send('made elsewhere')
      assert.equal(await b.recv(), 'made elsewhere')
      a.close()
      b.close()
      server.close()
      await once(server, 'close')
      assert.equal(keptDescriptors(), 0)
    })

    test('a captured server accepts in each worker of a pool, also in one that is started later', async () => {
      const server = await listening()
      const port = portOf(server)
      {
        await using pool = new Pool({ processes: 2, context, maxTasksPerChild: 1 })
        const accept = (name: string): Promise<string> => serve(server, name)
        const tasks = ['a', 'b', 'c', 'd'].map(name => pool.apply(accept, [name]))
        assert.equal(keptDescriptors(), 1, 'the same server is kept once for all calls')
        server.close()
        const texts = new Set<string>()
        while (texts.size < 4) {
          const client = connect(port, '127.0.0.1')
          // A worker that is about to end may leave a connection in the queue of the system, for the next one.
          texts.add(await textOf(client))
        }
        assert.deepEqual([...texts].sort(), ['a', 'b', 'c', 'd'])
        assert.deepEqual((await Promise.all(tasks)).sort(), ['a', 'b', 'c', 'd'])
        pool.close()
        await pool.join()
      }
      assert.equal(keptDescriptors(), 0)
    })

    test('a server that is only passed on accepts nothing on its way', async () => {
      const server = await listening()
      const port = portOf(server)
      using first = new Queue<Server>()
      using second = new Queue<Server>()
      const relay = new Process({
        context,
        args: [first, second],
        target: async (from: Queue<Server>, to: Queue<Server>) => {
          const passed = await from.get()
          assert.ok(passed.listening)
          await to.put(passed)
          passed.close()
        },
      })
      relay.start()
      await first.put(server)
      server.close()
      const client = connect(port, '127.0.0.1')
      await once(client, 'connect')
      await relay.join()
      const arrived = await second.get()
      assert.equal(portOf(arrived), port)
      const served = serve(arrived, 'the last one')
      assert.equal(await textOf(client), 'the last one')
      await served
      const refused = connect(port, '127.0.0.1')
      const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException]
      assert.equal(error.code, 'ECONNREFUSED')
    })

    test('bytes that wait in a socket are not read on its way, and arrive with it', async () => {
      using pair = await connected()
      pair.client.resume().write('sent before')
      using first = new Queue<Socket>()
      using second = new Queue<Socket>()
      const relay = new Process({
        context,
        args: [first, second],
        target: async (from: Queue<Socket>, to: Queue<Socket>) => {
          const socket = await from.get()
          // More turns of the event loop than a socket needs that reads ahead.
          for (let turn = 0; turn < 20; turn++) await new Promise(resolve => setImmediate(resolve))
          await to.put(socket)
          socket.destroy()
        },
      })
      relay.start()
      await first.put(pair.accepted)
      pair.accepted.destroy()
      const socket = await second.get()
      const [data] = (await once(socket, 'data')) as [Buffer]
      assert.equal(String(data), 'sent before')
      socket.destroy()
      await pair.closed
      await relay.join()
    })

    test('C134 test_fd_transfer: DupFd sends a file, and has it until it is closed', async () => {
      const file = process.argv[1]!
      const fd = openSync(file, 'r')
      const read = (sent: DupFd): [text: string, code: unknown] => {
        const text = readFileSync(sent.fd, 'utf8')
        sent.close()
        try {
          sent.detach()
          return [text, undefined]
        } catch (error) {
          return [text, (error as { code?: unknown }).code]
        }
      }
      const child = new Process({ context, target: read, args: [new DupFd(fd)] })
      child.start()
      closeSync(fd)
      assert.deepEqual(await child.result(), [readFileSync(file, 'utf8'), 'ERR_CLOSED'])
    })
  })
}

test('the same socket twice in a message is one socket there', onlyNative, async () => {
  using pair = await connected()
  using queue = new Queue<{ a: Socket; b: Socket }>()
  await queue.put({ a: pair.accepted, b: pair.accepted })
  const { a, b } = await queue.get()
  assert.equal(a, b)
  assert.notEqual(a, pair.accepted)
  assert.equal(a.remotePort, pair.client.localPort)
  a.destroy()
})

test('half of a connection that was ended stays so, and allowHalfOpen travels', onlyNative, async () => {
  using pair = await connected()
  using queue = new Queue<Socket>()
  pair.accepted.allowHalfOpen = true
  pair.accepted.end('last words')
  await once(pair.accepted, 'finish')
  await queue.put(pair.accepted)
  const socket = await queue.get()
  assert.equal(socket.writable, false)
  assert.equal(socket.allowHalfOpen, true)
  assert.equal(await textOf(pair.client), 'last words')
  socket.destroy()
})

test(
  'a server of a Unix socket keeps its address, and options for its connections travel',
  onlyNative,
  async () => {
    using queue = new Queue<Server>()
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
    const server = createServer({ pauseOnConnect: true }).listen(join(folder, 'socket'))
    await once(server, 'listening')
    server.maxConnections = 7
    await queue.put(server)
    const arrived = await queue.get()
    assert.equal(arrived.maxConnections, 7)
    assert.equal((arrived as unknown as { pauseOnConnect: boolean }).pauseOnConnect, true)
    assert.equal(arrived.address(), join(folder, 'socket'))
    for (const each of [arrived, server]) {
      each.close()
      await once(each, 'close')
    }
    rmSync(folder, { recursive: true })
  },
)

test(
  'a server without listeners takes no connection once it was sent, and those that wait when it has one',
  onlyNative,
  async () => {
    using queue = new Queue<Server>()
    const server = await listening()
    const port = portOf(server)
    await queue.put(server)
    const arrived = await queue.get()
    const first = connect(port, '127.0.0.1')
    await once(first, 'connect')
    for (let turn = 0; turn < 20; turn++) await new Promise(resolve => setImmediate(resolve))
    const byArrived = serve(arrived, 'arrived')
    assert.equal(await textOf(first), 'arrived')
    await byArrived
    assert.ok(server.listening)
    const second = connect(port, '127.0.0.1')
    await once(second, 'connect')
    const bySender = serve(server, 'sender')
    assert.equal(await textOf(second), 'sender')
    await bySender
  },
)

test('an HTTP server takes over a server that arrived', onlyNative, async () => {
  using queue = new Queue<Server>()
  const server = await listening()
  const port = portOf(server)
  await queue.put(server)
  server.close()
  const arrived = await queue.get()
  const http = createHttpServer((_request, response) => response.end('page')).listen(arrived)
  const response = await fetch(`http://127.0.0.1:${port}`, { headers: { connection: 'close' } })
  assert.equal(await response.text(), 'page')
  http.close()
  await once(http, 'close')
})

test('descriptors are the same open file, and none is left over', onlyNative, async () => {
  using queue = new Queue<DupFd>()
  const fd = openSync('/dev/null', 'r')
  await queue.put(new DupFd(fd))
  const arrived = await queue.get()
  const own = arrived.detach()
  assert.notEqual(own, fd)
  assert.equal(inodeOf({ fd: own }), inodeOf({ fd }))
  closeSync(own)
  await queue.put(new DupFd(fd))
  const closed = await queue.get()
  closed.close()
  closed.close()
  assert.throws(() => closed.detach(), { code: 'ERR_CLOSED' })
  closeSync(fd)
  await eventually(() => keptDescriptors() === 0)
  assert.throws(() => new DupFd(-1), RangeError)
})

test(
  'a socket object that was connected anew is another connection, also for a pool that has the first',
  onlyNative,
  async () => {
    await using pool = new Pool({ processes: 1, context: 'thread' })
    const ports = (socket: Socket): (number | undefined)[] => {
      const found = [socket.localPort, socket.remotePort]
      socket.destroy()
      return found
    }
    const server = await listening()
    server.on('connection', socket => socket.on('error', () => {}).resume())
    const client = connect(portOf(server), '127.0.0.1').pause()
    await once(client, 'connect')
    // The function keeps the first connection for the pool.
    const first = client.localPort
    const captured = (): (number | undefined)[] => ports(client)
    assert.deepEqual(await pool.apply(captured), [first, portOf(server)])
    client.destroy()
    await once(client, 'close')
    client.connect(portOf(server), '127.0.0.1').pause()
    await once(client, 'connect')
    assert.notEqual(client.localPort, first)
    assert.deepEqual(await pool.apply(captured), [client.localPort, portOf(server)])
    client.destroy()
    await pool.terminate()
    await pool.join()
    assert.equal(keptDescriptors(), 0)
    server.close()
    await once(server, 'close')
  },
)

test('what comes before the sender has closed its own is for the receiver', onlyNative, async () => {
  using queue = new Queue<Socket>()
  // Not paused: Node.js reads from it as soon as it was accepted.
  const server = await listening()
  const accepting = once(server, 'connection') as Promise<[Socket]>
  const client = connect(portOf(server))
  const [accepted] = await accepting
  await queue.put(accepted)
  client.write('hello')
  const received = await queue.get()
  const arrived = once(received, 'data')
  assert.equal(String((await arrived)[0]), 'hello')
  assert.equal(accepted.bytesRead, 0)
  for (const socket of [accepted, received, client]) socket.destroy()
  server.close()
  await once(server, 'close')
})
