// Whether a pool lets two workers compute as fast as two processes without any library. Both sides take turns in the
// same process, so that other load on the machine meets both.
import { startBareChildren } from '../libraries/bare-node.mjs'
import tasks from '../tasks/tasks.cjs'
import { timeOf } from './time-of.mjs'

/** How many iterations of `burn` take `ms` here, once it has been compiled. */
function iterationsFor(ms) {
  let iterations = 1_000_000
  for (let i = 0; i < 8; i += 1) {
    const start = performance.now()
    tasks.burn(iterations)
    iterations = Math.max(1, Math.round((iterations * ms) / (performance.now() - start)))
  }
  return iterations
}

export const cpuScaling = {
  id: 'cpu-scaling',
  title: 'CPU-bound scaling on two workers',
  unit: '× two bare processes',
  better: 'higher',
  how: 'Time of two bare Node children, each given half of the work as one message, divided by the time of the pool with one task for each piece; 1 is perfect.',
  size: { tasks: 64, taskMs: 20, repeats: 3 },
  quickSize: { tasks: 4, taskMs: 2, repeats: 1 },
  targets: [
    { subject: 'multiproc process', atLeast: 0.97 },
    { subject: 'multiproc thread', atLeast: 0.97 },
  ],
  async measure({ createPool, workers, size }) {
    const iterations = iterationsFor(size.taskMs)
    const bare = startBareChildren(workers)
    const pool = createPool(workers)
    const count = size.tasks / workers
    const runBare = share =>
      Promise.all(
        Array.from({ length: workers }, (_, i) => bare.runOn(i, 'burnMany', { count: share, iterations })),
      )
    const runPool = length => Promise.all(Array.from({ length }, () => pool.run('burn', iterations)))
    // Both sides compile `burn` before they are timed.
    await runBare(4)
    await runPool(4 * workers)
    const samples = []
    for (let i = 0; i < size.repeats; i += 1) {
      const { ms: bareMs } = await timeOf(() => runBare(count))
      const { ms: poolMs } = await timeOf(() => runPool(size.tasks))
      samples.push(bareMs / poolMs)
    }
    await bare.close()
    return { samples }
  },
}
