// What a lock costs that nobody else wants: acquire and release, one after the other, blocking forms.
export const lockUncontended = {
  id: 'lock-uncontended',
  title: 'lock, uncontended',
  unit: 'ns',
  better: 'lower',
  how: 'One process acquires a free lock and releases it, a million times; the mean of each million is one sample.',
  size: { pairs: 1_000_000, repeats: 5 },
  quickSize: { pairs: 10_000, repeats: 1 },
  onlyLibraries: ['multiproc process', 'Python fork'],
  targets: [{ subject: 'multiproc process', reference: { bestPeerOf: 'python' }, factor: 1 }],
  async measure({ size }) {
    const { Lock } = await import('multiproc')
    const lock = new Lock()
    const samples = []
    for (let repeat = -1; repeat < size.repeats; repeat += 1) {
      const start = performance.now()
      for (let i = 0; i < size.pairs; i += 1) {
        lock.acquireSync()
        lock.release()
      }
      // The first round is the warm-up.
      if (repeat >= 0) samples.push(((performance.now() - start) * 1e6) / size.pairs)
    }
    return { samples }
  },
}
