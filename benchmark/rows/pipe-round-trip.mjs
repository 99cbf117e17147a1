// How long a message takes to another process and back through a Pipe, with the calls that block.
import { median } from '../statistics.mjs'

const message = { t: 1, id: 7, s: 'hello world', v: [1, 2.5, 3] }

/** The channel that Node itself has, whose messages can only be awaited. */
async function measureBare(pool, size) {
  const times = []
  for (let i = 0; i < size.warmUps + size.messages; i += 1) {
    const start = performance.now()
    await pool.run('identity', message)
    if (i >= size.warmUps) times.push((performance.now() - start) * 1000)
  }
  return { samples: [median(times)] }
}

export const pipeRoundTrip = {
  id: 'pipe-round-trip',
  title: 'round trip of a small message through a Pipe',
  unit: 'µs',
  better: 'lower',
  how: "sendSync() and recvSync() on both sides, thousands of times; the median of them is one sample. Bare Node: fork()'s channel and postMessage(), whose answers are awaited.",
  size: { messages: 5_000, warmUps: 1_000 },
  quickSize: { messages: 50, warmUps: 10 },
  onlyLibraries: [
    'multiproc process',
    'multiproc thread',
    'bare Node child',
    'bare Node thread',
    'Python fork',
  ],
  targets: [
    { subject: 'multiproc process', reference: { bestPeerOf: 'python' }, factor: 1 },
    { subject: 'multiproc process', reference: { library: 'bare Node child' }, factor: 0.6 },
  ],
  async measure({ library, createPool, size }) {
    if (library.role === 'reference') return measureBare(createPool(1), size)
    const { Pipe, Process } = await import('multiproc')
    const [here, there] = Pipe()
    const child = new Process({
      context: library.home === 'thread' ? 'thread' : 'spawn',
      daemon: true,
      args: [there],
      target: there => {
        for (;;) there.sendSync(there.recvSync())
      },
    })
    child.start()
    // The first answer without blocking: a thread starts with the help of this one.
    await here.send(message)
    await here.recv()
    const times = []
    for (let i = 0; i < size.warmUps + size.messages; i += 1) {
      const start = performance.now()
      here.sendSync(message)
      here.recvSync()
      if (i >= size.warmUps) times.push((performance.now() - start) * 1000)
    }
    return { samples: [median(times)] }
  },
}
