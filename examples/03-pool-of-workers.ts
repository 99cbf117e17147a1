/** Four tasks in a pool of four workers. They run at the same time, so the order of their lines differs from run to run. */
import { setTimeout } from 'node:timers/promises'
import { Pool } from 'multiproc'

async function work(n: number): Promise<void> {
  console.log(`Worker ${n} started`)
  await setTimeout(100)
  console.log(`Worker ${n} finished`)
}

const pool = new Pool({ processes: 4 })
await pool.map(work, [0, 1, 2, 3], { chunkSize: 1 })

pool.close()
await pool.join()
console.log('All workers have finished')
