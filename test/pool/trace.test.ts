/** The file of a trace: its format, and that what is inside of something is inside of it in time. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Pool, startTrace } from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { type TraceEvent, assertFormat, assertInside, eventsIn, periodsOf } from '../insights/trace-format.js'
import { checkLeaks } from '../leak-check.js'
import { square } from './tasks.js'

checkLeaks()

const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const root = fileURLToPath(new URL('../../../', import.meta.url))
const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

forEachStartMethod(context => {
  describe('startTrace()', () => {
    test('shows each task in its worker, inside of its chunk and its call, on one time axis', async () => {
      const path = join(folder, `${context}.json`)
      const trace = startTrace(path)
      const pool = new Pool({ processes: 2, context })
      await Promise.all([
        pool.map(square, range(500)),
        pool.mapSettled((x: number) => {
          if (x === 3) throw new Error('on purpose')
          return x
        }, range(10)),
        pool.apply(square, [3]),
        pool.apply(async () => new Promise(resolve => setImmediate(resolve))),
      ])
      await pool.terminate()
      const { events: count, dropped } = trace.stop()
      const events = eventsIn(path)
      assert.deepEqual([events.length, dropped], [count, 0])

      const calls = periodsOf(events, 'call')
      const chunks = periodsOf(events, 'chunk')
      const tasks = events.filter(({ cat }) => cat === 'task')
      assert.equal(calls.size, 4)
      assert.equal(tasks.length, 512)
      for (const chunk of chunks.values())
        for (const call of chunk.event.args['calls'] as number[])
          assertInside(chunk, calls.get(call)!, 'chunk')
      const tracks = new Map<string, TraceEvent[]>()
      for (const task of tasks) {
        const { pid, tid, ts, dur, args } = task
        const period = { from: ts, to: ts + dur }
        assertInside(period, chunks.get(args['chunk'] as number)!, 'task')
        assertInside(period, calls.get(args['call'] as number)!, 'task')
        if (context === 'spawn') assert.notEqual(pid, process.pid)
        else assert.ok(pid === process.pid && tid > 0)
        tracks.set(`${pid} ${tid}`, [...(tracks.get(`${pid} ${tid}`) ?? []), task])
      }
      // Every item once, and of a worker one after the other, behind its start.
      const map = [...calls.values()].find(({ event }) => event.args['items'] === 500)!
      const items = tasks
        .filter(({ args }) => args['call'] === map.event.id)
        .map(({ args }) => args['item'] as number)
      assert.deepEqual(
        items.toSorted((a, b) => a - b),
        range(500),
      )
      assert.deepEqual(map.ending, { done: 500, failed: 0 })
      assert.equal(tasks.filter(({ args }) => args['failed'] === true).length, 1)
      const names = events.filter(({ ph, name }) => ph === 'M' && name === 'thread_name')
      for (const [track, ran] of tracks) {
        assert.match(
          names.find(({ pid, tid }) => `${pid} ${tid}` === track)!.args['name'] as string,
          /^PoolWorker-\d$/,
        )
        const spans = events
          .filter(({ ph, pid, tid }) => ph === 'X' && `${pid} ${tid}` === track)
          .toSorted((a, b) => a.ts - b.ts)
        assert.deepEqual(
          spans.slice(0, 2).map(({ name }) => name),
          ['start', 'init'],
        )
        assert.equal(spans.length, ran.length + 2)
        for (const [at, span] of spans.entries()) {
          const next = spans[at + 1]
          // Ends are rounded to nanoseconds.
          if (next) assert.ok(span.ts + span.dur <= next.ts + 0.002, JSON.stringify([span, next]))
        }
      }
    })

    test('shows what a worker lost when it died, and the second run elsewhere', async () => {
      const path = join(folder, `${context}-death.json`)
      const trace = startTrace(path)
      const pool = new Pool({ processes: 1, context })
      const { currentTask } = await import('multiproc')
      await pool.map(
        () => {
          if (currentTask().attempt === 1) process.exit(3)
        },
        [1],
        { retries: 1 },
      )
      trace.stop()
      await pool.terminate()
      const events = eventsIn(path)
      const chunks = [...periodsOf(events, 'chunk').values()]
      assert.deepEqual(
        chunks.map(({ ending }) => ending),
        [{ lost: 1 }, {}],
      )
      assert.ok(events.some(({ ph, name }) => ph === 'i' && name === 'ended by exit code 3'))
      assert.deepEqual(
        events.filter(({ cat }) => cat === 'task').map(({ args }) => args['attempt']),
        [2],
      )
    })
  })
})

test('the check of the format finds what is wrong in a file', () => {
  const names = ['process_name', 'thread_name'].map(name => ({
    ph: 'M',
    name,
    pid: 1,
    tid: 0,
    args: { name: 'x' },
  }))
  const span = { ph: 'X', name: 'a', cat: 'task', pid: 1, tid: 0, ts: 0, dur: 10, args: {} }
  const begin = { ph: 'b', name: 'a', cat: 'call', pid: 1, tid: 0, ts: 0, id: 1, args: {} }
  const check = (...events: object[]): void => assertFormat([...names, ...events] as TraceEvent[])
  check(span, { ...span, ts: 2, dur: 8 }, begin, { ...begin, ph: 'e', ts: 3 })
  for (const wrong of [
    [{ ...span, ph: 'Z' }],
    [{ ...span, dur: undefined }],
    [{ ...span, ts: -1 }],
    [{ ...span, cat: undefined }],
    [{ ...span, other: 1 }],
    [{ ...span, pid: 2 }],
    [span, { ...span, ts: 5 }],
    [begin, begin],
    [{ ...begin, ph: 'e' }],
    [begin, { ...begin, ph: 'e', tid: 1 }],
  ])
    assert.throws(() => check(...wrong), assert.AssertionError, JSON.stringify(wrong))
})

test('a program that ends without stop() has a whole file', () => {
  const path = join(folder, 'exit.json')
  const program = `
    import { Pool, startTrace } from 'multiproc'
    startTrace(${JSON.stringify(path)})
    const pool = new Pool({ processes: 1, context: 'thread' })
    await pool.map(x => x, [1, 2, 3])
    process.exit(0)`
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: root,
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
  assert.equal(eventsIn(path).filter(({ cat }) => cat === 'task').length, 3)
})

test('events behind "eventsMax" are counted and not written', async () => {
  const path = join(folder, 'full.json')
  await using pool = new Pool({ processes: 1, context: 'thread' })
  const trace = startTrace(path, { eventsMax: 100 })
  await pool.map(square, range(1000))
  const { events, dropped } = trace.stop()
  assert.equal(events, 100)
  assert.ok(dropped > 900)
  assert.equal(eventsIn(path).length, 100)
  // A pool that goes on is not traced any more, and a second stop() says the same.
  await pool.map(square, range(10))
  assert.deepEqual(trace.stop(), { path, events, dropped })
})

test('there is one trace at a time, and its file must be writable', () => {
  using trace = startTrace(join(folder, 'one.json'))
  assert.throws(() => startTrace(join(folder, 'two.json')), { code: 'ERR_INVALID_STATE' })
  trace.stop()
  assert.throws(() => startTrace(join(folder, 'missing', 'three.json')), { code: 'ENOENT' })
  assert.throws(() => startTrace('x', { eventsMax: 0 }), { code: 'ERR_INVALID_ARGUMENT' })
  assert.throws(() => startTrace('x', { evntsMax: 1 } as object), { code: 'ERR_INVALID_ARGUMENT' })
})

test(
  'a disk that is full fails stop(), and not the calls',
  { skip: existsSync('/dev/full') ? false : 'needs /dev/full' },
  async () => {
    await using pool = new Pool({ processes: 1, context: 'thread' })
    const trace = startTrace('/dev/full')
    assert.equal((await pool.map(square, range(2000))).length, 2000)
    assert.throws(() => trace.stop(), { code: 'ENOSPC' })
    startTrace(join(folder, 'next.json')).stop()
  },
)
