// How fast tasks get at 64 MiB that both sides have: shared memory travels as a handle. The task reads both ends.
import { timeOf } from './time-of.mjs'
import { WrongResultError } from './wrong-result-error.mjs'

const byteLength = 64 << 20

export const shared64MiB = {
  id: 'shared-64mib',
  title: '64 MiB shared argument',
  unit: 'tasks/s',
  better: 'higher',
  how: 'Bytes in shared memory, 64 MiB, as argument of many tasks at once; the task reads both ends. Python passes a SharedMemory, whose name its workers attach to and close in each task. Other libraries can share with threads only (SharedArrayBuffer).',
  size: { tasks: 5000, repeats: 3 },
  quickSize: { tasks: 20, repeats: 1 },
  targets: [{ subject: 'multiproc process', reference: { bestPeerOf: 'python' }, factor: 1 }],
  async measure({ createPool, workers, size, library }) {
    const bytes = await share(library)
    bytes[0] = 3
    bytes[byteLength - 1] = 4
    const pool = createPool(workers)
    const sendAll = count => Promise.all(Array.from({ length: count }, () => pool.run('sumOfEnds', bytes)))
    await sendAll(workers * 2)
    const samples = []
    for (let i = 0; i < size.repeats; i += 1) {
      const { ms, value } = await timeOf(() => sendAll(size.tasks))
      if (value.some(sum => sum !== 7)) throw new WrongResultError('wrong', 'a task saw other bytes')
      samples.push((size.tasks / ms) * 1000)
    }
    return { samples }
  },
}

async function share({ role, home }) {
  if (role === 'subject') {
    const { sharedArray } = await import('multiproc')
    return sharedArray(Uint8Array, byteLength)
  }
  if (home === 'thread') return new Uint8Array(new SharedArrayBuffer(byteLength))
  throw new Error('it shares no memory with processes')
}
