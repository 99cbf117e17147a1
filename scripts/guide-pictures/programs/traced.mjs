// A trace of two calls, whose tasks write one after the other into the same file: they wait for its lock.
import { setTimeout as wait } from 'node:timers/promises'
import { Lock, Pool, startTrace } from 'multiproc'

const lock = new Lock()

async function resize(picture) {
  await wait(40 + (picture % 4) * 25)
}

async function append(line) {
  await wait(20 + (line % 3) * 15)
  await lock.acquire()
  try {
    await wait(25)
  } finally {
    lock.release()
  }
}

const pool = new Pool({ processes: 3 })
// So that the picture is of the work, and not of the start of the workers.
await pool.map(append, [0, 0, 0, 0, 0, 0], { chunkSize: 1 })
const trace = startTrace(process.argv[2])
await pool.map(resize, [0, 1, 2, 3, 4, 5, 6, 7], { chunkSize: 1 })
await pool.map(append, [0, 1, 2, 3, 4, 5], { chunkSize: 1 })
trace.stop()
await pool.terminate()
