/**
 * Shared objects in processes without shared memory, where that differs from shared memory: homes that end, clients that
 * are strangers or too many, answers that race with aborts. Everything else is in the tests of sync/, queue/ and memory/,
 * which run without the addon, too.
 */
import assert from 'node:assert/strict'
import { type Socket, connect } from 'node:net'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import {
  Barrier,
  Condition,
  Event,
  JoinableQueue,
  Lock,
  Pipe,
  type PipeConnection,
  Process,
  Queue,
  RLock,
  RawValue,
  Semaphore,
  ShareableList,
  SharedArray,
  SharedMemory,
  SharedValue,
  SimpleQueue,
  sharedArray,
  wait,
} from 'multiproc'
import { brokerServes, endClientsOf, homeAddress } from '#src/broker/home.js'
import { CLIENTS_MAX, encodeHello } from '#src/broker/protocol.js'
import { isRemote } from '#src/broker/shareable.js'
import { handleOf } from '#src/platform/heap-objects.js'
import { BLOCK, blockAt } from '#src/platform/heap-layout.js'
import { sharedHeap } from '#src/platform/shared-heap.js'
import { encode } from '#src/serialize/codec.js'
import { gatherFrames } from '#src/transport/frame-format.js'
import { checkLeaks } from '../leak-check.js'
import { client, endOf } from './client.js'
import { closedAfterKill, homeOf, takeHalf, useAll } from './tasks.js'

checkLeaks()

const closed = { code: 'ERR_CLOSED', message: /pid \d+\) has ended/ }

describe('without shared memory', { skip: sharedHeap().isNative }, () => {
  test('a child has all kinds of objects, each instance of its class, with all methods', async () => {
    const objects = {
      lock: new Lock(),
      rlock: new RLock(),
      semaphore: new Semaphore(2),
      condition: new Condition(),
      event: new Event(),
      barrier: new Barrier(1, { action: () => 'in the child' }),
      queue: new Queue(3),
      joinable: new JoinableQueue(),
      simple: new SimpleQueue(),
      value: new SharedValue('int32', 5),
      raw: new RawValue('float64', 0.5),
      array: new SharedArray('int16', [1, 2, 3]),
      text: new SharedArray('c', 'hello'),
      list: new ShareableList(['a', 1, null]),
      pipe: Pipe<string>(),
    }
    const child = new Process({ target: useAll, args: [objects], context: 'spawn' })
    child.start()
    assert.deepEqual(await child.result(), [])
    await child.join()
    assert.equal(objects.value.value, 7)
    assert.equal(objects.raw.value, 1.5)
    assert.deepEqual([...objects.array], [10, 9, 9])
    assert.equal(objects.text.value, 'hi')
    assert.deepEqual([...objects.list], ['b', 2, true])
    assert.equal(await objects.pipe[0].recv(), 'bye')
    for (const end of objects.pipe) end.close()
    objects.list.shm.close()
  })

  test('memory itself stays where it is, and says so', async () => {
    const refused = { code: 'ERR_NOT_SUPPORTED' }
    const memory = new SharedMemory({ size: 8 })
    const numbers = sharedArray(Float64Array, 2)
    for (const value of [memory, numbers]) assert.throws(() => encode(value), refused)
    const child = new Process({
      target: (array: SharedArray<'c'>, list: ShareableList) => {
        const codeOf = (action: () => unknown): unknown => {
          try {
            return action()
          } catch (error) {
            return (error as { code: string }).code
          }
        }
        return [codeOf(() => array.getObj()), codeOf(() => list.shm)]
      },
      args: [new SharedArray('c', 3), new ShareableList([1])],
      context: 'spawn',
    })
    child.start()
    assert.deepEqual(await child.result(), ['ERR_NOT_SUPPORTED', 'ERR_NOT_SUPPORTED'])
    await child.join()
    memory.close()
  })

  test('what comes home is the object itself, and from a third process it works as from the second', async () => {
    using toFirst = new Queue<Lock>()
    using toSecond = new Queue<Lock>()
    using back = new Queue<Lock | string>()
    const first = new Process({
      target: async () => {
        const lock = await toFirst.get()
        await lock.acquire()
        await toSecond.put(lock)
        await back.put(lock)
        // Held until the second has seen it.
        await toFirst.get()
        lock.release()
      },
      context: 'spawn',
    })
    const second = new Process({
      target: async () => {
        const lock = await toSecond.get()
        const isFree = await lock.acquire({ timeout: 0 })
        await back.put(`free: ${isFree}`)
        await lock.acquire()
        lock.release()
      },
      context: 'spawn',
    })
    first.start()
    second.start()
    const lock = new Lock()
    await toFirst.put(lock)
    const seen = [await back.get(), await back.get()]
    assert.ok(seen.includes(lock))
    assert.ok(seen.includes('free: false'))
    await toFirst.put(lock)
    assert.equal(await first.join(), 0)
    assert.equal(await second.join(), 0)
    assert.equal(lock.locked(), false)
  })

  test('a child is the home of what it makes, for its parent and for its own threads', async () => {
    using made = new Queue<{ lock: Lock; numbers: Queue<number>; end: PipeConnection<string> }>()
    const child = new Process({ target: homeOf, args: [made], context: 'spawn', daemon: true })
    child.start()
    const { lock, numbers, end } = await made.get()
    assert.ok(isRemote(lock) && isRemote(numbers) && isRemote(end))
    assert.match(
      inspect([lock, numbers, end]),
      /<Lock free>.*<Queue size=0 .*<PipeConnection readable writable>/s,
    )
    assert.equal(await lock.acquire(), true)
    await numbers.put(1)
    assert.equal(await end.recv(), 'got 1 while the lock was held: true')
    assert.deepEqual(await wait([numbers, end], { timeout: 5 }), [])
    lock.release()
    assert.deepEqual(await wait([numbers, end]), [end])
    assert.equal(await end.recv(), 'released')
    end.close()
    assert.equal(await child.join(), 0)
    await assert.rejects(lock.acquire(), closed)
  })

  test('when the home of an object is killed, all who wait for it are told', async () => {
    using made = new Queue<{ lock: Lock; numbers: Queue<number>; end: PipeConnection<string> }>()
    for (const isBlocking of [false, true]) {
      const child = new Process({ target: closedAfterKill, args: [made], context: 'spawn', daemon: true })
      child.start()
      const { lock, numbers, end } = await made.get()
      await numbers.put(0)
      if (isBlocking) {
        // It kills itself when somebody waits in its queue.
        assert.throws(() => numbers.getSync(), closed)
        assert.throws(() => lock.acquireSync(), closed)
      } else {
        const waits = [
          lock.acquire(),
          numbers.get(),
          end.recv(),
          wait([numbers, end]).then(() => Promise.reject(numbers.size)),
        ]
        const outcomes = await Promise.allSettled(waits)
        for (const outcome of outcomes) assert.equal(outcome.status, 'rejected')
        for (const { reason } of outcomes.slice(0, 3) as PromiseRejectedResult[]) {
          assert.match(String(reason), /ClosedError: .* has ended/)
        }
      }
      assert.throws(() => lock.release(), closed)
      assert.match(inspect(lock), /<Lock of a process that has ended>/)
      await assert.rejects(
        (async () => {
          for await (const number of numbers) assert.fail(`got ${number}`)
        })(),
        closed,
      )
      numbers.close()
      end.close()
      await child.join()
      assert.equal(child.exitCode, -9)
    }
  })

  test('an item is not lost between a timeout, or an abort, and its answer', async () => {
    using queue = new Queue<number>()
    const child = new Process({ target: takeHalf, args: [queue], context: 'spawn' })
    child.start()
    const count = 300
    for (let number = 0; number < count; number++) {
      await queue.put(number)
      // Sleep: the child's timeouts of 0 to 3 ms shall fall before, into and behind the gaps between items.
      await new Promise(resolve => setTimeout(resolve, number % 4))
    }
    queue.shutdown()
    assert.deepEqual(
      await child.result(),
      Array.from({ length: count }, (_, number) => number),
    )
    await child.join()
  })

  test('a party that gives up while it comes in breaks the barrier', async () => {
    const child = new Process({
      target: async (barrier: Barrier) => {
        const stop = new AbortController()
        const waiting = barrier.wait({ signal: stop.signal }).catch((error: Error) => error.message)
        stop.abort(new Error('no longer'))
        return [await waiting, barrier.isBroken]
      },
      args: [new Barrier(2)],
      context: 'spawn',
    })
    child.start()
    assert.deepEqual(await child.result(), ['no longer', true])
    await child.join()
  })

  test('a queue that was closed while it puts can be received again, and what it puts arrives', async () => {
    using queue = new Queue<string>(1)
    using queues = new Queue<Queue<string>>()
    await queue.put('first')
    await queues.putMany([queue])
    await queues.putMany([queue])
    const child = new Process({
      target: async () => {
        const closing = await queues.get()
        const putting = closing.put('second')
        closing.close()
        const again = await queues.get()
        const seen = [again === closing, again.isClosed, await again.get()]
        await putting
        return [...seen, await again.get()]
      },
      context: 'spawn',
    })
    child.start()
    assert.deepEqual(await child.result(), [false, false, 'first', 'second'])
    await child.join()
  })

  test('a lock that arrives with what it belongs to is counted once', async () => {
    const { words } = sharedHeap()
    for (const whole of [new Condition(), new SharedArray('int8', 1)]) {
      using queue = new Queue<Condition | SharedArray<'int8'>>()
      const lock = whole instanceof Condition ? whole.lock : whole.getLock()
      await queue.put(whole)
      await queue.put(whole)
      const child = new Process({
        target: async () => {
          const arrived = await queue.get()
          // An answer: it has been opened.
          await arrived.acquire()
          arrived.release()
          return String(arrived)
        },
        context: 'spawn',
      })
      child.start()
      await child.result()
      await child.join()
      for (const object of [whole, lock]) {
        assert.equal(Atomics.load(words, blockAt(handleOf(object).index) + BLOCK.inFlight), 1)
      }
      assert.equal(await queue.get(), whole)
    }
  })

  test('many children may end at once', async () => {
    await brokerServes()
    const warnings: Error[] = []
    const warned = (warning: Error): void => void warnings.push(warning)
    process.on('warning', warned)
    await Promise.all(Array.from({ length: 20 }, (_, index) => endClientsOf(2 ** 31 + index)))
    process.off('warning', warned)
    assert.deepEqual(warnings, [])
  })

  test('what was put right before process.exit() is in the queue', async () => {
    using queue = new Queue<string>()
    const child = new Process({
      target: () => {
        void queue.put('not awaited')
        process.exit(0)
      },
      context: 'spawn',
    })
    child.start()
    assert.equal(await queue.get(), 'not awaited')
    await child.join()
  })

  test('a condition over the lock of another process stays in its process, and says so', async () => {
    const child = new Process({
      target: (lock: Lock) => {
        const condition = new Condition(lock)
        lock.acquireSync()
        // Here it works.
        const isNotified = condition.waitSync({ timeout: 5 })
        lock.release()
        return [isNotified, condition]
      },
      args: [new Lock()],
      context: 'spawn',
    })
    child.start()
    await assert.rejects(child.result(), {
      code: 'ERR_RESULT_NOT_SERIALIZABLE',
      message: /its lock was made in another/,
    })
    await child.join()
  })

  test('a blocked home serves its children', async () => {
    const lock = new Lock()
    const event = new Event()
    await lock.acquire()
    const child = new Process({
      target: () => {
        event.set()
        return lock.acquireSync({ timeout: 0 })
      },
      context: 'spawn',
    })
    child.start()
    // Nothing of this thread's event loop runs until the child has set it.
    assert.equal(event.waitSync({ timeout: 60_000 }), true)
    assert.equal(await child.result(), false)
    await child.join()
    lock.release()
  })

  test('who does not know the secret is sent away, and so is who sends something else than frames', async () => {
    await brokerServes()
    const { path, pid } = homeAddress()
    const wrong = { path, pid, secret: 'ab'.repeat(32) }
    const greetings = [
      ...gatherFrames([encodeHello(wrong, process.pid)]),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      ...gatherFrames([new Uint8Array(100_000)]),
    ]
    for (const greeting of greetings) {
      const socket = connect(path)
      socket.on('error', () => {})
      socket.resume()
      socket.write(greeting)
      await endOf(socket)
    }
    // A client that becomes unreadable is refused, and others are served.
    const stranger = await client()
    stranger.connection.send(Uint8Array.of(1, 2, 3))
    assert.equal((await stranger.answer)?.kind, 'refused')
    await endOf(stranger.socket)
    const lock = new Lock()
    const child = new Process({ target: () => lock.acquireSync(), context: 'spawn' })
    child.start()
    assert.equal(await child.result(), true)
    await child.join()
  })

  test('an object whose memory its home has forgotten is closed, and others are served', async () => {
    const its = await client()
    const array = new SharedArray('int8', 1)
    // It has a block from now on.
    encode(array)
    // As if the block had been given to another: nothing is kept for a handle that means nothing any more.
    handleOf(array).generation++
    its.say({ kind: 'open', object: 1, bytes: encode(array) })
    const answer = await its.call(1, 1, 'get', 0)
    assert.equal(answer.kind === 'failure' && (answer.error as { code: string }).code, 'ERR_CLOSED')
    its.say({ kind: 'open', object: 2, bytes: encode(new Lock()) })
    assert.equal((await its.call(2, 2, 'locked')).kind, 'answer')
    its.socket.destroy()
    await endOf(its.socket)
  })

  test('more clients than a home serves are refused with ERR_LIMIT', async () => {
    const sockets: Socket[] = []
    using closing = { [Symbol.dispose]: () => sockets.forEach(socket => socket.destroy()) }
    assert.ok(closing)
    let refusal: { code?: string } | undefined
    while (refusal === undefined && sockets.length <= CLIENTS_MAX + 1) {
      const { socket, connection, answer } = await client()
      sockets.push(socket)
      // Answered, or refused: either way it says something.
      connection.send(encode({ kind: 'ping', call: 1 }))
      const frame = await answer
      if (frame?.kind === 'refused') refusal = frame.error as { code: string }
    }
    assert.equal(refusal?.code, 'ERR_LIMIT')
    assert.equal(sockets.length, CLIENTS_MAX + 1)
    for (const socket of sockets) {
      socket.destroy()
      await endOf(socket)
    }
  })
})
