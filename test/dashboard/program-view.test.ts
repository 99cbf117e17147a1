/** Rates and charts, made of counts: pure, with the snapshots of programs that do not exist. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { InspectedPool, ProgramSnapshot } from '#src/dashboard/inspection-protocol.js'
import { percentile } from '#src/dashboard/percentile.js'
import { ProgramView } from '#src/dashboard/program-view.js'

const startMs = 1_800_000_000_000

function poolWith(changes: Partial<InspectedPool>): InspectedPool {
  return {
    number: 1,
    name: 'p',
    method: 'thread',
    state: 'running',
    processes: 1,
    busyElsewhere: undefined,
    jobs: 1,
    waiting: 0,
    done: 0,
    failed: 0,
    workersEnded: 0,
    bytesSent: 0,
    bytesReceived: 0,
    workers: [],
    calls: [],
    callsLeftOut: 0,
    longestTasks: [],
    times: [],
    spans: [],
    ...changes,
  }
}

function snapshotAt(atMs: number, changes: Partial<ProgramSnapshot>): ProgramSnapshot {
  return {
    type: 'snapshot',
    atMs: startMs + atMs,
    processorMs: 0,
    loopActiveMs: 0,
    loopIdleMs: 0,
    memoryBytes: 1000,
    pools: [],
    endedPools: [],
    failures: [],
    failureCount: 0,
    tables: [],
    ...changes,
  }
}

function worker(changes: Partial<InspectedPool['workers'][number]>): InspectedPool['workers'][number] {
  return {
    name: 'w',
    pid: undefined,
    threadId: 1,
    state: 'ready',
    isSpare: false,
    done: 0,
    failed: 0,
    items: 0,
    workingMs: 0,
    memoryBytes: 500,
    running: undefined,
    ...changes,
  }
}

describe('ProgramView', () => {
  test('does not take what was done before the first look for a rate', () => {
    const view = new ProgramView()
    const first = view.add(snapshotAt(0, { pools: [poolWith({ done: 1_000_000 })] }))
    assert.deepEqual(first.point!.perSecond, {})
    const second = view.add(snapshotAt(500, { pools: [poolWith({ done: 1_000_100 })] }))
    assert.deepEqual(second.point!.perSecond, { 1: 200 })
    assert.equal(second.done, 1_000_100)
  })

  test('counts the last tasks of a pool that ended, and of one that opened since, once', () => {
    const view = new ProgramView()
    view.add(snapshotAt(0, { pools: [poolWith({ done: 10 })] }))
    const ended = [poolWith({ done: 30, failed: 2, state: 'terminated' })]
    const early = view.add(snapshotAt(10, { endedPools: ended }))
    assert.equal(early.point, null, 'so soon after another, rates mean nothing')
    assert.deepEqual(
      early.pools.map(({ state, done }) => [state, done]),
      [['ended', 30]],
    )
    const { point, done, failed } = view.add(snapshotAt(1000, { pools: [poolWith({ number: 2, done: 5 })] }))
    assert.deepEqual(point!.perSecond, { 1: 20, 2: 5 })
    assert.deepEqual([point!.failedPerSecond, done, failed], [2, 35, 2])
  })

  test('tells how busy a worker is, and adds up memory and processors', () => {
    const view = new ProgramView()
    const of = (done: number, workingMs: number): InspectedPool =>
      poolWith({ workers: [worker({ done, workingMs, running: { functionName: 'f', forMs: 5 } })] })
    view.add(snapshotAt(0, { pools: [of(0, 0)], processorMs: 100, loopActiveMs: 10, loopIdleMs: 10 }))
    const { point, pools } = view.add(
      snapshotAt(500, { pools: [of(50, 250)], processorMs: 600, loopActiveMs: 110, loopIdleMs: 410 }),
    )
    const [row] = pools[0]!.workers
    assert.deepEqual(
      [row!.state, row!.perSecond, row!.busyPercent, row!.functionName],
      ['working', 100, 50, 'f'],
    )
    assert.deepEqual([point!.processorPercent, point!.loopPercent, point!.memoryBytes], [100, 20, 1000])
  })

  test('counts the processes of all agents for a pool on a cluster, and its workers for every other', () => {
    const here = poolWith({ number: 1, workers: [worker({ name: 'a' }), worker({ name: 'b' })] })
    const elsewhere = poolWith({
      number: 2,
      processes: 8,
      busyElsewhere: 3,
      workers: [worker({ name: 'all', threadId: undefined })],
    })
    const { point, pools } = new ProgramView().add(snapshotAt(0, { pools: [here, elsewhere] }))
    assert.deepEqual([point!.busyWorkers, point!.workers], [3, 10])
    assert.deepEqual(
      pools.map(({ busyElsewhere }) => busyElsewhere),
      [null, 3],
    )
  })

  test('stays small, however long the program runs', () => {
    const view = new ProgramView()
    for (let at = 0; at < 2000; at++) {
      const span: InspectedPool['spans'][number] = ['w', 'f', startMs + at * 500, 100, 1, 0, at]
      const ended = at % 10 === 0 ? [poolWith({ number: 10 + at, state: 'terminated' })] : []
      view.add(snapshotAt(at * 500, { pools: [poolWith({ spans: [span] })], endedPools: ended }))
    }
    const { points, spans } = view.history()
    assert.equal(points.length, 600)
    assert.ok(spans.length >= 119 && spans.length <= 121, `${spans.length} spans are those of a minute`)
    assert.equal(view.latest!.pools.length, 1 + 8)
  })

  test('gives each failure once, and keeps the last hundred', () => {
    const view = new ProgramView()
    const failure = (number: number): ProgramSnapshot['failures'][number] => ({
      number,
      atMs: startMs,
      pool: 'p',
      workerName: 'w',
      pid: 1,
      functionName: 'f',
      index: 0,
      attempt: 1,
      isRetried: false,
      errorName: 'Error',
      message: '',
      stack: '',
    })
    const numbers = (from: number, to: number): ProgramSnapshot['failures'] =>
      Array.from({ length: to - from }, (_, index) => failure(from + index))
    view.add(snapshotAt(0, { failures: numbers(1, 81), failureCount: 80 }))
    const { failures } = view.add(snapshotAt(500, { failures: numbers(61, 151), failureCount: 150 }))
    assert.deepEqual([failures[0]!.number, failures.length], [81, 70])
    assert.equal(view.history().failures.length, 100)
    assert.equal(view.failureNumber, 150)
  })
})

test('percentile() gives the time that a part of the tasks did not exceed', () => {
  assert.equal(percentile(new Map(), 0.5), null)
  const times = new Map([
    [80, 98],
    [0, 1],
    [160, 1],
  ])
  // A step of 80 is ten octaves above a microsecond.
  assert.ok(Math.abs(percentile(times, 0.5)! - 1.024) < 1e-9)
  assert.ok(percentile(times, 0.999)! > 1000)
  assert.equal(percentile(times, 0.01), 0.001)
})
