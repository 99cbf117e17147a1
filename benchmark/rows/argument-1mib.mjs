// How fast large binary arguments reach the workers. They are copied, not transferred: the caller keeps its array.
import tasks from '../tasks/tasks.cjs'
import { randomUint8Array } from './random-bytes.mjs'
import { timeOf } from './time-of.mjs'
import { WrongResultError } from './wrong-result-error.mjs'

const mebibyte = 1 << 20

export const argument1MiB = {
  id: 'argument-1mib',
  title: '1 MiB argument',
  unit: 'MiB/s',
  better: 'higher',
  how: 'A Uint8Array of 1 MiB as argument of many tasks at once, copied; the task answers with its length. First, a checksum shows that the bytes arrive unchanged.',
  size: { tasks: 200, repeats: 3 },
  quickSize: { tasks: 4, repeats: 1 },
  targets: [{ subject: 'multiproc process', reference: { bestPeerOf: 'process' }, factor: 4 }],
  async measure({ createPool, workers, size, library }) {
    const pool = createPool(workers)
    if (library.name === 'C floor') {
      const samples = Array.from({ length: size.repeats }, () => pool('copy', mebibyte, size.tasks))
      return { samples, note: 'memcpy() into shared memory' }
    }
    const bytes = randomUint8Array(mebibyte)
    const received = await pool.run('checksum', bytes)
    if (received !== tasks.checksum(bytes)) {
      throw new WrongResultError('corrupt', `the task saw other bytes (checksum ${received})`)
    }
    const sendAll = count => Promise.all(Array.from({ length: count }, () => pool.run('byteLength', bytes)))
    await sendAll(workers * 2)
    const samples = []
    for (let i = 0; i < size.repeats; i += 1) {
      const { ms, value } = await timeOf(() => sendAll(size.tasks))
      if (value.some(length => length !== mebibyte)) {
        throw new WrongResultError('wrong', 'a task saw another length')
      }
      samples.push((size.tasks / ms) * 1000)
    }
    return { samples }
  },
}
