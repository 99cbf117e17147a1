/** Children from their start to their end, as tools and traces see them. */
import assert from 'node:assert/strict'
import { channel, tracingChannel } from 'node:diagnostics_channel'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { Pool, Process, type ProcessMessage, startTrace } from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { eventsIn, spansOf } from '../insights/trace-format.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
after(() => rmSync(folder, { recursive: true, force: true }))

type Log = [event: string, name: string, facts: Partial<ProcessMessage>][]

async function following(work: () => Promise<unknown>): Promise<Log> {
  const log: Log = []
  const tracing = tracingChannel<unknown, object>('multiproc:process')
  const ready = channel('multiproc:process:ready')
  const note =
    (event: string) =>
    (message: unknown): void => {
      const { name, ...facts } = message as ProcessMessage
      log.push([event, name, facts])
    }
  const listeners = (['start', 'end', 'asyncStart', 'asyncEnd', 'error'] as const).map(
    event => [tracing[event], note(event)] as const,
  )
  const onReady = note('ready')
  for (const [each, listener] of listeners) each.subscribe(listener)
  ready.subscribe(onReady)
  try {
    await work()
  } finally {
    for (const [each, listener] of listeners) each.unsubscribe(listener)
    ready.unsubscribe(onReady)
  }
  return log
}

forEachStartMethod(context => {
  test('the channel of processes tells of start, readiness and end of a Process', async () => {
    const child = new Process({ target: Math.sqrt, args: [9], name: 'rooter', context })
    const log = await following(async () => {
      child.start()
      assert.equal(await child.result(), 3)
      await child.join()
    })
    assert.deepEqual(
      log.map(([event, name]) => `${event} ${name}`),
      ['start', 'end', 'ready', 'asyncStart', 'asyncEnd'].map(event => `${event} rooter`),
    )
    const [, , start] = log[0]!
    assert.deepEqual([start.kind, start.target, start.startMethod], ['process', 'sqrt', context])
    const [, , end] = log.at(-1)!
    assert.deepEqual(
      [end.pid, end.threadId, end.exitCode, end.signal, end.error],
      [child.pid, child.threadId, 0, null, undefined],
    )
  })

  test('it tells how a child ended that was killed, and one that never began with its work', async () => {
    const log = await following(async () => {
      const child = new Process({ target: () => new Promise(() => setInterval(() => {}, 1000)), context })
      child.start()
      child.kill()
      await child.join()
    })
    const [event, , facts] = log.at(-1)!
    assert.deepEqual([event, facts.exitCode, facts.signal], ['asyncEnd', -9, 'SIGKILL'])
  })

  test('it tells of the workers of a pool', async () => {
    const log = await following(async () => {
      const pool = new Pool({ processes: 1, context })
      await pool.apply(Math.sqrt, [4])
      pool.close()
      await pool.join()
    })
    assert.deepEqual(
      log.map(([event, name, { kind }]) => `${event} ${name} ${kind}`),
      ['start', 'end', 'ready', 'asyncStart', 'asyncEnd'].map(event => `${event} PoolWorker-1 worker`),
    )
    assert.equal(log.at(-1)![2].exitCode, 0)
  })

  test('a trace shows a Process on a track of its own: its start, and what it ran', async () => {
    const path = join(folder, `${context}.json`)
    const trace = startTrace(path)
    const child = new Process({ target: Math.sqrt, args: [9], name: 'rooter', context })
    child.start()
    await child.join()
    trace.stop()
    const spans = spansOf(eventsIn(path), 'process')
    assert.deepEqual(
      spans.map(({ event }) => event.name),
      ['start', 'sqrt'],
    )
    // Ends are rounded to nanoseconds.
    assert.ok(spans[0]!.to <= spans[1]!.from + 0.002)
    assert.deepEqual(spans[1]!.event.args, { exitCode: 0 })
    for (const { event } of spans)
      assert.ok(context === 'spawn' ? event.pid === child.pid : event.tid === child.threadId)
  })
})

test('it tells of a child that could not be started', async () => {
  const log = await following(async () => {
    const child = new Process({ target: String, args: [setTimeout(() => {}, 0)] })
    assert.throws(() => child.start(), { code: 'ERR_NOT_SERIALIZABLE' })
    await Promise.resolve()
  })
  assert.deepEqual(
    log.map(([event]) => event),
    ['start', 'error', 'end'],
  )
  assert.equal((log.at(-1)![2].error as { code: string }).code, 'ERR_NOT_SERIALIZABLE')
})
