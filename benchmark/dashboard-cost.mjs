// What a dashboard costs the program that it shows: the same work with nobody watching, and watched twice a second over
// the socket as "multiproc dashboard" does, in turns, so that a machine with other things to do does not favour one.
//
//   npm run build && node benchmark/dashboard-cost.mjs [--workers 64] [--rounds 8]
//
// It prints tasks a second and the processor time of a task for both, what share of it the watching takes, and the time of
// one look.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Pool } from '../dist/index.js'
import { programInspector } from '../dist/dashboard/program-inspector.js'

const { values } = parseArgs({
  options: { workers: { type: 'string', default: '64' }, rounds: { type: 'string', default: '8' } },
})
const itemsPerMap = 100_000
const roundMs = 3000
const tag = `cost${process.pid}`

const hash = n => {
  let h = n | 0
  for (let i = 0; i < 40; i++) h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
  return h
}

/** Works for a while, and tells how much was done and what it took. */
async function round(pool, numbers) {
  const before = process.cpuUsage()
  const startedAtMs = performance.now()
  let tasks = 0
  while (performance.now() - startedAtMs < roundMs) {
    await pool.map(hash, numbers)
    tasks += numbers.length
  }
  const elapsedMs = performance.now() - startedAtMs
  const { user, system } = process.cpuUsage(before)
  return { tasks, perSecond: (tasks / elapsedMs) * 1000, microsecondsOfTask: (user + system) / tasks }
}

function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

if (process.send) {
  // The one who watches, in a process of its own.
  const { WatchedPrograms } = await import('../dist/dashboard/watched-programs.js')
  const { inspectedNames } = await import('../dist/platform/inspection-folder.js')
  let programs
  let updates = 0
  process.on('message', message => {
    programs?.close()
    programs = undefined
    if (message === 'watch') {
      programs = new WatchedPrograms()
      programs.listener = { onPrograms: () => {}, onUpdate: () => updates++ }
      programs.find(() => inspectedNames(process.env.COST_TAG))
    }
    process.send({ updates })
  })
} else {
  process.env.MULTIPROC_INSPECT = tag
  const watcher = fork(fileURLToPath(import.meta.url), {
    env: { ...process.env, COST_TAG: tag, MULTIPROC_INSPECT: '0' },
  })
  const tell = async what => {
    watcher.send(what)
    const [{ updates }] = await once(watcher, 'message')
    return updates
  }
  const pool = new Pool({ processes: Number(values.workers), context: 'thread', name: 'cost' })
  const numbers = Array.from({ length: itemsPerMap }, (_, index) => index)
  await round(pool, numbers)
  const alone = []
  const watched = []
  for (let at = 0; at < Number(values.rounds); at++) {
    // Which one is first changes, because a machine also gets slower and faster by itself.
    for (const isWatched of at % 2 === 0 ? [false, true] : [true, false]) {
      await tell(isWatched ? 'watch' : 'stop')
      ;(isWatched ? watched : alone).push(await round(pool, numbers))
    }
  }
  const updates = await tell('stop')
  // What a machine with other things to do cannot hide: the time of a look itself, taken while the workers work.
  const watch = programInspector().watch()
  const looksMs = []
  const timer = setInterval(() => {
    const startedAtMs = performance.now()
    JSON.stringify(watch.look(0))
    looksMs.push(performance.now() - startedAtMs)
  }, 500)
  await round(pool, numbers)
  clearInterval(timer)
  watch.end()
  const of = (rounds, key) => median(rounds.map(each => each[key]))
  const extra = of(watched, 'microsecondsOfTask') / of(alone, 'microsecondsOfTask') - 1
  console.log(
    `${values.workers} threads, ${values.rounds} rounds of ${roundMs / 1000} s each, ${updates} looks`,
  )
  console.log(
    `alone    ${of(alone, 'perSecond').toFixed(0)} tasks/s  ${of(alone, 'microsecondsOfTask').toFixed(3)} µs of processors for a task`,
  )
  console.log(
    `watched  ${of(watched, 'perSecond').toFixed(0)} tasks/s  ${of(watched, 'microsecondsOfTask').toFixed(3)} µs of processors for a task`,
  )
  console.log(`watching takes ${(extra * 100).toFixed(1)}% more processor time`)
  console.log(
    `a look takes ${median(looksMs).toFixed(2)} ms, twice a second: ${((median(looksMs) * 2) / 10).toFixed(2)}% of one processor`,
  )
  await pool.terminate()
  watcher.disconnect()
}
