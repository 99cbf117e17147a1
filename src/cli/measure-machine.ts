/**
 * The measurements of `multiproc bench`. Each lasts about as long as it is told, whatever the machine: it does more or
 * less in that time. Invariant: every pool and process that a measurement starts has ended when it returns.
 */
import { cpuCount } from '../platform/cpu-count.ts'
import { Pool } from '../pool/pool.ts'
import type { StartMethod } from '../process/child-boot.ts'
import { Process } from '../process/process.ts'
import { Queue } from '../queue/queue.ts'
import { addOne, byteLength, compute, produce } from './bench-tasks.ts'

/** A result of a measurement. */
export interface Measurement {
  /** For scripts: it stays as it is. */
  name: string
  title: string
  value: number
  unit: string
}

/** No measurement of a machine that works takes so much longer than it is told. */
const ANSWER_MS_MAX = 60_000
const LARGE_BYTES = 1 << 24
const MAP_ITEMS = 20_000
const QUEUE_BATCH = 64
const QUEUE_ITEMS_MAX = 1024
const SPEEDUP_TRIES = 5

type Measure = (durationMs: number) => Promise<Measurement[]>

/** In the order in which they are shown. */
export const MEASURES: readonly Measure[] = [
  async durationMs => await measureWorker('spawn', durationMs),
  async durationMs => await measureWorker('thread', durationMs),
  measureMap,
  measureQueue,
  measureLargeData,
  measureSpeedup,
]

/** The time to the first answer of a new pool, and then of one call after the other. */
async function measureWorker(method: StartMethod, durationMs: number): Promise<Measurement[]> {
  const kind = method === 'spawn' ? 'process' : 'thread'
  const startedAtMs = performance.now()
  await using pool = new Pool({ processes: 1, context: method, name: 'multiproc bench' })
  await pool.apply(addOne, [1]).get({ timeout: ANSWER_MS_MAX })
  const startMs = performance.now() - startedAtMs
  const times: number[] = []
  await repeat(durationMs, async () => {
    const askedAtMs = performance.now()
    await pool.apply(addOne, [times.length])
    times.push(performance.now() - askedAtMs)
  })
  times.sort((a, b) => a - b)
  const medianUs = times[Math.floor(times.length / 2)]! * 1000
  return [
    { name: `${kind}StartMs`, title: `Start of a ${kind}`, value: startMs, unit: 'ms to the first answer' },
    {
      name: `${kind}CallUs`,
      title: `Call of a ${kind}`,
      value: medianUs,
      unit: 'µs there and back (median)',
    },
  ]
}

async function measureMap(durationMs: number): Promise<Measurement[]> {
  await using pool = new Pool({ name: 'multiproc bench' })
  const items = Array.from({ length: MAP_ITEMS }, (_, index) => index)
  // The first call starts the workers and finds the size of chunks.
  await pool.map(addOne, items)
  const { rounds, tookMs } = await repeat(durationMs, async () => void (await pool.map(addOne, items)))
  const perSecond = (rounds * MAP_ITEMS * 1000) / tookMs
  return [
    { name: 'mapItemsPerSecond', title: 'Map', value: perSecond, unit: `items/s (${cpuCount()} processes)` },
  ]
}

async function measureQueue(durationMs: number): Promise<Measurement[]> {
  const queue = new Queue<number[]>(QUEUE_ITEMS_MAX)
  const producer = new Process({ target: produce, args: [queue, QUEUE_BATCH], name: 'multiproc bench' })
  producer.start()
  try {
    await queue.get({ timeout: ANSWER_MS_MAX })
    let count = 0
    const { tookMs } = await repeat(durationMs, async () => {
      count += (await queue.getMany({ timeout: ANSWER_MS_MAX })).length
    })
    return [
      { name: 'queueMessagesPerSecond', title: 'Queue', value: (count * 1000) / tookMs, unit: 'messages/s' },
    ]
  } finally {
    producer.kill()
    await producer.join()
    queue.close()
  }
}

async function measureLargeData(durationMs: number): Promise<Measurement[]> {
  await using pool = new Pool({ processes: 1, name: 'multiproc bench' })
  const bytes = new Uint8Array(LARGE_BYTES).fill(1)
  await pool.apply(byteLength, [bytes])
  const { rounds, tookMs } = await repeat(
    durationMs,
    async () => void (await pool.apply(byteLength, [bytes])),
  )
  const perSecond = (rounds * (LARGE_BYTES / 2 ** 20) * 1000) / tookMs
  return [
    { name: 'largeMebibytesPerSecond', title: 'Large data', value: perSecond, unit: 'MiB/s to a process' },
  ]
}

/** How much sooner all processors finish the same work than one does. */
async function measureSpeedup(durationMs: number): Promise<Measurement[]> {
  const cpus = cpuCount()
  await using pool = new Pool({ processes: cpus, name: 'multiproc bench' })
  const rounds = await roundsFor(pool, durationMs / SPEEDUP_TRIES / (cpus + 1))
  const work = Array.from({ length: cpus }, () => rounds)
  let oneMs = Infinity
  let allMs = Infinity
  // Other programs only make things slower: the shortest time of each is nearest to the truth.
  for (let round = 0; round < SPEEDUP_TRIES; round++) {
    const apart = await timeOf(async () => {
      for (const each of work) await pool.apply(compute, [each])
    })
    const together = await timeOf(async () => void (await pool.map(compute, work, { chunkSize: 1 })))
    oneMs = Math.min(oneMs, apart)
    allMs = Math.min(allMs, together)
  }
  return [{ name: 'speedup', title: 'Speed-up', value: oneMs / allMs, unit: `times (${cpus} processes)` }]
}

/** How many rounds of `compute` take about so long, in workers that have all started. */
async function roundsFor(pool: Pool, wantedMs: number): Promise<number> {
  let rounds = 1 << 20
  for (;;) {
    const given = rounds
    const tookMs = await timeOf(async () => {
      await pool.map(
        compute,
        Array.from({ length: cpuCount() }, () => given),
        { chunkSize: 1 },
      )
    })
    // A start counts as well the first time, so that the second round is the shortest that is believed.
    if (tookMs >= wantedMs / 2 && rounds > 1 << 20) return Math.ceil((rounds * wantedMs) / tookMs)
    rounds *= 2
  }
}

async function repeat(
  durationMs: number,
  act: () => Promise<void>,
): Promise<{ rounds: number; tookMs: number }> {
  const startedAtMs = performance.now()
  let rounds = 0
  let tookMs = 0
  do {
    await act()
    rounds++
    tookMs = performance.now() - startedAtMs
  } while (tookMs < durationMs)
  return { rounds, tookMs }
}

async function timeOf(act: () => Promise<void>): Promise<number> {
  const startedAtMs = performance.now()
  await act()
  return performance.now() - startedAtMs
}
