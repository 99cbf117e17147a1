/** Chunks on their way to workers, as tools see them. */
import assert from 'node:assert/strict'
import { tracingChannel } from 'node:diagnostics_channel'
import { describe, test } from 'node:test'
import { type CallMessage, type ChunkMessage, Pool, ProcessPoolExecutor } from 'multiproc'
import { monotonicMs } from '#src/platform/journal.js'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks } from '../leak-check.js'
import { square } from './tasks.js'

checkLeaks()

interface Followed {
  chunks: ChunkMessage[]
  errors: unknown[]
  calls: CallMessage[]
}

/** The chunks that end while `work` runs, and the calls that begin. */
async function following(
  work: () => Promise<unknown>,
  { wantsTimes = false }: { wantsTimes?: boolean } = {},
): Promise<Followed> {
  const followed: Followed = { chunks: [], errors: [], calls: [] }
  const chunks = tracingChannel<unknown, object>('multiproc:chunk')
  const calls = tracingChannel<unknown, object>('multiproc:call')
  const start = (message: unknown): void => {
    if (wantsTimes) (message as ChunkMessage).wantsTimes = true
  }
  const end = (message: unknown): void => void followed.chunks.push(message as ChunkMessage)
  const error = (message: unknown): void => void followed.errors.push((message as ChunkMessage).error)
  const called = (message: unknown): void => void followed.calls.push(message as CallMessage)
  chunks.start.subscribe(start)
  chunks.asyncEnd.subscribe(end)
  chunks.error.subscribe(error)
  calls.start.subscribe(called)
  try {
    await work()
  } finally {
    chunks.start.unsubscribe(start)
    chunks.asyncEnd.unsubscribe(end)
    chunks.error.unsubscribe(error)
    calls.start.unsubscribe(called)
  }
  return followed
}

forEachStartMethod(context => {
  describe('the channel of chunks', () => {
    test('tells of the end of a worker for the chunk that it ran alone, and which item that was', async () => {
      await using pool = new Pool({ processes: 1, context })
      // Quick enough for the next chunk to be sent behind it.
      await pool.map(
        square,
        Array.from({ length: 200 }, (_, n) => n),
      )
      const endAt = (n: number, last: number): number => (n === last ? process.exit(3) : n)
      const { chunks } = await following(async () => {
        const dies = assert.rejects(
          pool.starmap(
            endAt,
            [
              [0, 1],
              [1, 1],
              [2, 1],
            ],
            { chunkSize: 3 },
          ),
        )
        const behind = ['a', 'b', 'c'].map(name => pool.apply(String, [name]))
        await dies
        assert.deepEqual(await Promise.all(behind), ['a', 'b', 'c'])
      })
      const ended = chunks.filter(({ error }) => error !== undefined)
      assert.deepEqual(
        ended.map(({ name, lostAt }) => [name, lostAt]),
        [['endAt', 1]],
      )
    })

    test('tells what was sent to whom, and of which call it is', async () => {
      await using pool = new Pool({ processes: 1, context })
      const { chunks, calls } = await following(async () => {
        await pool.map(square, [1, 2, 3, 4], { chunkSize: 3 })
        await Promise.all([pool.apply(square, [5]), pool.apply(square, [6])])
      })
      const [map, ...singles] = calls
      assert.deepEqual([map!.method, map!.items], ['map', 4])
      const ofMap = chunks.filter(({ parts }) => parts[0]!.call === map)
      assert.deepEqual(
        ofMap.map(({ name, workerName, items, parts, lost }) => {
          const [{ index, count, attempt, time }] = parts as [ChunkMessage['parts'][number]]
          return { name, workerName, items, index, count, attempt, time, lost }
        }),
        [
          { index: 0, count: 3 },
          { index: 3, count: 1 },
        ].map(part => ({
          name: 'square',
          workerName: 'PoolWorker-1',
          items: part.count,
          ...part,
          attempt: 1,
          time: undefined,
          lost: 0,
        })),
      )
      const others = chunks.filter(chunk => !ofMap.includes(chunk)).flatMap(({ parts }) => parts)
      assert.deepEqual(
        others.map(({ call, index }) => [call, index]),
        singles.map(call => [call, undefined]),
      )
      for (const { pid, threadId } of chunks) {
        if (context === 'spawn') assert.notEqual(pid, process.pid)
        else assert.ok(threadId! > 0)
      }
    })

    test('tells when items ran, by the clock of all processes, and what they threw', async () => {
      await using pool = new Pool({ processes: 1, context })
      const failing = (x: number): number => {
        if (x > 1) throw new RangeError(`no ${x}`)
        return x
      }
      const beganMs = monotonicMs()
      const { chunks } = await following(
        async () => {
          await pool.mapSettled(failing, [0, 1, 2, 3], { chunkSize: 4 })
          await Promise.allSettled([7, 1].map(x => pool.apply(failing, [x])))
        },
        { wantsTimes: true },
      )
      const endedMs = monotonicMs()
      const parts = chunks.flatMap(chunk => chunk.parts)
      assert.deepEqual(
        parts.map(({ count, time }) => [count, time!.failed, time!.error?.message]),
        [
          [4, 2, 'no 2'],
          [1, 1, 'no 7'],
          [1, 0, undefined],
        ],
      )
      assert.equal(parts[0]!.time!.error!.name, 'RangeError')
      assert.match(parts[0]!.time!.error!.stack, /failing/)
      for (const { time } of parts) {
        assert.ok(beganMs <= time!.startMs && time!.startMs <= time!.endMs && time!.endMs <= endedMs)
      }
    })

    test('tells how many items were lost with a worker', async () => {
      await using pool = new Pool({ processes: 1, context })
      const { chunks, errors } = await following(async () => {
        await pool.mapSettled(
          (x: number) => {
            if (x === 1) process.exit(3)
          },
          [0, 1, 2],
          { chunkSize: 3 },
        )
      })
      const [first] = chunks
      assert.equal(errors.length, 1)
      assert.equal(errors[0], first!.error)
      assert.match(first!.error!.message, /exit code 3/)
      assert.ok(first!.lost! >= 2)
      assert.deepEqual(
        chunks.slice(1).map(({ lost, error }) => [lost, error]),
        chunks.slice(1).map(() => [0, undefined]),
      )
    })
  })
})

test('calls of executors are told of as well', async () => {
  await using executor = new ProcessPoolExecutor(1)
  const { calls, chunks } = await following(async () => {
    await executor.submit(square, 3)
    for await (const result of executor.map(square, [2])) assert.equal(result, 4)
  })
  assert.deepEqual(
    calls.map(({ method, name, items }) => [method, name, items]),
    [
      ['submit', 'square', 1],
      ['map', 'square', 1],
    ],
  )
  assert.deepEqual(
    chunks.map(({ parts }) => parts[0]!.call),
    calls,
  )
})

test('the end of a call tells why it failed, in the async context of its caller', async () => {
  await using pool = new Pool({ processes: 1, context: 'thread' })
  const { AsyncLocalStorage } = await import('node:async_hooks')
  const storage = new AsyncLocalStorage<string>()
  const log: unknown[] = []
  const { error, asyncEnd } = tracingChannel<unknown, object>('multiproc:call')
  const failed = (message: unknown): void =>
    void log.push(['error', ((message as CallMessage).error as Error).name, storage.getStore()])
  const ended = (message: unknown): void =>
    void log.push([(message as CallMessage).done, (message as CallMessage).failed, storage.getStore()])
  error.subscribe(failed)
  asyncEnd.subscribe(ended)
  const failing = (): never => {
    throw new RangeError('on purpose')
  }
  try {
    await storage.run('apply', () => pool.apply(failing)).catch(() => {})
    await storage.run('map', () => pool.map(failing, [1])).catch(() => {})
    await storage.run('settled', () => pool.mapSettled(failing, [1]))
    await storage
      .run('imap', async () => {
        for await (const _ of pool.imap(failing, [1])) assert.fail()
      })
      .catch(() => {})
    const cancelled = storage.run('cancelled', () => pool.apply(async () => new Promise(() => {})))
    cancelled.cancel()
    await cancelled.catch(() => {})
  } finally {
    error.unsubscribe(failed)
    asyncEnd.unsubscribe(ended)
  }
  assert.deepEqual(log, [
    ['error', 'RangeError', 'apply'],
    [1, 1, 'apply'],
    ['error', 'RangeError', 'map'],
    [1, 1, 'map'],
    [1, 1, 'settled'],
    ['error', 'RangeError', 'imap'],
    [1, 1, 'imap'],
    ['error', 'AbortError', 'cancelled'],
    [1, 1, 'cancelled'],
  ])
})
