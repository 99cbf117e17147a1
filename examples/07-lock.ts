/**
 * Four processes add to one number in a file. Reading and writing it again are two steps; the lock keeps the others
 * out in between, so that nothing is lost.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Lock, Process } from 'multiproc'

const folder = mkdtempSync(join(tmpdir(), 'counter-'))
const file = join(folder, 'counter')
writeFileSync(file, '0')
const lock = new Lock()

async function add(times: number): Promise<void> {
  for (let time = 0; time < times; time++) {
    using _held = await lock.guard()
    writeFileSync(file, String(Number(readFileSync(file, 'utf8')) + 1))
  }
}

const processes = [1, 2, 3, 4].map(() => new Process({ target: add, args: [100] }))
for (const child of processes) child.start()
for (const child of processes) await child.join()
console.log(`Counted to ${readFileSync(file, 'utf8')}`)
rmSync(folder, { recursive: true })
