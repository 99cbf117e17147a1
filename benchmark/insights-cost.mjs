// What it costs to look on: insights (always on), progress, subscribed channels, spans, and stores that are carried along.
//
//   node benchmark/insights-cost.mjs [--rounds 15] [--before <folder of another built checkout>] [--only <name>]... [--wall]
//
// Each row compares two ways to do the same work, one right after the other in a random order, many times, in one process;
// the number is the median of the ratios, so that a machine that is slow for a while is slow for both. What is compared is
// the time of the processors that this process and its workers have used, which others on the machine change little.
// (--wall compares the time that has passed; let nothing else run then.) Linux only.
// Insights cannot be switched off, so what they are compared with is a copy of dist/ without them, which is made here. A
// line of dist/ that is not found where it was is an error, so that nobody measures two copies of the same.
// With --before, a third library is measured: what the channels cost that nobody listens to.
import { AsyncLocalStorage } from 'node:async_hooks'
import { tracingChannel } from 'node:diagnostics_channel'
import { spawnSync } from 'node:child_process'
import { cpSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { median } from './statistics.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    before: { type: 'string' },
    only: { type: 'string', multiple: true },
    wall: { type: 'boolean', default: false },
    /** Of the processes that measure one row each. */
    row: { type: 'string' },
  },
})
const rounds = Number(options.rounds)
const WARM_UP_ROUNDS = 3

// ---- The library without insights ----

/** What is taken out, in which file of dist/library/. */
const REMOVED = [
  ['program', 'returned(count, elapsedMs, bytes) {', 'returned(count, elapsedMs, bytes) { return;'],
  ['program', 'threw(elapsedMs, bytes) {', 'threw(elapsedMs, bytes) { return;'],
  ['program', 'runner.insights.sentBytes += bytes;', ''],
  ['child', 'if (tookMs > this.#longest.thresholdMs)', 'if (false)'],
  ['child', 'if (failedAfterMs > this.#longest.thresholdMs)', 'if (false)'],
  ['child', 'tellMemory(journal, nowMs) {', 'tellMemory(journal, nowMs) { return;'],
]

/** A copy of the library, in a folder of build/. */
function copyOfLibrary(name) {
  const folder = join(root, 'build', name)
  rmSync(folder, { recursive: true, force: true })
  cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true })
  writeFileSync(join(folder, 'package.json'), readFileSync(join(root, 'package.json')))
  return folder
}

function withoutInsights() {
  const folder = copyOfLibrary('without-insights')
  for (const [file, text, replacement] of REMOVED) {
    const path = join(folder, 'dist', 'library', `${file}.js`)
    const source = readFileSync(path, 'utf8')
    if (source.split(text).length !== 2) {
      throw new Error(
        `Cannot take the insights out of ${path}: "${text}" is there ${source.split(text).length - 1} times\nTo fix: change REMOVED in benchmark/insights-cost.mjs`,
      )
    }
    writeFileSync(path, source.replace(text, replacement))
  }
  return folder
}

const load = folder => import(pathToFileURL(join(folder, 'dist', 'index.js')).href)
const now = () => load(root)
const bare = () => load(withoutInsights())
const same = () => load(copyOfLibrary('same-library'))
const before = () => load(resolve(options.before))

// ---- Work ----

const items = Array.from({ length: 1_000_000 }, (_, n) => n % 1000)
const square = x => x * x
/** Some 20 µs: a map of these is in many chunks. */
const work = x => {
  let sum = 0
  for (let n = 0; n < 20_000; n++) sum = (sum + n * x) | 0
  return sum
}

const WORKLOADS = {
  'map of 1,000,000 squares': { run: ({ pool }, given) => pool.map(square, items, given), isMap: true },
  'map of 4,000 items of 20 µs': {
    run: ({ pool }, given) => pool.map(work, items.slice(0, 4000), given),
    isMap: true,
  },
  '10,000 single tasks at once': {
    run: ({ pool }) => Promise.all(items.slice(0, 10_000).map(x => pool.apply(square, [x]))),
  },
  '500 single tasks, one after the other': {
    run: async ({ pool }) => {
      for (let n = 0; n < 500; n++) await pool.apply(square, [n])
    },
  },
  '20,000 waits for a lock': {
    isOfWaits: true,
    run: async ({ library }) => {
      const lock = new library.Lock()
      const task = async () => {
        for (let n = 0; n < 500; n++) {
          await lock.acquire()
          lock.release()
        }
      }
      await Promise.all(Array.from({ length: 40 }, task))
    },
  },
  '20,000 waits for a queue': {
    isOfWaits: true,
    run: async ({ library }) => {
      const queue = new library.Queue()
      const reader = async () => {
        for (let n = 0; n < 20_000; n++) await queue.get()
      }
      const reading = reader()
      for (let n = 0; n < 20_000; n++) {
        queue.putSync(n)
        await Promise.resolve()
      }
      await reading
      queue.close()
    },
  },
}

// ---- Ways to do it ----

/** A listener for all events of a channel; gives what ends it. */
function subscribed(...names) {
  return () => {
    const ends = names.flatMap(name =>
      ['start', 'end', 'asyncStart', 'asyncEnd', 'error'].map(event => {
        const listener = () => {}
        const channel = tracingChannel(name)[event]
        channel.subscribe(listener)
        return () => channel.unsubscribe(listener)
      }),
    )
    return () => ends.forEach(end => end())
  }
}

function instrumented(spans) {
  return async () => {
    const { instrument } = await import(pathToFileURL(join(root, 'dist/opentelemetry/opentelemetry.js')).href)
    const { BasicTracerProvider } = await import('@opentelemetry/sdk-trace-base')
    const tracerProvider = new BasicTracerProvider()
    const instrumentation = instrument({ tracerProvider, spans })
    return () => instrumentation.stop()
  }
}

const storage = new AsyncLocalStorage()
const carrying = async () => {
  const { stop } = (await now()).carryAcross('request', storage)
  return stop
}

const onProgress = () => {}
const bothProgress = { onProgress }
/** What is compared with what: libraries, what is switched on, and options of maps. */
const ROWS = [
  { name: 'insights', base: bare, library: now },
  { name: 'insights and progress', base: bare, library: now, given: bothProgress, isOfPools: true },
  { name: 'progress', base: now, library: now, given: bothProgress, isOfMaps: true },
  ...(options.before
    ? [{ name: 'channels, nobody listens', base: before, library: now, isOfAll: true }]
    : []),
  { name: 'calls followed', base: now, library: now, on: subscribed('multiproc:call') },
  { name: 'chunks followed', base: now, library: now, on: subscribed('multiproc:chunk') },
  {
    name: 'waits followed',
    base: now,
    library: now,
    on: subscribed('multiproc:lock', 'multiproc:queue'),
    isOfWaits: true,
  },
  { name: 'spans of calls', base: now, library: now, on: instrumented('calls') },
  { name: 'spans of calls and tasks', base: now, library: now, on: instrumented('calls and tasks') },
  { name: 'a store carried', base: now, library: now, on: carrying, store: { id: 7 } },
  { name: 'nothing: two copies of the same', base: same, library: now, isOfAll: true },
]

const pools = new Map()
async function placeOf(library) {
  let place = pools.get(library)
  if (!place) {
    const loaded = await library()
    place = { library: loaded, pool: new loaded.Pool(2) }
    pools.set(library, place)
    await place.pool.map(square, items.slice(0, 1000))
  }
  return place
}

/** Nanoseconds that all threads of a process have run. */
function cpuNs(pid) {
  let sum = 0
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      sum += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0])
    } catch {
      // It has ended meanwhile.
    }
  }
  return sum
}

function readClock({ pool }) {
  if (options.wall) return performance.now()
  return [process.pid, ...pool.stats().workers.map(({ pid }) => pid)].reduce(
    (sum, pid) => sum + cpuNs(pid),
    0,
  )
}

async function timed(place, run) {
  const started = readClock(place)
  await run()
  return readClock(place) - started
}

async function sample(row, workload, isBase) {
  const place = await placeOf(isBase ? row.base : row.library)
  const end = isBase ? undefined : await row.on?.()
  const given = isBase ? undefined : row.given
  const run = () => workload.run(place, given)
  try {
    return await timed(place, () => (isBase || row.store === undefined ? run() : storage.run(row.store, run)))
  } finally {
    end?.()
  }
}

function isFor(row, workload) {
  if (row.isOfAll) return true
  if (row.isOfMaps) return workload.isMap === true
  return (row.isOfWaits === true) === (workload.isOfWaits === true)
}

const percent = ratio => `${ratio >= 1 ? '+' : ''}${((ratio - 1) * 100).toFixed(1)} %`

function print(workloadName, unsorted) {
  const ratios = unsorted.toSorted((a, b) => a - b)
  const quarter = at => percent(ratios[Math.floor((ratios.length - 1) * at)])
  const spread = `(${quarter(0.25)} to ${quarter(0.75)})`
  console.log(`  ${workloadName.padEnd(40)} ${percent(median(ratios)).padStart(9)}   ${spread}`)
}

/** A row, in a process of its own: both sides have run as often then, and are as well compiled. */
async function measure(row) {
  console.log(row.name)
  for (const [workloadName, workload] of Object.entries(WORKLOADS)) {
    if (!isFor(row, workload)) continue
    const ratios = []
    // The first rounds are for the compiler.
    for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
      const isBaseFirst = Math.random() < 0.5
      const first = await sample(row, workload, isBaseFirst)
      const second = await sample(row, workload, !isBaseFirst)
      if (round >= 0) ratios.push(isBaseFirst ? second / first : first / second)
    }
    print(workloadName, ratios)
  }
  for (const { pool } of pools.values()) await pool.terminate()
}

if (options.row !== undefined) await measure(ROWS.find(({ name }) => name === options.row))
else {
  const loads = [loadavg()[0]]
  console.log(`Node ${process.version}, ${rounds} rounds`)
  console.log(
    `Cost in ${options.wall ? 'time' : 'time of processors'}: median of the ratios, and the quarters below and above it\n`,
  )
  for (const { name } of ROWS) {
    if (options.only !== undefined && !options.only.includes(name)) continue
    const child = spawnSync(
      process.execPath,
      [fileURLToPath(import.meta.url), ...process.argv.slice(2), '--row', name],
      {
        stdio: 'inherit',
      },
    )
    if (child.status !== 0) process.exit(1)
    loads.push(loadavg()[0])
  }
  console.log(`\nLoad average ${Math.min(...loads).toFixed(1)} to ${Math.max(...loads).toFixed(1)}`)
}
