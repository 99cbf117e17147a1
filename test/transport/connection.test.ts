import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { MessageChannel } from 'node:worker_threads'
import { lend } from '#src/platform/arena.js'
import { HAS_DOORBELL } from '#src/platform/child-channel.js'
import { sharedHeap } from '#src/platform/shared-heap.js'
import { attachedPieces } from '#src/transport/attached-frame.js'
import { HIGH_WATER_BYTES, type Connection } from '#src/transport/connection.js'
import { createPortChannel, PortConnection } from '#src/transport/port-connection.js'
import { RingConnection } from '#src/transport/ring-connection.js'
import { SocketConnection } from '#src/transport/socket-connection.js'
import { socketPath } from '../latch.js'
import { checkLeaks, eventually } from '../leak-check.js'

checkLeaks()

const seed = Number(process.env['SEED'] ?? 1)

/** Park and Miller's generator: the same numbers for the same seed. */
function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString()
}

function randomFrom(start: number): () => number {
  let state = (start % 2_147_483_646) + 1
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
}

async function socketPair(): Promise<[Socket, Socket]> {
  const folder = mkdtempSync(join(tmpdir(), 'multiproc-'))
  const server = createServer().listen(socketPath(folder))
  await once(server, 'listening')
  const client = connect(socketPath(folder))
  const [accepted] = (await once(server, 'connection')) as [Socket]
  server.close()
  rmSync(folder, { recursive: true })
  return [client, accepted]
}

const pairs: Record<string, () => Promise<[Connection, Connection]>> = {
  async socket() {
    const [a, b] = await socketPair()
    return [new SocketConnection(a), new SocketConnection(b)]
  },
  ...(sharedHeap().isNative && HAS_DOORBELL
    ? {
        async ring(): Promise<[Connection, Connection]> {
          const [a, b] = await socketPair()
          const { connection, end } = RingConnection.create(a)
          return [connection, RingConnection.attach(b, end)]
        },
      }
    : {}),
  async port() {
    const [a, b] = createPortChannel()
    return [new PortConnection(a), new PortConnection(b)]
  },
}

function collect(connection: Connection): { frames: Uint8Array[]; closed: Promise<Error | undefined> } {
  const frames: Uint8Array[] = []
  connection.onMessage = bytes => frames.push(bytes)
  return { frames, closed: new Promise(resolve => (connection.onClose = resolve)) }
}

for (const [kind, makePair] of Object.entries(pairs)) {
  describe(kind, () => {
    test('send() keeps frames whole and in order, of every size', async () => {
      const [a, b] = await makePair()
      const sizes = [0, 1, 7, 8, 65_535, 65_536, 65_537, 0, 32_768, 50_000_000, 3]
      const { frames, closed } = collect(b)
      for (const [index, size] of sizes.entries()) a.send(Buffer.alloc(size, index))
      a.close()
      assert.equal(await closed, undefined)
      assert.deepEqual(
        frames.map(frame => frame.length),
        sizes,
      )
      for (const [index, frame] of frames.entries()) {
        assert.ok(
          frame.every(byte => byte === index),
          `frame ${index}`,
        )
      }
    })

    test(`frames around the size of a ring pass in both directions at once, and none stalls (SEED=${seed})`, async () => {
      const random = randomFrom(seed)
      const [a, b] = await makePair()
      const received = [a, b].map(collect)
      const sent = [0, 0]
      const total = 400
      for (let round = 0; round < total; round++) {
        for (const [side, connection] of [a, b].entries()) {
          const size = Math.floor(random() < 0.5 ? random() * 600_000 : random() * 300)
          connection.send(Buffer.alloc(size, round & 0xff))
          sent[side]! += size
          // The other side gets to read now and then, and so is asleep, awake or behind when the next one comes.
          if (random() < 0.3) await new Promise(resolve => setImmediate(resolve))
        }
      }
      for (const side of [0, 1]) {
        const { frames } = received[1 - side]!
        await eventually(() => frames.length === total)
        assert.equal(
          frames.reduce((sum, frame) => sum + frame.length, 0),
          sent[side],
        )
        for (const [round, frame] of frames.entries()) {
          assert.ok(
            frame.every(byte => byte === (round & 0xff)),
            `frame ${round}`,
          )
        }
      }
      a.close()
      await received[1]!.closed
    })

    test('a message arrives whether it was expected or not, and at whatever moment of a vigil it comes', async () => {
      const [a, b] = await makePair()
      let next: () => void
      b.onMessage = bytes => {
        b.send(bytes)
        b.expectSoon()
      }
      a.onMessage = () => next()
      for (let round = 0; round < 3000; round++) {
        // Busy for up to twice as long as a vigil lasts, so that its end is met as well.
        const until = performance.now() + (round % 100) * 0.002
        await new Promise<void>(resolve => {
          next = resolve
          a.send(Buffer.from([round & 0xff]))
          if (round % 3 > 0) a.expectSoon()
          while (performance.now() < until);
        })
      }
      a.close()
      b.close()
    })

    test('large data beside a message arrives as the memory of the receiver, in order with other frames', async () => {
      const [a, b] = await makePair()
      const received: [string, readonly unknown[]][] = []
      b.onMessage = (bytes, attachments) => received.push([textOf(bytes), attachments])
      const closed = new Promise(resolve => (b.onClose = resolve))
      const data = new Uint8Array(300_000).map((_, index) => index)
      const lent = lend(data, { isReadOften: false })
      const beside = [Uint8Array.from(data).buffer, ...(lent === undefined ? [] : [lent]), new ArrayBuffer(0)]
      const lengths = beside.map(({ byteLength }) => byteLength)
      a.send(Buffer.from('before'))
      a.send(Buffer.from('with'), beside)
      lent?.release()
      data.fill(0)
      a.send(Buffer.from('after'))
      // The port goes on using what its thread was lent until that has answered.
      if (kind !== 'port') a.close()
      await eventually(() => received.length === 3)
      a.close()
      await closed
      assert.deepEqual(
        received.map(([text]) => text),
        ['before', 'with', 'after'],
      )
      const [, attachments] = received[1]!
      assert.deepEqual(
        attachments.map(item => (item as ArrayBuffer).byteLength),
        lengths,
      )
      for (const item of attachments) {
        assert.ok(item instanceof ArrayBuffer)
        assert.ok(new Uint8Array(item).every((byte, index) => byte === (index & 0xff)))
      }
    })

    test('close() delivers what was sent before, and onClose comes after the last onMessage', async () => {
      const [a, b] = await makePair()
      const events: string[] = []
      b.onMessage = bytes => events.push(textOf(bytes))
      const closed = new Promise<void>(resolve => {
        b.onClose = () => {
          events.push('close')
          resolve()
        }
      })
      for (let index = 0; index < 1000; index++) a.send(Buffer.from(`${index}`))
      a.close()
      a.close()
      await closed
      assert.deepEqual(events, [...Array.from({ length: 1000 }, (_, index) => `${index}`), 'close'])
    })

    test('send() throws ClosedError after either side closed', async () => {
      const [a, b] = await makePair()
      const { closed } = collect(b)
      a.close()
      assert.throws(() => a.send(Buffer.from('x')), { code: 'ERR_CLOSED' })
      await closed
      assert.throws(() => b.send(Buffer.from('x')), { code: 'ERR_CLOSED' })
    })

    test('frames that arrive before onMessage is set wait for it, and so does the end', async () => {
      const [a, b] = await makePair()
      const aClosed = new Promise(resolve => (a.onClose = resolve))
      let isClosed = false
      b.onClose = () => (isClosed = true)
      for (const text of ['one', 'two', 'three']) a.send(Buffer.from(text))
      a.close()
      await aClosed
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
      assert.equal(isClosed, false)
      const { frames, closed } = collect(b)
      await closed
      assert.deepEqual(frames.map(textOf), ['one', 'two', 'three'])
    })

    test('onMessage may be taken away and set again without losing a frame', async () => {
      const [a, b] = await makePair()
      for (let index = 0; index < 10; index++) a.send(Buffer.from(`${index}`))
      const first = await new Promise<string>(resolve => {
        b.onMessage = bytes => {
          b.onMessage = undefined
          resolve(textOf(bytes))
        }
      })
      const { frames, closed } = collect(b)
      a.close()
      await closed
      assert.deepEqual(
        [first, ...frames.map(textOf)],
        Array.from({ length: 10 }, (_, index) => `${index}`),
      )
    })

    test('onClose is called although it is set after the end', async () => {
      const [a, b] = await makePair()
      b.onMessage = () => {}
      const aClosed = new Promise(resolve => (a.onClose = resolve))
      a.close()
      await aClosed
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
      assert.equal(await new Promise(resolve => (b.onClose = resolve)), undefined)
    })

    test('bufferedBytes falls to 0 and onDrain is called when a slow reader has taken everything', async () => {
      const [a, b] = await makePair()
      let drains = 0
      a.onDrain = () => drains++
      const { frames } = collect(b)
      a.send(Buffer.alloc(100))
      await eventually(() => frames.length === 1 && a.bufferedBytes === 0)
      assert.equal(drains, 0, 'a small message owes no drain')
      const parts = 40
      for (let index = 0; index < parts; index++) a.send(Buffer.alloc(HIGH_WATER_BYTES))
      assert.ok(a.bufferedBytes > HIGH_WATER_BYTES)
      await new Promise<void>(resolve => {
        a.onDrain = resolve
      })
      assert.equal(a.bufferedBytes, 0)
      await eventually(() => frames.length === parts + 1)
      a.close()
      b.close()
    })

    test('abort() ends both sides', async () => {
      const [a, b] = await makePair()
      const { closed } = collect(b)
      const aClosed = new Promise(resolve => (a.onClose = resolve))
      const why = new Error('because')
      a.abort(why)
      assert.equal(await aClosed, why)
      await closed
    })

    test('onMessage is not called after close()', async () => {
      const [a, b] = await makePair()
      const { frames } = collect(b)
      const aClosed = new Promise(resolve => (a.onClose = resolve))
      a.send(Buffer.from('too late'))
      a.flush()
      b.close()
      await aClosed
      assert.deepEqual(frames, [])
    })
  })
}

test('SocketConnection delivers what a dying peer had said, although a write to it fails first', async () => {
  const [a, b] = await pairs['socket']!()
  for (let index = 0; index < 50; index++) b.send(Buffer.alloc(1000, index))
  b.flush()
  b.abort()
  await new Promise(resolve => (b.onClose = resolve))
  for (let index = 0; index < 50; index++) {
    if ((a as SocketConnection).isOpen) {
      a.send(Buffer.alloc(1000))
      a.flush()
    }
  }
  const { frames, closed } = collect(a)
  assert.equal(await closed, undefined)
  assert.equal(frames.length, 50)
})

test('SocketConnection says so when the stream ends inside a message', async () => {
  const [raw, accepted] = await socketPair()
  const { closed } = collect(new SocketConnection(accepted))
  raw.end(Buffer.from([100, 0, 0]))
  assert.equal(((await closed) as NodeJS.ErrnoException).code, 'ERR_CLOSED')
})

test('SocketConnection closes with ERR_PROTOCOL on garbage, and delivers no frame of it', async () => {
  const [raw, accepted] = await socketPair()
  const { frames, closed } = collect(new SocketConnection(accepted))
  raw.on('error', () => {})
  raw.write('GET / HTTP/1.1\r\n\r\n')
  assert.equal(((await closed) as NodeJS.ErrnoException).code, 'ERR_PROTOCOL')
  assert.deepEqual(frames, [])
})

test('SocketConnection refuses attachments that only a thread can take', async () => {
  const [a, b] = await pairs['socket']!()
  assert.equal(a.canAttach, false)
  assert.throws(() => a.send(Buffer.from('x'), [new SharedArrayBuffer(8)]), TypeError)
  collect(b)
  a.close()
})

test('a message whose large data lacks a piece at the end of the stream is an end inside a message', async () => {
  const [socket, other] = await socketPair()
  const connection = new SocketConnection(other)
  const { frames, closed } = collect(connection)
  const pieces = attachedPieces(Buffer.from('message'), [new ArrayBuffer(10)], undefined)
  for (const piece of pieces.slice(0, 2)) socket.write(piece)
  socket.end()
  assert.equal(((await closed) as NodeJS.ErrnoException).code, 'ERR_CLOSED')
  assert.deepEqual(frames, [])
})

for (const [what, damage] of Object.entries({
  'a table longer than its frame': (head: Buffer) => head.writeUInt32LE(1000, 8),
  'a length that is none': (head: Buffer) => head.writeDoubleLE(-1, 24),
  'a piece of another length': (head: Buffer) => head.writeDoubleLE(11, 24),
})) {
  test(`SocketConnection closes with ERR_PROTOCOL on ${what}, and delivers nothing of it`, async () => {
    const [socket, other] = await socketPair()
    const connection = new SocketConnection(other)
    const { frames, closed } = collect(connection)
    const pieces = attachedPieces(Buffer.from('message'), [new ArrayBuffer(10)], undefined)
    damage(pieces[0] as Buffer)
    for (const piece of pieces) socket.write(piece)
    assert.equal(((await closed) as NodeJS.ErrnoException).code, 'ERR_PROTOCOL')
    assert.deepEqual(frames, [])
    socket.destroy()
  })
}

test('PortConnection shares SharedArrayBuffers, moves ArrayBuffers and MessagePorts, in order with other frames', async () => {
  const [a, b] = await pairs['port']!()
  const received: [string, readonly unknown[]][] = []
  b.onMessage = (bytes, attachments) => received.push([textOf(bytes), attachments])
  const closed = new Promise(resolve => (b.onClose = resolve))
  const shared = new SharedArrayBuffer(4)
  const moved = new ArrayBuffer(8)
  const { port1, port2 } = new MessageChannel()
  a.send(Buffer.from('before'))
  a.send(Buffer.from('with'), [shared, moved, port2])
  a.send(Buffer.from('after'))
  a.close()
  await closed
  assert.deepEqual(
    received.map(([text, attachments]) => [text, attachments.length]),
    [
      ['before', 0],
      ['with', 3],
      ['after', 0],
    ],
  )
  assert.equal(moved.byteLength, 0)
  new Int32Array(shared)[0] = 42
  assert.equal(new Int32Array(received[1]![1][0] as SharedArrayBuffer)[0], 42)
  assert.equal((received[1]![1][1] as ArrayBuffer).byteLength, 8)
  port1.close()
})

test('PortConnection throws at send() for an attachment that cannot travel, and goes on', async () => {
  const [a, b] = await pairs['port']!()
  const { frames, closed } = collect(b)
  const moved = new ArrayBuffer(8)
  assert.throws(() => a.send(Buffer.from('x'), [moved, moved]), { name: 'DataCloneError' })
  a.send(Buffer.from('still well'))
  a.close()
  await closed
  assert.deepEqual(frames.map(textOf), ['still well'])
})
