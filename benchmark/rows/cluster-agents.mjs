// What more machines are worth: the time with one agent of one process, divided by the time with two, and with four. All
// of them are on this machine, so tasks that compute cannot be faster than its processors.
import { timeOf } from './time-of.mjs'

const agentsMax = 4

const row = (id, { task, argument, ...more }) => ({
  id,
  unit: '× one agent',
  better: 'higher',
  onlyLibraries: ['multiproc cluster', 'BullMQ, concurrency 1'],
  ...more,
  async measure({ createPool: open, size }) {
    const cluster = await open({ agents: 1, processes: 1 })
    const items = Array.from({ length: size.tasks }, () => argument(size))
    const times = new Map()
    for (let agents = 1; agents <= agentsMax; agents *= 2) {
      while (cluster.workers.length < agents) cluster.workers.push(await cluster.addAgent())
      // Its processes have started, and have compiled the task.
      await cluster.map(task, items.slice(0, 8 * agents), { chunkSize: 1 })
      times.set(agents, (await timeOf(() => cluster.map(task, items, { chunkSize: 1 }))).ms)
    }
    const gain = agents => times.get(1) / times.get(agents)
    return {
      samples: [gain(4)],
      note: `2 agents: ${gain(2).toFixed(2)}×; 1 agent: ${times.get(1).toFixed(0)} ms for ${size.tasks} tasks`,
    }
  },
})

export const clusterSleepAgents = row('cluster-sleep-agents', {
  title: '1, 2 and 4 agents, tasks that wait',
  how: 'Tasks that sleep, each alone in its message, with four agents of one process each.',
  task: 'sleep',
  argument: ({ sleepMs }) => sleepMs,
  size: { tasks: 100, sleepMs: 20 },
  quickSize: { tasks: 8, sleepMs: 1 },
  targets: [{ subject: 'multiproc cluster', atLeast: 3 }],
})

export const clusterCpuAgents = row('cluster-cpu-agents', {
  title: '1, 2 and 4 agents, tasks that compute',
  how: 'The same with tasks that compute for some 20 ms.',
  task: 'burn',
  argument: ({ iterations }) => iterations,
  size: { tasks: 100, iterations: 20_000_000 },
  quickSize: { tasks: 8, iterations: 1_000 },
  targets: [],
})
