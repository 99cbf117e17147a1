/** Waits for locks and queues, as channels and traces show them: those that have to wait, and no others. */
import assert from 'node:assert/strict'
import { tracingChannel } from 'node:diagnostics_channel'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import {
  JoinableQueue,
  Lock,
  type LockWaitMessage,
  Pool,
  Queue,
  type QueueWaitMessage,
  RLock,
  Semaphore,
  SimpleQueue,
  startTrace,
} from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks } from '../leak-check.js'
import { assertInside, eventsIn, periodsOf, spansOf } from './trace-format.js'

checkLeaks()

const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const EVENTS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'] as const

/** What a channel tells while `work` runs: the name of each event with its message. */
async function told<Message extends object>(
  name: string,
  work: () => unknown,
): Promise<[event: string, message: Message][]> {
  const log: [string, Message][] = []
  const channel = tracingChannel<unknown, object>(name)
  const listeners = EVENTS.map(event => {
    const listener = (message: unknown): void => void log.push([event, message as Message])
    channel[event].subscribe(listener)
    return () => channel[event].unsubscribe(listener)
  })
  try {
    await work()
  } finally {
    for (const unsubscribe of listeners) unsubscribe()
  }
  return log
}

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

describe('the channel of locks', () => {
  for (const Kind of [Lock, RLock, Semaphore]) {
    test(`tells of a task that has to wait for a ${Kind.name}, and of none that has it at once`, async () => {
      const lock = new Kind()
      const log = await told<LockWaitMessage>('multiproc:lock', async () => {
        await lock.acquire()
        lock.release()
        assert.equal(lock.acquireSync({ timeout: 1000 }), true)
        if (lock instanceof RLock) lock.release()
      })
      assert.deepEqual(log, [])
      if (lock instanceof RLock) return
      let isHad = false
      const waits = await told<LockWaitMessage>('multiproc:lock', async () => {
        const waiting = lock.acquire().finally(() => (isHad = true))
        await turn()
        assert.equal(isHad, false)
        lock.release()
        await waiting
        lock.release()
      })
      assert.deepEqual(
        waits.map(([event]) => event),
        ['start', 'end', 'asyncStart', 'asyncEnd'],
      )
      for (const [, message] of waits)
        assert.deepEqual(message, { type: Kind.name, object: lock, isBlocking: false })
    })
  }

  test('tells the reason of a wait that is aborted, and of one that blocks the thread', async () => {
    const lock = new Lock()
    await lock.acquire()
    const reason = new Error('on purpose')
    const aborted = await told<LockWaitMessage>('multiproc:lock', async () => {
      const controller = new AbortController()
      const waiting = lock.acquire({ signal: controller.signal })
      await turn()
      controller.abort(reason)
      await assert.rejects(waiting, reason)
    })
    assert.deepEqual(
      aborted.map(([event, { error }]) => [event, error]),
      [
        ['start', reason],
        ['end', reason],
        ['error', reason],
        ['asyncStart', reason],
        ['asyncEnd', reason],
      ],
    )
    const blocking = await told<LockWaitMessage>('multiproc:lock', () => {
      assert.equal(lock.acquireSync({ timeout: 0 }), false)
      assert.equal(lock.acquireSync({ timeout: 1 }), false)
    })
    assert.deepEqual(
      blocking.map(([event, { isBlocking }]) => [event, isBlocking]),
      [
        ['start', true],
        ['end', true],
      ],
    )
  })
})

describe('the channel of queues', () => {
  for (const Kind of [Queue, JoinableQueue, SimpleQueue]) {
    test(`tells of who has to wait for an item of a ${Kind.name}, and of nobody else`, async () => {
      const queue = new Kind<number>()
      const log = await told<QueueWaitMessage>('multiproc:queue', async () => {
        await queue.put(1)
        assert.equal(await queue.get(), 1)
        await queue.put(2)
        assert.equal(queue.getSync({ timeout: 1000 }), 2)
        const waiting = queue.get()
        await turn()
        await queue.put(3)
        assert.equal(await waiting, 3)
        assert.throws(() => queue.getSync({ timeout: 1 }), { code: 'ERR_QUEUE_EMPTY' })
      })
      const message = { type: Kind.name, operation: 'get', object: queue }
      assert.deepEqual(
        log.map(([event, { type, operation, object, isBlocking }]) => [
          event,
          { type, operation, object, isBlocking },
        ]),
        [
          ...['start', 'end', 'asyncStart', 'asyncEnd'].map(event => [
            event,
            { ...message, isBlocking: false },
          ]),
          ...['start', 'error', 'end'].map(event => [event, { ...message, isBlocking: true }]),
        ],
      )
      queue.close()
    })
  }

  test('tells of who has to wait for room', async () => {
    const queue = new Queue<number>(1)
    await queue.put(1)
    const log = await told<QueueWaitMessage>('multiproc:queue', async () => {
      const putting = queue.put(2)
      await turn()
      assert.equal(await queue.get(), 1)
      await putting
      assert.throws(() => queue.putSync(3, { timeout: 1 }), { code: 'ERR_QUEUE_FULL' })
    })
    assert.deepEqual(
      log.map(([event, { operation, isBlocking }]) => [event, operation, isBlocking]),
      [
        ['start', 'put', false],
        ['end', 'put', false],
        ['asyncStart', 'put', false],
        ['asyncEnd', 'put', false],
        ['start', 'put', true],
        ['error', 'put', true],
        ['end', 'put', true],
      ],
    )
    queue.close()
  })
})

forEachStartMethod(context => {
  test('a trace shows the waits of parent and workers, with the number of the object', async () => {
    const [lock, queue] = [new Lock(), new Queue<number>(1)]
    await lock.acquire()
    await queue.put(1)
    await using pool = new Pool({ processes: 1, context })
    const path = join(folder, `${context}.json`)
    const trace = startTrace(path)
    await pool.apply(async () => {
      await lock.acquire({ timeout: 1 })
      lock.acquireSync({ timeout: 1 })
      await queue.put(2, { timeout: 1 }).catch(() => {})
      await queue.get()
      await queue.get({ timeout: 1 }).catch(() => {})
      try {
        queue.getSync({ timeout: 1 })
      } catch {}
    })
    await lock.acquire({ timeout: 1 })
    lock.acquireSync({ timeout: 1 })
    trace.stop()
    const events = eventsIn(path)
    const [task] = spansOf(events, 'task')
    const inWorker = (pid: number, tid: number): boolean => pid === task!.event.pid && tid === task!.event.tid
    for (const [category, counts] of [
      ['lock', { worker: 1, parent: 1 }],
      ['queue', { worker: 2, parent: 0 }],
    ] as const) {
      const awaited = [...periodsOf(events, category).values()]
      const own = awaited.filter(({ event }) => inWorker(event.pid, event.tid))
      assert.equal(own.length, counts.worker, category)
      assert.equal(awaited.length - own.length, counts.parent, category)
      for (const wait of own) assertInside(wait, task!, `${category} ${wait.event.name}`)
    }
    const blocked = [...spansOf(events, 'lock'), ...spansOf(events, 'queue')]
    const own = blocked.filter(({ event }) => inWorker(event.pid, event.tid))
    assert.deepEqual(own.map(({ event }) => event.name).toSorted(), ['get from Queue', 'wait for Lock'])
    assert.equal(blocked.length, 3)
    for (const wait of own) assertInside(wait, task!, wait.event.name)
    // The same lock has the same number on both sides.
    const numbers = new Set(
      events.filter(({ ph, cat }) => cat === 'lock' && 'bX'.includes(ph)).map(({ args }) => args['object']),
    )
    assert.equal(numbers.size, 1)
    assert.equal(typeof [...numbers][0], 'number')
    lock.release()
    queue.close()
  })
})
