import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AsyncResult } from '#src/pool/async-result.js'
import { ApplyJob } from '#src/pool/apply-job.js'
import type { Part } from '#src/pool/job.js'
import { MapJob } from '#src/pool/map-job.js'
import { Scheduler, settleCharge } from '#src/pool/scheduler.js'
import { NO_LIMITS } from '#src/pool/task-limits.js'

let lastId = 0

const taskOf = (itemMs: number | undefined): MapJob['task'] => ({
  id: ++lastId,
  name: 'task',
  body: { bytes: new Uint8Array() },
  itemMs,
  itemBytes: 8,
  version: 0,
  source: new WeakRef(() => {}),
  fatalLoads: 0,
})

interface Facts {
  count: number
  itemMs?: number
  chunkSize?: number
  priority?: number
}

function mapOf({ count, itemMs, chunkSize, priority = 0 }: Facts): MapJob {
  const input = Array.from({ length: count }, (_, index) => index)
  const options = { input, isSettled: false, into: undefined, mode: 'item', chunkSize, caller: {} } as const
  return new MapJob(
    { ...options, task: taskOf(itemMs), limits: { ...NO_LIMITS, priority } },
    new AsyncResult(),
  )
}

function callOf(task: MapJob['task'], priority = 0): ApplyJob {
  const options = { task, mode: 'arguments', caller: {}, limits: { ...NO_LIMITS, priority } } as const
  return new ApplyJob(options, { args: [], body: { bytes: new Uint8Array() } }, new AsyncResult())
}

const demand = { workers: 1, countMax: Infinity }
const countOf = (parts: readonly Part[]): number => parts.reduce((sum, part) => sum + part.count, 0)

/** Takes chunks until nothing is left, or `enough` says so. */
function takeAll(scheduler: Scheduler, enough: () => boolean = () => false): Part[][] {
  const chunks: Part[][] = []
  while (!enough()) {
    const parts = scheduler.next(demand)
    if (!parts) break
    chunks.push(parts)
  }
  return chunks
}

test('a map of slow items and one of quick items get the same time', () => {
  const scheduler = new Scheduler()
  const slow = mapOf({ count: 1000, itemMs: 20 })
  const quick = mapOf({ count: 1_000_000, itemMs: 0.01 })
  scheduler.offer(slow)
  scheduler.offer(quick)
  const usedMs = new Map([
    [slow, 0],
    [quick, 0],
  ])
  for (let turn = 0; turn < 500; turn++) {
    const [part] = scheduler.next(demand)!
    const { job, count } = part!
    usedMs.set(job as MapJob, usedMs.get(job as MapJob)! + count * job.task.itemMs!)
    // The longest chunk that either of them gets takes 20 ms.
    assert.ok(Math.abs(usedMs.get(slow)! - usedMs.get(quick)!) <= 20)
  }
})

test('what a map has really used counts, and not what was expected', () => {
  const scheduler = new Scheduler()
  const slower = mapOf({ count: 10_000, itemMs: 1, chunkSize: 1 })
  const honest = mapOf({ count: 10_000, itemMs: 1, chunkSize: 1 })
  scheduler.offer(slower)
  scheduler.offer(honest)
  const chunks = new Map([
    [slower, 0],
    [honest, 0],
  ])
  for (let turn = 0; turn < 1000; turn++) {
    const [part] = scheduler.next(demand)!
    const job = part!.job as MapJob
    chunks.set(job, chunks.get(job)! + 1)
    settleCharge(part!, 1, job === slower ? 9 : 1)
  }
  assert.ok(Math.abs(chunks.get(slower)! - 100) <= 2, `${chunks.get(slower)} of 1000 turns, expected 100`)
})

test('a map that comes later is not owed the time before', () => {
  const scheduler = new Scheduler()
  const early = mapOf({ count: 10_000, itemMs: 5 })
  scheduler.offer(early)
  for (let turn = 0; turn < 100; turn++) scheduler.next(demand)
  const late = mapOf({ count: 10_000, itemMs: 5 })
  scheduler.offer(late)
  const turns = Array.from({ length: 20 }, () => scheduler.next(demand)![0]!.job)
  assert.equal(turns.filter(job => job === late).length, 10)
})

test('a higher priority goes first until nothing of it waits', () => {
  const scheduler = new Scheduler()
  const low = mapOf({ count: 3, chunkSize: 1, priority: -1 })
  const middle = mapOf({ count: 2, chunkSize: 1 })
  const high = mapOf({ count: 2, chunkSize: 1, priority: 0.5 })
  for (const job of [low, middle, high]) scheduler.offer(job)
  assert.equal(scheduler.highestPriority, 0.5)
  assert.deepEqual(
    takeAll(scheduler).map(([part]) => part!.job.limits.priority),
    [0.5, 0.5, 0, 0, -1, -1, -1],
  )
  assert.equal(scheduler.highestPriority, undefined)
})

test('what comes back goes first in its priority, and not before a higher one', () => {
  const scheduler = new Scheduler()
  const low = mapOf({ count: 4, chunkSize: 2 })
  scheduler.offer(low)
  const sent = scheduler.next(demand)!
  const high = mapOf({ count: 1, priority: 1 })
  scheduler.offer(high)
  scheduler.giveBack(sent)
  assert.deepEqual(
    takeAll(scheduler).map(([part]) => [part!.job === high ? 'high' : 'low', part!.first]),
    [
      ['high', 0],
      ['low', 0],
      ['low', 2],
    ],
  )
})

test('the rest of a large chunk that comes back is given out in smaller ones, each item once', () => {
  const scheduler = new Scheduler()
  const job = mapOf({ count: 1000, itemMs: 0.001 })
  scheduler.offer(job)
  const large = scheduler.next(demand)!
  assert.equal(countOf(large), 250)
  scheduler.giveBack(large)
  job.task.itemMs = 1
  const chunks = takeAll(scheduler)
  assert.deepEqual(
    chunks.map(([part]) => part!.count).filter(count => count > 5),
    [],
  )
  const indexes = chunks.flatMap(([part]) => Array.from(part!.items!) as number[])
  assert.deepEqual(indexes, [...Array(1000).keys()])
})

test('single calls keep their order, and those of one function share a message', () => {
  const scheduler = new Scheduler()
  const [one, other] = [taskOf(0.01), taskOf(0.01)]
  const jobs = [one, one, other, one].flatMap(task => Array.from({ length: 40 }, () => callOf(task)))
  for (const job of jobs) scheduler.offer(job)
  const chunks = takeAll(scheduler)
  assert.deepEqual(
    chunks.flat().map(part => part.job),
    jobs,
  )
  assert.ok(chunks.length < 80, `${chunks.length} messages for 160 calls`)
  for (const parts of chunks) assert.equal(new Set(parts.map(part => part.job.task)).size, 1)
})

test('single calls that come back share messages again, except one that must be alone', () => {
  const scheduler = new Scheduler()
  const task = taskOf(0.01)
  for (let call = 0; call < 80; call++) scheduler.offer(callOf(task))
  const sent = scheduler.next(demand)!
  assert.equal(sent.length, 20)
  sent[10]!.isSolo = true
  scheduler.giveBack(sent)
  const chunks = takeAll(scheduler)
  assert.equal(chunks.flat().length, 80)
  assert.ok(chunks.some(parts => parts.length === 1 && parts[0] === sent[10]))
  assert.ok(chunks.length < 40)
})

test('single calls and a map take turns', () => {
  const scheduler = new Scheduler()
  const map = mapOf({ count: 1000, itemMs: 10 })
  scheduler.offer(map)
  const slow = taskOf(10)
  for (let call = 0; call < 100; call++) scheduler.offer(callOf(slow))
  const turns = Array.from({ length: 40 }, () => scheduler.next(demand)![0]!.job.isSingle)
  assert.equal(turns.filter(Boolean).length, 20)
})

test('ten thousand maps at once are given out in their order', () => {
  const scheduler = new Scheduler()
  const jobs = Array.from({ length: 10_000 }, () => mapOf({ count: 1 }))
  for (const job of jobs) scheduler.offer(job)
  assert.deepEqual(
    takeAll(scheduler).map(([part]) => part!.job),
    jobs,
  )
})
