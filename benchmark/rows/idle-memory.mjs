// How much memory a worker holds for itself while it has nothing to do: what a pool costs just by being there.
// Linux only: it reads Private_Clean + Private_Dirty of /proc/<pid>/smaps_rollup.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { runEach, integersBelow } from './squares.mjs'

// Start-up garbage and late compilation are over by then.
const settleMs = 500

function privateMiBOf(pid) {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  let kibibytes = 0
  for (const [, amount] of rollup.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB$/gm))
    kibibytes += Number(amount)
  return kibibytes / 1024
}

/** The process ids of all children of this process, of their children, and so on. */
function descendants() {
  const childrenOf = new Map()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    let stat
    try {
      stat = readFileSync(`/proc/${name}/stat`, 'utf8')
    } catch {
      continue // it ended between readdir() and now
    }
    // The name of the program, in parentheses, may hold spaces: fields are counted from its end.
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
    childrenOf.set(parent, [...(childrenOf.get(parent) ?? []), Number(name)])
  }
  const found = []
  const visit = pid => {
    for (const child of childrenOf.get(pid) ?? []) {
      found.push(child)
      visit(child)
    }
  }
  visit(process.pid)
  return found
}

export const idleMemory = {
  id: 'idle-memory',
  title: 'idle worker, private memory',
  unit: 'MiB',
  better: 'lower',
  how: 'After some small tasks and half a second of rest. Processes: the mean private memory of the children. Threads: what the program grew by, for each worker.',
  size: { tasks: 200 },
  quickSize: { tasks: 10 },
  targets: [{ subject: 'multiproc process', reference: { library: 'bare Node child' }, moreAtMost: 2 }],
  async measure({ createPool, workers, size, library }) {
    if (!existsSync('/proc/self/smaps_rollup')) {
      throw new Error('this system has no /proc/<pid>/smaps_rollup to read private memory from')
    }
    const items = integersBelow(size.tasks)
    const before = privateMiBOf('self')
    const pool = createPool(workers)
    await runEach(pool, items)
    await pause(settleMs)
    if (library.home === 'thread') return { samples: [(privateMiBOf('self') - before) / workers] }
    const children = descendants()
    const total = children.reduce((sum, pid) => sum + privateMiBOf(pid), 0)
    const note = children.length === workers ? undefined : `it keeps ${children.length} processes`
    return { samples: [total / children.length], note }
  },
}
