/** Threads that are killed while they import modules: none of these stays open, and the thread is reported as killed. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { Process } from 'multiproc'
import { checkLeaks, eventually, openDescriptors } from '../leak-check.js'

checkLeaks()

const MODULES = 60
const THREADS = 15

const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
after(() => rmSync(folder, { recursive: true }))

/** A module with many others that are read before it. */
function writeModules(name: string, firstLine: string): string {
  const names = Array.from({ length: MODULES }, (_, index) => `${name}-${index}.mjs`)
  for (const each of names) writeFileSync(join(folder, each), `export const text = '${'x'.repeat(50_000)}'\n`)
  const path = join(folder, `${name}.mjs`)
  const imports = names.map(each => `import './${each}'\n`).join('')
  writeFileSync(path, `${imports}${firstLine}\nexport const target = () => {}\n`)
  return pathToFileURL(path).href
}

/** Whether a module of the folder is open here: threads have the descriptors of their process. */
function isReading(): boolean {
  return openDescriptors().some(each => each.includes(folder))
}

test('a thread that is killed while it imports the module of its target leaves no file open', async () => {
  const { target } = (await import(writeModules('many', ''))) as { target: () => void }
  let seen = 0
  for (let count = 0; count < THREADS; count++) {
    const child = new Process({ target, context: 'thread' })
    child.start()
    let hasEnded = false
    void child.sentinel.then(() => (hasEnded = true))
    await eventually(() => isReading() || hasEnded)
    if (!hasEnded) seen++
    child.kill()
    await child.join()
  }
  // On a busy machine some may be missed.
  assert.ok(seen > 0)
  await eventually(() => !isReading())
})

test('a thread whose module computes without end when it is imported is terminated all the same', async () => {
  const begun = join(folder, 'begun')
  const url = writeModules(
    'endless',
    `import { isMainThread } from 'node:worker_threads'
     import { writeFileSync } from 'node:fs'
     if (!isMainThread) for (;;) writeFileSync(${JSON.stringify(begun)}, '')`,
  )
  const { target } = (await import(url)) as { target: () => void }
  const child = new Process({ target, context: 'thread' })
  child.start()
  await eventually(() => existsSync(begun))
  child.kill()
  assert.equal(await child.join(), -9)
})
