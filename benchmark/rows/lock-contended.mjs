// How often two processes together get a lock that both want all the time.
export const lockContended = {
  id: 'lock-contended',
  title: 'lock, contended by two processes',
  unit: 'M/s',
  better: 'higher',
  how: 'Two processes acquire and release one lock as fast as they can, blocking; the acquisitions of both, by the time until both are done.',
  size: { pairs: 1_000_000, repeats: 5 },
  quickSize: { pairs: 10_000, repeats: 1 },
  onlyLibraries: ['multiproc process', 'Python fork'],
  targets: [{ subject: 'multiproc process', reference: { bestPeerOf: 'python' }, factor: 3 }],
  async measure({ size }) {
    const { Barrier, Lock, Process } = await import('multiproc')
    const lock = new Lock()
    const barrier = new Barrier(3)
    const { pairs, repeats } = size
    const target = () => {
      for (let repeat = -1; repeat < repeats; repeat += 1) {
        barrier.waitSync()
        for (let i = 0; i < pairs; i += 1) {
          lock.acquireSync()
          lock.release()
        }
        barrier.waitSync()
      }
    }
    const children = [1, 2].map(() => new Process({ target }))
    for (const child of children) child.start()
    const samples = []
    for (let repeat = -1; repeat < repeats; repeat += 1) {
      await barrier.wait()
      const start = performance.now()
      await barrier.wait()
      if (repeat >= 0) samples.push((2 * pairs) / 1000 / (performance.now() - start))
    }
    for (const child of children) await child.join()
    return { samples }
  },
}
