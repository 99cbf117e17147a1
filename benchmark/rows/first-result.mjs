// What a further pool costs in a program that has had one before.
import { setTimeout as pause } from 'node:timers/promises'
import { timeOf } from './time-of.mjs'

// Some libraries never finish closing a pool right after its first result: they get this long.
const closeMsMax = 1_000
// For the workers of the pool before to be gone, so that they don't take the cores from the next one.
const settleMs = 100

export const firstResult = {
  id: 'first-result',
  title: 'new Pool(2) to first result, further pools',
  unit: 'ms',
  better: 'lower',
  how: 'The same for the pools after the first one, which has been closed; what a library keeps warm counts.',
  size: { pools: 5 },
  quickSize: { pools: 1 },
  targets: [{ subject: 'multiproc process', reference: { bestPeerOf: 'process' }, factor: 1 }],
  async measure({ createPool, workers, size }) {
    const samples = []
    for (let i = 0; i <= size.pools; i += 1) {
      const { ms, value: pool } = await timeOf(async () => {
        const created = createPool(workers)
        await created.run('square', 3)
        return { close: () => created.close() }
      })
      if (i > 0) samples.push(ms)
      await Promise.race([pool.close(), pause(closeMsMax)])
      await pause(settleMs)
    }
    return { samples }
  },
}
