/** What one map costs with more and more agents: the same items, on 1, 10, 100 and 1000 machines of 8 processes. */
import { type SimulationOptions, simulate } from './simulation.js'

const AGENTS = [1, 10, 100, 1000]
const PROCESSES = 8
/** For all agents to be there. */
const IDLE_MS = 3000
/** As a pool cuts it: 60 ms of work in a chunk. */
const ITEM_MS = 1
const CHUNK_SIZE = 60

function mapOn(agents: number, items: number): SimulationOptions {
  return {
    seed: 1,
    items,
    agents,
    processes: PROCESSES,
    programs: 1,
    chunkSize: CHUNK_SIZE,
    itemMs: ITEM_MS,
    isEven: true,
    // What a packed chunk of 60 numbers takes.
    padding: 3 * CHUNK_SIZE,
    codeBytes: 500,
    cancelEvery: 0,
    beginAfterMs: IDLE_MS,
    latencyMs: 0.2,
    jitterMs: 0.2,
    leaseMs: 15_000,
    inlineBytesMax: 512 * 1024,
    faultEveryMs: 0,
    isGentle: true,
    workerDeathEvery: 0,
    isPoisoned: false,
  }
}

function memoryMb(): number {
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return (heapUsed + external) / 2 ** 20
}

/** Prints a table. */
export async function measureGrowth(items: number): Promise<void> {
  const rows: (string | number)[][] = [
    [
      'agents',
      'items',
      'virtual s',
      'ideal s',
      'messages an item',
      'bytes an item',
      'most open chunks',
      'their MB, everywhere',
      'events',
      'events a real second',
    ],
  ]
  for (const agents of AGENTS) {
    // A tenth of the items on a tenth of the machines: the same time.
    const own = Math.max(10_000, Math.round((items * agents) / AGENTS.at(-1)!))
    const clock = process.hrtime.bigint.bind(process.hrtime)
    const began = clock()
    let [emptyMb, fullMb] = [0, 0]
    const outcome = await simulate(mapOn(agents, own), {
      onEmpty: () => (emptyMb = memoryMb()),
      onFull: () => (fullMb = memoryMb()),
    })
    const seconds = Number(clock() - began) / 1e9
    rows.push([
      agents,
      own,
      ((outcome.virtualMs - IDLE_MS) / 1000).toFixed(1),
      ((own * ITEM_MS) / (agents * PROCESSES) / 1000).toFixed(1),
      (outcome.messages / own).toFixed(3),
      (outcome.bytes / own).toFixed(1),
      outcome.openMax,
      (fullMb - emptyMb).toFixed(1),
      outcome.events,
      Math.round(outcome.events / seconds),
    ])
  }
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => String(row[column]).length)))
  for (const row of rows)
    console.log(`| ${row.map((cell, index) => String(cell).padStart(widths[index]!)).join(' | ')} |`)
}
