/** What the errors of a Process say to who uses it wrongly. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Process, currentProcess } from 'multiproc'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

test('the current process cannot be started', () => {
  assert.throws(() => currentProcess().start(), {
    code: 'ERR_INVALID_STATE',
    message: /^Cannot start process "MainProcess": it is the current process\n/,
  })
})

test('a key that is text is told how to be bytes', () => {
  const child = new Process()
  assert.throws(() => (child.authKey = 'secret' as never), {
    name: 'TypeError',
    code: 'ERR_INVALID_ARGUMENT',
    message: /^"authKey" of a Process must be a Uint8Array, got string\nTo fix: .*Buffer\.from\(text\)$/,
  })
  assert.throws(() => (child.name = 5 as never), { message: /\nTo fix: pass a string$/ })
})
