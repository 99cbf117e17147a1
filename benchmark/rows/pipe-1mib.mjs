// How fast large arrays pass through a Pipe in one direction, with the calls that block.
import { timeOf } from './time-of.mjs'

const mebibyte = 1 << 20

/** The channel that Node itself has: everything is asked for at once, and the answers are awaited. */
async function measureBare(pool, size) {
  const receiveAll = count =>
    Promise.all(Array.from({ length: count }, () => pool.run('keptBytes', mebibyte)))
  await receiveAll(size.messages)
  const samples = []
  for (let repeat = 0; repeat < size.repeats; repeat += 1) {
    const { ms, value } = await timeOf(() => receiveAll(size.messages))
    if (value.some(bytes => bytes.length !== mebibyte)) throw new Error('other bytes came')
    samples.push((size.messages / ms) * 1000)
  }
  return { samples }
}

export const pipe1MiB = {
  id: 'pipe-1mib',
  title: '1 MiB arrays through a Pipe, one way',
  unit: 'MiB/s',
  better: 'higher',
  how: "One child sends the same Uint8Array again and again, the program receives each as an array of its own: sendSync() and recvSync(). Bare Node: fork()'s channel with serialization: 'advanced'.",
  size: { messages: 200, repeats: 5 },
  quickSize: { messages: 4, repeats: 1 },
  onlyLibraries: ['multiproc process', 'bare Node child', 'Python fork'],
  targets: [
    { subject: 'multiproc process', reference: { library: 'bare Node child' }, factor: 4 },
    { subject: 'multiproc process', reference: { bestPeerOf: 'python' }, factor: 1 },
  ],
  async measure({ library, createPool, size }) {
    if (library.role === 'reference') return measureBare(createPool(1), size)
    const { Pipe, Process } = await import('multiproc')
    const [here, there] = Pipe()
    const child = new Process({
      daemon: true,
      args: [there, mebibyte],
      target: (there, length) => {
        const bytes = new Uint8Array(length).fill(7)
        for (;;) {
          const count = there.recvSync()
          for (let i = 0; i < count; i += 1) there.sendSync(bytes)
        }
      },
    })
    child.start()
    const run = () => {
      here.sendSync(size.messages)
      for (let i = 0; i < size.messages; i += 1)
        if (here.recvSync().length !== mebibyte) throw new Error('other bytes came')
    }
    run()
    const samples = []
    for (let repeat = 0; repeat < size.repeats; repeat += 1) {
      const { ms } = await timeOf(run)
      samples.push((size.messages / ms) * 1000)
    }
    return { samples }
  },
}
