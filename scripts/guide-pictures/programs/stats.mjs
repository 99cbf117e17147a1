// What pool.statsTable() says after a map whose items differ.
import { setTimeout as wait } from 'node:timers/promises'
import { Pool } from 'multiproc'

async function resize(file) {
  await wait(file.includes('huge') ? 400 : 4 + (file.length % 5) * 3)
  if (file.endsWith('7.png')) throw new Error('unknown colour space')
}

const files = Array.from(
  { length: 300 },
  (_, index) => `images/${index % 97 === 60 ? 'huge-' : ''}${index}.png`,
)
const pool = new Pool({ processes: 4 })
await pool.mapSettled(resize, files, { chunkSize: 4 })
console.log(pool.statsTable())
await pool.terminate()
