// How fast large binary results come back from the workers.
import tasks from '../tasks/tasks.cjs'
import { timeOf } from './time-of.mjs'
import { WrongResultError } from './wrong-result-error.mjs'

const mebibyte = 1 << 20

function checkBytes(bytes) {
  if (!(bytes instanceof Uint8Array)) {
    throw new WrongResultError('corrupt', 'a Uint8Array came back as something else')
  }
  if (bytes.length !== mebibyte) throw new WrongResultError('wrong', `${bytes.length} bytes came back`)
}

export const result1MiB = {
  id: 'result-1mib',
  title: '1 MiB result',
  unit: 'MiB/s',
  better: 'higher',
  how: 'Many tasks at once, each of which makes and returns a Uint8Array of 1 MiB.',
  size: { tasks: 50, repeats: 3 },
  quickSize: { tasks: 4, repeats: 1 },
  targets: [{ subject: 'multiproc process', reference: { bestPeerOf: 'process' }, factor: 4 }],
  async measure({ createPool, workers, size }) {
    const pool = createPool(workers)
    const first = await pool.run('makeBytes', mebibyte)
    checkBytes(first)
    if (tasks.checksum(first) !== tasks.checksum(tasks.makeBytes(mebibyte))) {
      throw new WrongResultError('corrupt', 'other bytes came back')
    }
    const receiveAll = count =>
      Promise.all(Array.from({ length: count }, () => pool.run('makeBytes', mebibyte)))
    await receiveAll(workers * 2)
    const samples = []
    for (let i = 0; i < size.repeats; i += 1) {
      const { ms, value } = await timeOf(() => receiveAll(size.tasks))
      value.forEach(checkBytes)
      samples.push((size.tasks / ms) * 1000)
    }
    return { samples }
  },
}
