/** A child whose parent is killed while it starts: it ends, and has nothing to say. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const program = fileURLToPath(new URL('../fixtures/killed-parent-program.js', import.meta.url))

test('a child whose parent was killed before it had begun ends without an error on the streams of the program', async () => {
  const parent = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'pipe'] })
  const output = { stdout: '', stderr: '' }
  parent.stdout.on('data', text => (output.stdout += String(text)))
  parent.stderr.on('data', text => (output.stderr += String(text)))
  // The streams end when the child has ended, too: it has inherited them.
  const [, signal] = (await once(parent, 'close')) as [number | null, string | null]
  assert.equal(signal, 'SIGKILL')
  assert.equal(output.stderr, '')
  // What it needs may have come over the socket before: then it had begun when it noticed.
  assert.ok(['', 'has begun\n'].includes(output.stdout), output.stdout)
})
