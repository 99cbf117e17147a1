// How long a program waits for one small task on another machine, when it waits for each before it sends the next.
import { median } from '../statistics.mjs'
import { timeOf } from './time-of.mjs'

const row = (id, more) => ({
  id,
  unit: 'ms',
  better: 'lower',
  size: { tasks: 500, warmUps: 400 },
  quickSize: { tasks: 20, warmUps: 5 },
  targets: [],
  ...more,
  async measure({ createPool: open, workers, size }) {
    const cluster = await open({ agents: 1, processes: workers })
    for (let i = 0; i < size.warmUps; i += 1) await cluster.run('square', i)
    const times = []
    for (let i = 0; i < size.tasks; i += 1) times.push((await timeOf(() => cluster.run('square', i))).ms)
    return { samples: [more.summary(times)] }
  },
})

export const clusterRoundTrip = row('cluster-round-trip', {
  title: 'round trip of one task on a cluster',
  how: 'One task in flight at a time; the median of them is one sample.',
  summary: median,
})

export const clusterRoundTripP99 = row('cluster-round-trip-p99', {
  title: 'round trip of one task on a cluster, the slowest of a hundred',
  how: 'The same; the 99th percentile is one sample.',
  summary: times => times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)],
})
