// How fast separate tasks go through a pool when the program submits all of them before it waits for any.
import { checkSquares, integersBelow, runEach } from './squares.mjs'
import { timeOf } from './time-of.mjs'

export const singleTasks = {
  id: 'single-tasks',
  title: '20,000 single tasks at once',
  unit: 'tasks/s',
  better: 'higher',
  how: 'Every task squares one number; all are submitted before the first is awaited.',
  size: { tasks: 20_000, repeats: 3 },
  quickSize: { tasks: 500, repeats: 1 },
  targets: [
    { subject: 'multiproc process', reference: { bestPeerOf: 'process' }, factor: 3 },
    { subject: 'multiproc process', reference: { bestPeerOf: 'thread' }, factor: 1 },
    { subject: 'multiproc thread', reference: { bestPeerOf: 'thread' }, factor: 1.5 },
  ],
  async measure({ createPool, workers, size }) {
    const pool = createPool(workers)
    const items = integersBelow(size.tasks)
    checkSquares(await runEach(pool, items), size.tasks)
    const samples = []
    for (let i = 0; i < size.repeats; i += 1) {
      const { ms, value } = await timeOf(() => runEach(pool, items))
      checkSquares(value, size.tasks)
      samples.push((size.tasks / ms) * 1000)
    }
    return { samples }
  },
}
