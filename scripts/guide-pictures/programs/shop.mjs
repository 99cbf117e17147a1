// Three calls at once, each with a bar.
import { setTimeout as wait } from 'node:timers/promises'
import { Pool } from 'multiproc'

async function resize(picture) {
  await wait(40 + (picture % 7) * 25)
  if (picture % 31 === 30) throw new Error('unknown colour space')
}

async function hash() {
  await wait(25)
}

async function importOrder() {
  await wait(60)
}

function* orders() {
  for (let order = 0; order < 400; order++) yield order
}

const numbers = count => Array.from({ length: count }, (_, index) => index)
const pool = new Pool({ processes: 4 })
const calls = [
  pool.mapSettled(resize, numbers(180), { progress: true, chunkSize: 1 }),
  pool.map(hash, numbers(60), { progress: true, chunkSize: 1 }),
]
for await (const _ of pool.imapUnordered(importOrder, orders(), {
  progress: { label: 'import' },
  chunkSize: 1,
}));
await Promise.all(calls)
await pool.terminate()
