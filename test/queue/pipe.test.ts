/** Pipe: both directions, its ends in other processes and threads, and how it ends whatever becomes of them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { BLOCK, HEADER, blockAt } from '#src/platform/heap-layout.js'
import { sharedHeap } from '#src/platform/shared-heap.js'
import { Pipe, PipeConnection, Process, Queue } from 'multiproc'
import { checkLeaks, eventually, isRunning } from '../leak-check.js'
import { Message } from './messages.js'
import { randomNumbers, seed } from './random-numbers.js'
import { forEachSharingMethod } from './sharing-methods.js'

checkLeaks()

const closed = { code: 'ERR_CLOSED' }
const late = { code: 'ERR_TIMEOUT' }

/** The blocks of which a handle is on its way. */
function onTheirWay(words: Int32Array): number[] {
  return Array.from({ length: words[HEADER.blockLimit]! }, (_, index) => blockAt(index)).filter(
    at => words[at + BLOCK.inFlight]! > 0,
  )
}

describe('within one process', () => {
  test('an end that was sent is open until it arrives, and not for ever when it got lost', async () => {
    const [here, there] = Pipe<string>()
    const { words } = sharedHeap()
    const before = onTheirWay(words)
    const message = new Message(there)
    const sent = onTheirWay(words).filter(at => !before.includes(at))
    there.close()
    assert.equal(await here.poll(), false)
    // As if it had been sent long ago.
    for (const at of sent) words[at + BLOCK.sentAt]! -= 31
    assert.equal(await here.poll(), true)
    await assert.rejects(here.recv(), closed)
    await assert.rejects(here.send('nobody'), closed)
    // It was only late.
    const late = message.read()
    await here.send('somebody')
    assert.equal(await late.recv(), 'somebody')
    late.close()
    await assert.rejects(here.recv(), closed)
    here.close()
  })

  test('an end that waits elsewhere for a message hears of the last end that was on its way', async () => {
    const [here, there] = Pipe<string>()
    const message = new Message(there)
    there.close()
    const received = here.recv()
    message.read().close()
    await assert.rejects(received, closed)
    here.close()
  })

  test('what one end sends the other receives, in both directions', async () => {
    const [a, b] = Pipe()
    await a.send({ to: 'b' })
    await b.send(['to', 'a'])
    assert.deepEqual(await b.recv(), { to: 'b' })
    assert.deepEqual(await a.recv(), ['to', 'a'])
    a.close()
    b.close()
  })

  test('send() waits while the pipe is full, and everything arrives in order', async () => {
    const [reader, writer] = Pipe<string>({ duplex: false })
    const sends = Array.from({ length: 100 }, (_, index) => writer.send(`${index} `.padEnd(5000, '.')))
    await assert.rejects(writer.send('late', { timeout: 1 }), late)
    await assert.rejects(writer.send('late', { timeout: 0 }), late)
    assert.throws(() => writer.sendSync('late', { timeout: 1 }), late)
    writer.close()
    let next = 0
    for await (const text of reader) assert.ok(text.startsWith(`${next++} `))
    assert.equal(next, 100)
    await Promise.all(sends)
    reader.close()
  })

  test('messages that are larger than the pipe pass, and many of them make the sender wait', async () => {
    const [reader, writer] = Pipe<Uint8Array>({ duplex: false })
    const large = new Uint8Array(5_000_000).map((_, index) => index * 7)
    const sends = Array.from({ length: 4 }, () => writer.send(large))
    for (let left = 4; left > 0; left--) assert.ok(Buffer.from(await reader.recv()).equals(large))
    await Promise.all(sends)
    reader.close()
    writer.close()
  })

  test('recv() ends with its timeout or signal, and when its own end is closed', async () => {
    const [a, b] = Pipe<number>()
    await assert.rejects(a.recv({ timeout: 0 }), late)
    await assert.rejects(a.recv({ timeout: 3 }), late)
    assert.throws(() => a.recvSync({ timeout: 3 }), late)
    const reason = new Error('enough')
    const controller = new AbortController()
    const received = a.recv({ signal: controller.signal })
    controller.abort(reason)
    await assert.rejects(received, reason)
    const waiting = a.recv()
    a.close()
    await assert.rejects(waiting, closed)
    b.close()
  })

  test('when the other end is closed, what it sent still comes, then recv() and send() reject', async () => {
    const [a, b] = Pipe<number>()
    const [c, d] = Pipe<number>()
    const waiting = c.recv()
    d.close()
    await assert.rejects(waiting, closed)
    await b.send(1)
    b.close()
    assert.ok(await a.poll())
    assert.equal(await a.recv(), 1)
    assert.ok(a.pollSync())
    await assert.rejects(a.recv(), closed)
    assert.throws(() => a.recvSync(), closed)
    await assert.rejects(a.send(1), closed)
    a.close()
    c.close()
  })

  test('what cannot be sent rejects send(), and nothing was sent', async () => {
    const [a, b] = Pipe()
    await assert.rejects(a.send(new WeakMap()), { code: 'ERR_NOT_SERIALIZABLE' })
    assert.equal(await b.poll(), false)
    a.close()
    b.close()
  })

  test('an end that nobody uses any more counts as closed', async () => {
    setFlagsFromString('--expose-gc')
    const collectGarbage = runInNewContext('gc') as () => void
    const [a] = Pipe()
    await eventually(() => {
      collectGarbage()
      return a.pollSync()
    })
    await assert.rejects(a.recv(), closed)
    a.close()
  })

  test('an end prints what it is, and is not made with new', () => {
    const [reader, writer] = Pipe({ duplex: false })
    assert.equal(inspect(reader), '<PipeConnection readable>')
    assert.equal(inspect(writer), '<PipeConnection writable>')
    reader.close()
    assert.equal(inspect(reader), '<PipeConnection closed>')
    writer.close()
    assert.throws(() => new PipeConnection(), { code: 'ERR_INVALID_ARGUMENT' })
  })
})

forEachSharingMethod(context => {
  test('an end passes to a child, and the blocking forms answer each other', async () => {
    const [here, there] = Pipe<number>()
    const child = new Process({
      context,
      args: [there],
      target: (there: PipeConnection<number>) => {
        for (let value = there.recvSync(); value >= 0; value = there.recvSync()) there.sendSync(value + 1)
      },
    })
    child.start()
    for (let value = 0; value < 200; value++) {
      here.sendSync(value)
      assert.equal(here.recvSync(), value + 1)
    }
    here.sendSync(-1)
    assert.equal(await child.join(), 0)
    here.close()
    there.close()
  })

  test('recv() rejects when the child that had the other end was killed', async () => {
    const [here, there] = Pipe<number>()
    const child = new Process({
      context,
      daemon: true,
      args: [there],
      target: async (there: PipeConnection<number>) => {
        await there.send(1)
        await there.recv()
      },
    })
    child.start()
    there.close()
    assert.equal(await here.recv(), 1)
    const received = here.recv()
    child.kill()
    await assert.rejects(received, closed)
    await assert.rejects(here.send(2), closed)
    here.close()
    await child.join()
  })

  test('an end that was closed here right after the start arrives all the same', async () => {
    const [here, there] = Pipe<string>()
    const child = new Process({ context, target: async () => there.send('arrived') })
    child.start()
    there.close()
    assert.equal(await here.recv(), 'arrived')
    await child.join()
    await assert.rejects(here.recv(), closed)
    here.close()
  })

  test('an end passes through a queue to a child that runs already', async () => {
    using queue = new Queue<PipeConnection<string>>()
    const child = new Process({
      context,
      target: async () => {
        const there = await queue.get()
        await there.send('through a queue')
      },
    })
    child.start()
    const [here, there] = Pipe<string>()
    await queue.put(there)
    there.close()
    assert.equal(await here.recv(), 'through a queue')
    await child.join()
    here.close()
  })

  test('senders that are killed at random moments: what comes is the beginning of what they sent', async () => {
    const random = randomNumbers(seed)
    for (let round = 0; round < 3; round++) {
      const [here, there] = Pipe<[number, Uint8Array]>()
      const child = new Process({
        context,
        daemon: true,
        args: [there],
        target: (there: PipeConnection<[number, Uint8Array]>) => {
          for (let number = 0; ; number++) {
            there.sendSync([number, new Uint8Array(number % 50 === 9 ? 50_000 : number % 100).fill(number)])
          }
        },
      })
      child.start()
      there.close()
      let next = 0
      let killAt = 20 + random(400)
      for await (const [number, bytes] of here) {
        assert.equal(number, next++)
        assert.ok(bytes.every(byte => byte === (number & 255)))
        if (--killAt === 0) child.kill()
      }
      assert.ok(killAt <= 0)
      await child.join()
      here.close()
    }
  })
})

test(
  'ends that were returned, or put into a queue, work although their sender has ended or was killed',
  { skip: sharedHeap().isNative ? false : 'without the addon, a pipe ends with the process that made it' },
  async () => {
    using queue = new Queue<[PipeConnection, PipeConnection]>()
    const returning = new Process({
      target: (): PipeConnection[] => Pipe(),
    })
    const putting = new Process({
      args: [queue],
      target: async (to: Queue<PipeConnection[]>) => {
        await to.put(Pipe({ duplex: false }))
        process.kill(process.pid, 'SIGKILL')
      },
    })
    for (const child of [returning, putting]) child.start()
    for (const child of [returning, putting]) {
      // Sleep: this thread must not look at what has arrived before both have ended, so it blocks.
      while (isRunning(child.pid!)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
      await child.join()
    }
    for (const ends of [await returning.result(), await queue.get()]) {
      const [reader, writer] = ends as [PipeConnection, PipeConnection]
      await writer.send('arrived')
      assert.equal(await reader.recv(), 'arrived')
      writer.close()
      await assert.rejects(reader.recv(), closed)
      reader.close()
    }
  },
)
