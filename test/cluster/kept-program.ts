/**
 * A program that submits a job to a cluster: items from 0 on, each of which passes the latch of its name if that is told.
 * Says "submitted" at once and "done" with the number of results at the end.
 */
import { appendFileSync } from 'node:fs'
import { Pool } from 'multiproc'
import { passLatch } from '../latch.js'

const [jobId, count, address, latched, log] = process.argv.slice(2)
const pool = new Pool({
  cluster: { servers: process.env['CLUSTER_URL']!, lease: 1000 },
  name: process.env['CLUSTER_POOL']!,
})
const names = new Set(latched!.split(',').map(Number))
const results = pool.map(
  async (n: number) => {
    if (names.has(n)) await passLatch(address!, `item ${n}`)
    appendFileSync(log!, `${n}\n`)
    return n * 10
  },
  Array.from({ length: Number(count) }, (_, index) => index),
  { jobId: jobId!, chunkSize: 2 },
)
console.log('submitted')
try {
  console.log(`done ${(await results).length}`)
} catch (error) {
  console.log(`failed ${(error as { code?: string }).code}`)
}
await pool.terminate()
