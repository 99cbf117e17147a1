// How long it takes until a process that waits for a semaphore goes on after another has released it.
import { timeOf } from './time-of.mjs'

export const lockHandOver = {
  id: 'lock-hand-over',
  title: 'semaphore, handed over to a process that waits',
  unit: 'µs',
  better: 'lower',
  how: 'Two processes take turns: each waits for its own semaphore and releases that of the other, blocking. The time of all turns divided by their number. The floor is two processes in C on a futex.',
  size: { turns: 20_000, repeats: 5 },
  quickSize: { turns: 200, repeats: 1 },
  onlyLibraries: ['multiproc process', 'Python fork', 'C floor'],
  targets: [{ subject: 'multiproc process', reference: { bestPeerOf: 'python' }, factor: 1 }],
  async measure({ createPool, library, size }) {
    const { turns, repeats } = size
    if (library.name === 'C floor') {
      const runFloor = createPool()
      return { samples: Array.from({ length: repeats }, () => runFloor('hand-over', turns)) }
    }
    const { Process, Semaphore } = await import('multiproc')
    const here = new Semaphore(0)
    const there = new Semaphore(0)
    const child = new Process({
      daemon: true,
      target: () => {
        for (;;) {
          there.acquireSync()
          here.release()
        }
      },
    })
    child.start()
    const takeTurns = () => {
      for (let turn = 0; turn < turns; turn += 1) {
        there.release()
        here.acquireSync()
      }
    }
    takeTurns()
    const samples = []
    for (let repeat = 0; repeat < repeats; repeat += 1) {
      const { ms } = await timeOf(takeTurns)
      samples.push((ms * 1000) / (2 * turns))
    }
    return { samples }
  },
}
