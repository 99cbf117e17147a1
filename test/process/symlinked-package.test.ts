/** A package behind a symbolic link, as pnpm, workspaces and `npm link` install it, is loaded once in a child as well. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const root = fileURLToPath(new URL('../../..', import.meta.url))
// Beside the package: what has gone wrong needs a folder that both paths go through.
const folder = mkdtempSync(join(root, 'build', 'linked-'))
after(() => rmSync(folder, { recursive: true, force: true }))

test('a class of the package is one class in the program, in processes and in threads', async () => {
  const link = join(folder, 'node_modules', 'multiproc')
  mkdirSync(dirname(link))
  symlinkSync(root, link, 'junction')
  const program = join(folder, 'program.mjs')
  writeFileSync(
    program,
    `import { Pool, Queue, ThreadPool } from 'multiproc'
     for (const pool of [new Pool(1), new ThreadPool(1)]) {
       console.log(await pool.apply(queue => queue instanceof Queue, [new Queue()]))
       await pool.terminate()
     }`,
  )
  const { stdout } = await promisify(execFile)(process.execPath, [program])
  assert.equal(stdout, 'true\ntrue\n')
})
