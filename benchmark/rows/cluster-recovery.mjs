// How long it takes until work goes on when something was killed with kill -9.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { folderOf } from '../cluster/servers.mjs'
import { WrongResultError } from './wrong-result-error.mjs'

const runsMsMax = 60_000
/** Of the agents and workers that are killed: the shortest that their servers can be expected to bear. */
const leaseMs = 2000

/** The runs of the task that are noted in the file, when there are so many. */
async function runsIn(file, count) {
  for (let waitedMs = 0; waitedMs < runsMsMax; waitedMs += 2) {
    const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : []
    if (lines.length >= count) {
      return lines.map(line => {
        const [pid, atMs] = line.split(' ').map(Number)
        return { pid, atMs }
      })
    }
    await pause(2)
  }
  throw new WrongResultError('lost', `The task did not run again within ${runsMsMax / 1000} s`)
}

/** Starts a task, kills what `whom` says of its first run, and tells how long it took until the second. */
async function untilRunAgain(cluster, { whom, retries }) {
  const file = join(folderOf(process.pid), 'runs')
  const result = cluster.run('noteRun', file, { retries })
  const [first] = await runsIn(file, 1)
  const killedAtMs = Date.now()
  process.kill(whom(first), 'SIGKILL')
  const [, second] = await runsIn(file, 2)
  await result
  return second.atMs - killedAtMs
}

export const clusterKillChild = {
  id: 'cluster-kill-child',
  title: 'kill -9 of the process that runs a task: until it runs again',
  unit: 'ms',
  better: 'lower',
  how: "The task may be retried. multiproc's tasks run in children of the agent; BullMQ's in a child of its worker when the processor is sandboxed, as here.",
  size: {},
  quickSize: {},
  onlyLibraries: ['multiproc cluster', 'BullMQ, concurrency 1'],
  targets: [{ subject: 'multiproc cluster', atMost: 1000 }],
  async measure({ createPool: open }) {
    const cluster = await open({ agents: 1, processes: 2, isSandboxed: true })
    await cluster.run('square', 1)
    return { samples: [await untilRunAgain(cluster, { whom: ({ pid }) => pid, retries: 1 })] }
  },
}

export const clusterKillAgent = {
  id: 'cluster-kill-agent',
  title: 'kill -9 of an agent: until another runs its task',
  unit: 'ms',
  better: 'lower',
  how: `Two agents; the one that has the task is killed. With a lease of ${leaseMs / 1000} s (BullMQ: \`lockDuration\`, and half of it as \`stalledInterval\`); both have more by default: multiproc 15 s, BullMQ 30 s and as much again until it looks.`,
  size: {},
  quickSize: {},
  onlyLibraries: ['multiproc cluster', 'BullMQ, concurrency 1'],
  targets: [{ subject: 'multiproc cluster', atMost: leaseMs + 1000 }],
  async measure({ createPool: open }) {
    const cluster = await open({ agents: 2, processes: 1, leaseMs })
    // A child of an agent ends with it; a worker of BullMQ runs its jobs itself.
    const agents = new Set(cluster.workers.map(({ pid }) => pid))
    const whom = ({ pid }) => (agents.has(pid) ? pid : parentOf(pid))
    return { samples: [await untilRunAgain(cluster, { whom, retries: 0 })] }
  },
}

/** Linux only, as the rows of memory are. */
function parentOf(pid) {
  return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').pop().split(' ')[1])
}

export const clusterKillServer = {
  id: 'cluster-kill-server',
  title: 'kill -9 of the server and its restart: the longest time without a result',
  unit: 'ms',
  better: 'lower',
  how: 'Single tasks of 2 ms; after 40 % of the results the server is killed, and started again at once. All results have to come. With the same leases as above: a task whose result the server has forgotten runs again after that.',
  size: { tasks: 1_000 },
  quickSize: { tasks: 100 },
  onlyLibraries: ['multiproc cluster', 'BullMQ, concurrency 1'],
  targets: [],
  async measure({ createPool: open, workers, size }) {
    const cluster = await open({ agents: 1, processes: workers, leaseMs })
    await cluster.map('sleep', [2, 2, 2, 2], { chunkSize: 1 })
    let count = 0
    let lastAtMs = performance.now()
    let longestMs = 0
    const onResult = () => {
      const nowMs = performance.now()
      longestMs = Math.max(longestMs, nowMs - lastAtMs)
      lastAtMs = nowMs
      count += 1
      if (count === Math.floor(size.tasks * 0.4))
        void cluster.server.kill().then(() => cluster.server.start())
    }
    const items = Array.from({ length: size.tasks }, () => 2)
    const late = pause(runsMsMax, undefined, { ref: false }).then(() => {
      throw new WrongResultError(
        'lost',
        `${size.tasks - count} results did not come within ${runsMsMax / 1000} s`,
      )
    })
    await Promise.race([cluster.each('sleep', items, { onResult }), late])
    return { samples: [longestMs] }
  },
}
