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
  let output = ''
  for (const stream of [parent.stdout, parent.stderr]) stream.on('data', text => (output += String(text)))
  // The streams end when the child has ended, too: it has inherited them.
  const [, signal] = (await once(parent, 'close')) as [number | null, string | null]
  assert.equal(signal, 'SIGKILL')
  assert.equal(output, '')
})
