/** A program that gives work to a cluster and is killed: a thousand items whose tasks never end by themselves. */
import { Pool } from 'multiproc'
import { passLatch } from '../latch.js'

const pool = new Pool({
  cluster: { servers: process.env['CLUSTER_URL']!, lease: 1000 },
  name: process.env['CLUSTER_POOL']!,
})
const address = process.argv[2]!
void pool.map(
  (n: number) => passLatch(address, `item ${n}`),
  Array.from({ length: 1000 }, (_, index) => index),
)
console.log('ready')
