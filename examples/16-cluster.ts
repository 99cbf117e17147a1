/**
 * Work on other machines: the same pool with the option `cluster`. Needs a NATS server and an agent; both are there while
 * `multiproc cluster dev` runs, which prints the variables that this program needs.
 */
import { Pool } from 'multiproc'

await using pool = new Pool({
  cluster: process.env['MULTIPROC_CLUSTER'] ?? 'nats://127.0.0.1:4222',
  name: process.env['MULTIPROC_POOL'] ?? 'dev',
})

const limit = 1000
const counts = await pool.map((n: number) => Math.min(n * n, limit), [10, 20, 30, 40])
console.log(counts) // [ 100, 400, 900, 1000 ]
