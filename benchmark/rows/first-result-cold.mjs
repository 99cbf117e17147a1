// What the first pool of a program costs, with everything that the library does once: one sample a process.
import { timeOf } from './time-of.mjs'

export const firstResultCold = {
  id: 'first-result-cold',
  title: 'new Pool(2) to first result, first pool of the program',
  unit: 'ms',
  better: 'lower',
  how: 'From the constructor to the answer of one task, the library being imported already. One sample a process.',
  size: {},
  quickSize: {},
  targets: [{ subject: 'multiproc process', reference: { bestPeerOf: 'process' }, factor: 1 }],
  async measure({ createPool, workers }) {
    const { ms } = await timeOf(() => createPool(workers).run('square', 3))
    return { samples: [ms] }
  },
}
