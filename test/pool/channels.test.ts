/** Tools follow calls into workers by `node:diagnostics_channel`, with the async context of the caller. */
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { tracingChannel } from 'node:diagnostics_channel'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type CallMessage, Pool } from 'multiproc'
import { sendableCarrier } from '#src/insights/carrier.js'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const preload = [fileURLToPath(new URL('../../../test/fixtures/telemetry.mjs', import.meta.url))]

type Telemetry = { request(): string | undefined; take(): unknown[] }
const telemetry = (): Telemetry => (globalThis as unknown as { telemetry: Telemetry }).telemetry
const requestOf = (): string | undefined => telemetry().request()
const requestLater = async (): Promise<string | undefined> => {
  await new Promise(resolve => setImmediate(resolve))
  return telemetry().request()
}
const takeLog = (): unknown[] => telemetry().take()

/** Follows calls while `work` runs, and gives each call the request of its caller. */
async function following(work: (storage: AsyncLocalStorage<string>) => Promise<void>): Promise<unknown[]> {
  const storage = new AsyncLocalStorage<string>()
  const log: unknown[] = []
  const channel = tracingChannel<unknown, CallMessage>('multiproc:call')
  const subscribers = {
    start: (message: CallMessage) => {
      log.push(['start', message.name, storage.getStore()])
      message.carrier['request'] = storage.getStore()!
    },
    end: () => {},
    asyncStart: () => {},
    asyncEnd: ({ name, done, failed }: CallMessage) => log.push(['asyncEnd', name, done, failed]),
    error: () => {},
  }
  channel.subscribe(subscribers)
  try {
    await work(storage)
  } finally {
    channel.unsubscribe(subscribers)
  }
  return log
}

forEachStartMethod(context => {
  describe('the channels of calls and tasks', () => {
    test('carry the async context of the caller into every task, and behind its awaits', async () => {
      await using pool = new Pool({ processes: 1, context, preload })
      const log = await following(async storage => {
        await storage.run('one', async () => {
          assert.deepEqual(await pool.map(requestOf, [1, 2, 3]), ['one', 'one', 'one'])
          assert.equal(storage.getStore(), 'one')
        })
        await storage.run('two', async () => assert.equal(await pool.apply(requestLater), 'two'))
      })
      assert.deepEqual(log, [
        ['start', 'requestOf', 'one'],
        ['asyncEnd', 'requestOf', 3, 0],
        ['start', 'requestLater', 'two'],
        ['asyncEnd', 'requestLater', 1, 0],
      ])
    })

    test('calls that travel together keep their contexts apart', async () => {
      await using pool = new Pool({ processes: 1, context, preload })
      await pool.map(requestOf, [1, 2, 3, 4])
      await following(async storage => {
        const names = Array.from({ length: 200 }, (_, n) => `request ${n}`)
        const seen = await Promise.all(names.map(name => storage.run(name, () => pool.apply(requestOf))))
        assert.deepEqual(seen, names)
      })
      assert.equal(await pool.apply(requestOf), undefined)
    })

    test('tell of begin, end and error of each task, with its index and attempt', async () => {
      await using pool = new Pool({ processes: 1, context, preload })
      const failing = (x: number): void => {
        if (x === 1) throw new RangeError('on purpose')
      }
      const failingLater = async (): Promise<void> => {
        await Promise.resolve()
        throw new RangeError('later')
      }
      await pool.apply(takeLog)
      await pool.mapSettled(failing, [0, 1], { retries: 1, chunkSize: 2 })
      await pool.mapSettled(failingLater, [0])
      const log = (await pool.apply(takeLog)) as unknown[][]
      // What takes the log is a task itself.
      assert.deepEqual(log.shift()!.slice(0, 2), ['end', 'takeLog'])
      assert.deepEqual(log.pop()!.slice(0, 2), ['start', 'takeLog'])
      assert.deepEqual(log, [
        ['start', 'failing', 0, 1, undefined],
        ['end', 'failing', 0, 1, undefined],
        ['start', 'failing', 1, 1, undefined],
        ['error', 'failing', 1, 1, 'on purpose'],
        ['end', 'failing', 1, 1, 'on purpose'],
        ['start', 'failing', 1, 2, undefined],
        ['error', 'failing', 1, 2, 'on purpose'],
        ['end', 'failing', 1, 2, 'on purpose'],
        ['start', 'failingLater', 0, 1, undefined],
        ['end', 'failingLater', 0, 1, undefined],
        ['error', 'failingLater', 0, 1, 'later'],
        ['asyncStart', 'failingLater', 0, 1, 'later'],
        ['asyncEnd', 'failingLater', 0, 1, 'later'],
      ])
    })
  })
})

test('of a carrier only short texts travel, and not too many of them', () => {
  assert.equal(sendableCarrier({}), undefined)
  assert.deepEqual(sendableCarrier({ a: 'x', b: 7, c: {} } as never), { a: 'x' })
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`key ${n}`, 'x']))
  assert.equal(Object.keys(sendableCarrier(many)!).length, 32)
  assert.equal(sendableCarrier({ large: 'x'.repeat(10_000) }), undefined)
})
