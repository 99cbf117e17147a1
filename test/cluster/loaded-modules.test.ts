/** Who uses no cluster does not pay for it: nothing of it is loaded, neither in the program nor in its workers. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const root = fileURLToPath(new URL('../../../', import.meta.url))

/** The files of all modules that a program and its workers have loaded, as V8 writes them down for coverage. */
async function filesLoadedBy(source: string): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'multiproc-coverage-'))
  try {
    const env = { ...process.env, NODE_V8_COVERAGE: folder }
    await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', source], { cwd: root, env })
    const urls = readdirSync(folder).flatMap(name => {
      const { result } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as { result: { url: string }[] }
      return result.map(({ url }) => url)
    })
    return urls.filter(url => url.startsWith('file:'))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const isOfCluster = (url: string): boolean => /\/dist\/cluster\/|@nats-io/.test(url)

test('a pool of this machine loads nothing of the cluster, and no client of NATS', async () => {
  const files = await filesLoadedBy(
    "import { Pool } from 'multiproc'; const pool = new Pool({ processes: 1 }); await pool.map(n => n + 1, [1, 2, 3]); await pool.close(); await pool.join()",
  )
  assert.ok(
    files.some(url => url.endsWith('/dist/index.js')),
    files.join('\n'),
  )
  assert.deepEqual(files.filter(isOfCluster), [])
})

test('a program that imports multiproc/cluster loads it, so the test above would see it', async () => {
  const files = await filesLoadedBy("await import('multiproc/cluster')")
  assert.ok(files.some(isOfCluster), files.join('\n'))
})
