/**
 * A program that maps numbers on a cluster: says "begun" with its first results, and at the end how many it was given,
 * and how many of them were different. Each item notes in a file that it ran.
 */
import { Pool } from 'multiproc'
import { noted } from './noted.js'

const [, , file, count, lease = '1000'] = process.argv
const pool = new Pool({
  cluster: { servers: process.env['CLUSTER_URL']!, lease: Number(lease) },
  name: process.env['CLUSTER_POOL']!,
})
const given: number[] = []
const items = Array.from({ length: Number(count) }, (_, index) => index)
for await (const n of pool.imapUnordered((item: number) => noted(file!, item), items, { chunkSize: 5 })) {
  if (given.push(n) === items.length / 5) console.log('begun')
}
console.log(JSON.stringify({ given: given.length, different: new Set(given).size }))
await pool.terminate()
