// How long one task takes when the program waits for each answer before it submits the next.
import { median } from '../statistics.mjs'
import { timeOf } from './time-of.mjs'

export const roundTrip = {
  id: 'round-trip',
  title: 'round trip of one task',
  unit: 'µs',
  better: 'lower',
  how: 'One task in flight at a time, thousands of times; the median of them is one sample.',
  size: { tasks: 2_000, warmUps: 2_000 },
  quickSize: { tasks: 50, warmUps: 10 },
  targets: [
    { subject: 'multiproc process', reference: { bestPeerOf: 'process' }, factor: 0.5 },
    { subject: 'multiproc thread', reference: { library: 'piscina' }, factor: 1 },
  ],
  async measure({ createPool, workers, size }) {
    const pool = createPool(workers)
    for (let i = 0; i < size.warmUps; i += 1) await pool.run('square', i)
    const times = []
    for (let i = 0; i < size.tasks; i += 1) {
      const { ms } = await timeOf(() => pool.run('square', i))
      times.push(ms * 1000)
    }
    return { samples: [median(times)] }
  },
}
