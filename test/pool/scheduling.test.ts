import assert from 'node:assert/strict'
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { Pool, WorkerDiedError } from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const folder = mkdtempSync(join(tmpdir(), 'multiproc-scheduling-'))
after(() => rmSync(folder, { recursive: true }))

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

/** A file to which tasks write, whatever they are: a line for each. */
let logCount = 0
const newLog = (): string => join(folder, `log-${++logCount}`)
const linesOf = (log: string): string[] =>
  existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n') : []
const numbersOf = (log: string): number[] => linesOf(log).map(Number)
/** Tasks that write to a file tell nobody. */
async function untilLines(log: string, count: number): Promise<void> {
  // Sleep: nothing tells of a line in a file in the same way everywhere.
  while (linesOf(log).length < count) await new Promise(resolve => setTimeout(resolve, 5))
}
const ascending = (numbers: number[]): number[] => numbers.toSorted((a, b) => a - b)

interface Step {
  index: number
  log: string
  /** It waits at a latch. */
  latch?: { address: string; name: string }
  /** It then ends its worker. */
  isFatal?: boolean
  /** It keeps its worker for so long, or until there is a file of that name. */
  busyMs?: number
  until?: string
  /** It then writes that file. */
  leave?: string
}

/**
 * One function for quick items and slow ones, so that quick ones make the pool send many in a message. It gives what
 * names its worker.
 */
async function step({ index, log, latch, isFatal, busyMs = 0, until, leave }: Step): Promise<string> {
  appendFileSync(log, `${index}\n`)
  if (latch) await passLatch(latch.address, latch.name)
  if (isFatal) process.exit(3)
  const sleeper = new Int32Array(new SharedArrayBuffer(4))
  for (const end = performance.now() + busyMs; performance.now() < end;) {
    if (until !== undefined && existsSync(until)) break
    // Sleep: what is slow and does not give its event loop a turn is the subject.
    Atomics.wait(sleeper, 0, 0, 1)
  }
  if (leave !== undefined) writeFileSync(leave, '')
  return ((globalThis as { workerName?: string }).workerName ??= `${process.pid}-${Math.random()}`)
}

/** From now on the pool takes `step` for a quick function. */
async function learnQuick(pool: Pool): Promise<void> {
  const log = newLog()
  for (let round = 0; round < 3; round++) {
    await pool.map(
      step,
      range(400).map(index => ({ index, log })),
    )
  }
}

/** So many items that do nothing but write to a log of their own. */
function stepsOf(count: number): { log: string; items: Step[] } {
  const log = newLog()
  return { log, items: range(count).map(index => ({ index, log })) }
}

forEachStartMethod(context => {
  describe('Scheduling', () => {
    test('what waits in a chunk behind an item that takes long goes to another worker', async () => {
      await using latches = await Latches.open()
      await using pool = new Pool({ processes: 2, context })
      await learnQuick(pool)
      const { log, items } = stepsOf(200)
      const { address } = latches
      items[0]!.latch = { address, name: 'first' }
      const results = pool.imapUnordered(step, items)
      for (let count = 1; count < 200; count++) assert.equal((await results.next()).done, false)
      await latches.arrival('first')
      latches.release('first')
      assert.equal((await results.next()).done, false)
      assert.equal((await results.next()).done, true)
      assert.deepEqual(ascending(numbersOf(log)), range(200))
    })

    test('a worker in synchronous code gives back the rest of its chunk between two items', async () => {
      await using pool = new Pool({ processes: 2, context })
      await learnQuick(pool)
      const { log, items } = stepsOf(400)
      const mark = join(folder, `mark-${context}`)
      // Whoever begins the first chunk keeps the second item when it gives back the rest, and somebody else has the third.
      for (const item of items.slice(0, 2)) Object.assign(item, { busyMs: 5000, until: mark })
      items[2]!.leave = mark
      const workers = await pool.map(step, items)
      assert.notEqual(workers[2], workers[0])
      assert.deepEqual(ascending(numbersOf(log)), range(400))
    })

    test('a chunk of a chosen size stays whole', async () => {
      await using latches = await Latches.open()
      await using pool = new Pool({ processes: 2, context })
      await learnQuick(pool)
      const { log, items } = stepsOf(40)
      const { address } = latches
      items[0]!.latch = { address, name: 'first' }
      const result = pool.map(step, items, { chunkSize: 10 })
      await untilLines(log, 31)
      // Sleep: that the rest of the first chunk is not asked for can only be seen when there was time for it.
      await new Promise(resolve => setTimeout(resolve, 50))
      assert.deepEqual(ascending(numbersOf(log)), [0, ...range(40).slice(10)])
      latches.release('first')
      const workers = await result
      assert.equal(new Set(workers.slice(0, 10)).size, 1)
    })

    test('a worker that dies after it gave back its rest takes only its item with it', async () => {
      await using latches = await Latches.open()
      await using pool = new Pool({ processes: 2, context })
      await learnQuick(pool)
      const { log, items } = stepsOf(200)
      const { address } = latches
      Object.assign(items[0]!, { latch: { address, name: 'first' }, isFatal: true })
      const result = pool.mapSettled(step, items)
      await latches.arrival('first')
      await untilLines(log, 200)
      latches.release('first')
      const outcomes = await result
      const failed = outcomes.flatMap((outcome, index) =>
        outcome.status === 'rejected' ? [{ index, reason: outcome.reason as unknown }] : [],
      )
      assert.deepEqual(
        failed.map(({ index }) => index),
        [0],
      )
      assert.ok(failed[0]!.reason instanceof WorkerDiedError)
      assert.equal(failed[0]!.reason.taskIndex, 0)
      assert.deepEqual(ascending(numbersOf(log)), range(200))
    })

    test(`items of very different length run once each, and results are in order (SEED=${seed})`, async () => {
      let state = seed % 2147483646
      const random = (): number => (state = (state * 16807 + 1) % 2147483647) / 2147483647
      await using pool = new Pool({ processes: 3, context })
      await learnQuick(pool)
      for (let round = 0; round < 3; round++) {
        const log = newLog()
        const items = range(300).map(index => ({ index, log, busyMs: random() < 0.05 ? 30 * random() : 0 }))
        const run = async (item: Step & { step: typeof step }): Promise<number> => {
          await item.step(item)
          return item.index
        }
        assert.deepEqual(
          await pool.map(
            run,
            items.map(item => ({ ...item, step })),
          ),
          range(300),
        )
        assert.deepEqual(ascending(numbersOf(log)), range(300))
      }
    })

    test('what is cancelled while its rest is asked back runs no more, and the pool goes on', async () => {
      await using latches = await Latches.open()
      await using pool = new Pool({ processes: 2, context })
      await learnQuick(pool)
      for (let round = 0; round < 10; round++) {
        const log = newLog()
        const { address } = latches
        const name = `round-${round}`
        const items: Step[] = range(100).map(index => ({ index, log }))
        items[0]!.latch = { address, name }
        const result = pool.map(step, items)
        await latches.arrival(name)
        // Sleep: around the 10 ms after which the rest is asked for.
        await new Promise(resolve => setTimeout(resolve, 5 + round))
        result.cancel('enough')
        latches.release(name)
        await assert.rejects(result, reason => reason === 'enough')
        const seen = numbersOf(log)
        assert.equal(new Set(seen).size, seen.length)
        assert.equal(await pool.apply((x: number) => x + 1, [round]), round + 1)
      }
    })

    test('higher priorities go first: apply, map and imap, and the pool has a default', async () => {
      await using latches = await Latches.open()
      await using pool = new Pool({ processes: 1, context, priority: 1 })
      const log = newLog()
      const note = (file: string, index: number): void => appendFileSync(file, `${index}\n`)
      const held = pool.apply(passLatch, [latches.address, 'held'])
      await latches.arrival('held')
      const bound = (index: number): [string, number] => [log, index]
      const low = pool.starmap(note, [bound(5), bound(6)], { priority: -1 })
      const usual = pool.apply(note, bound(4))
      const high = pool.apply(note, bound(2), { priority: 2 })
      const highest = pool.imap(
        ([file, index]: [string, number]) => appendFileSync(file, `${index}\n`),
        [bound(0), bound(1)],
        { priority: 1e6 },
      )
      const alike = pool.map(
        ([file, index]: [string, number]) => appendFileSync(file, `${index}\n`),
        [bound(3)],
        {
          priority: 2,
        },
      )
      latches.release('held')
      for await (const _ of highest);
      await Promise.all([held, low, usual, high, alike])
      assert.deepEqual(numbersOf(log), range(7))
    })

    test('a more important call does not wait for the rest of a chunk that takes long', async () => {
      await using pool = new Pool({ processes: 1, context })
      await learnQuick(pool)
      const log = newLog()
      const mark = join(folder, `urgent-${context}`)
      const items: Step[] = range(100).map(index => ({ index, log, busyMs: 200, until: mark }))
      const low = pool.map(step, items)
      await untilLines(log, 1)
      await pool.apply(
        (file: string, done: string) => {
          appendFileSync(file, '1000\n')
          writeFileSync(done, '')
        },
        [log, mark],
        { priority: 1 },
      )
      await low
      const order = numbersOf(log)
      // The first chunk has 25 items.
      assert.ok(order.indexOf(1000) < 20, `it was number ${order.indexOf(1000)}`)
      assert.deepEqual(ascending(order), [...range(100), 1000])
    })

    test('several tasks of the program map at once, and each has its results in order', async () => {
      await using pool = new Pool({ processes: 3, context })
      const outcomes = await Promise.all(
        range(12).map(async id => {
          const items = range(50 * id).map(index => id * 1000 + index)
          if (id % 3 === 0) return await pool.map(x => x + 0.5, items)
          if (id % 3 === 1)
            return (await pool.mapSettled(x => x + 0.5, items)).map(
              each => each.status === 'fulfilled' && each.value,
            )
          const results: number[] = []
          for await (const result of pool.imap(async x => x + 0.5, items, { priority: id }))
            results.push(result)
          return results
        }),
      )
      for (const [id, results] of outcomes.entries()) {
        assert.deepEqual(
          results,
          range(50 * id).map(index => id * 1000 + index + 0.5),
        )
      }
    })
  })
})

test('a priority that is no finite number is refused at the call', async () => {
  await using pool = new Pool(1)
  for (const priority of [NaN, Infinity, '1', {}]) {
    const options = { priority } as { priority: number }
    const refused = { code: 'ERR_INVALID_ARGUMENT', message: /"priority" must be a finite number/ }
    assert.throws(() => pool.apply(() => 1, [], options), refused)
    assert.throws(() => pool.map(x => x, [1], options), refused)
    assert.throws(() => pool.imap(x => x, [1], options), refused)
    assert.throws(() => new Pool({ processes: 1, ...options }), refused)
  }
})

test('a more important call that the input of an imap makes is not lost', async () => {
  await using pool = new Pool(2)
  let inner: Promise<number> | undefined
  const input = function* (): Generator<number> {
    yield 1
    yield 2
    inner = pool.apply(x => x + 1, [41], { priority: 5 })
  }
  const results: number[] = []
  for await (const result of pool.imap(x => x * 2, input(), { chunkSize: 1 })) results.push(result)
  assert.deepEqual(results, [2, 4])
  assert.equal(await inner, 42)
})

describe('a task that was given a MessagePort', () => {
  const spoiled = { code: 'ERR_NOT_SERIALIZABLE', message: /a MessagePort can be sent once/ }

  test('fails when it would have to run again', async () => {
    await using pool = new Pool({ processes: 2, context: 'thread' })
    const failing = (port: MessagePort): void => {
      port.close()
      throw new Error('once')
    }
    await assert.rejects(
      async () => pool.apply(failing, [new MessageChannel().port1], { retries: 2 }),
      spoiled,
    )
    assert.equal(await pool.apply(x => x + 1, [1]), 2)
  })

  test('fails when the worker has died behind whose task it waited, and hits nobody else', async () => {
    await using pool = new Pool({ processes: 1, context: 'thread' })
    const task = async (port: MessagePort | null, ms: number): Promise<number> => {
      // Sleep: the worker dies after what waits behind this has been sent to it.
      if (ms > 0) await new Promise(resolve => setTimeout(resolve, ms))
      if (ms > 100) process.exit(3)
      port?.close()
      return ms
    }
    // It is known as quick, so that another call is sent ahead.
    for (let call = 0; call < 40; call++) await pool.apply(task, [null, 0])
    const [first, second] = [pool.apply(task, [null, 300]), pool.apply(task, [new MessageChannel().port1, 1])]
    await assert.rejects(async () => first, WorkerDiedError)
    await assert.rejects(async () => second, spoiled)
    assert.equal(await pool.apply(task, [null, 0]), 0)
  })

  test('is not asked back from the worker that has it', async () => {
    await using pool = new Pool({ processes: 2, context: 'thread' })
    const task = async (port: MessagePort | null, ms: number): Promise<number> => {
      // Sleep: one worker is idle while the other is not.
      if (ms > 0) await new Promise(resolve => setTimeout(resolve, ms))
      port?.close()
      return ms
    }
    for (let round = 0; round < 40; round++) {
      await Promise.all([pool.apply(task, [null, 0]), pool.apply(task, [null, 0])])
    }
    const port = (): MessagePort => new MessageChannel().port1
    const calls: [MessagePort | null, number][] = [
      [null, 600],
      [null, 100],
      [port(), 1],
      [port(), 1],
    ]
    assert.deepEqual(await Promise.all(calls.map(args => pool.apply(task, args))), [600, 100, 1, 1])
  })
})
