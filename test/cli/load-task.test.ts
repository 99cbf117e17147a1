import assert from 'node:assert/strict'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Ended, fixture, runCommand } from './run-command.js'

/** Asserts a short message and exit code 2, without a stack and without a worker. */
function assertUsageError({ code, stdout, stderr }: Ended, message: RegExp): void {
  assert.equal(code, 2)
  assert.equal(stdout, '')
  assert.match(stderr, message)
  assert.match(stderr, /^multiproc: [\s\S]*\nTo fix: /)
  assert.doesNotMatch(stderr, /\/dist\//)
}

test('map calls the default export when none is named', async () => {
  assert.equal((await runCommand(['map', fixture('default-export.mjs'), 'x'])).stdout, '"hello x"\n')
  assert.equal((await runCommand(['map', fixture('default-export.mjs#default'), 'x'])).stdout, '"hello x"\n')
})

test('map calls the only function of a module when none is named', async () => {
  assert.equal((await runCommand(['map', fixture('only-one.mjs'), 'abc'])).stdout, '"cba"\n')
})

test('map calls a member of an export as its method', async () => {
  const { stdout } = await runCommand(['map', fixture('tasks.mjs#numbers.triple'), '-i', 'json', '2'])
  assert.equal(stdout, '6\n')
})

test('map finds a function of a CommonJS module whose names Node cannot see', async () => {
  assert.equal((await runCommand(['map', fixture('common.cjs#shout'), 'x'])).stdout, '"x!"\n')
})

test('map finds a file whose name contains a "#"', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
  try {
    copyFileSync(fixture('only-one.mjs'), join(folder, 'a#b.mjs'))
    assert.equal((await runCommand(['map', join(folder, 'a#b.mjs'), 'abc'])).stdout, '"cba"\n')
    assert.equal((await runCommand(['map', join(folder, 'a#b.mjs#reverse'), 'ab'])).stdout, '"ba"\n')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('map runs a .ts file where Node does, and else says what to do', async () => {
  const ended = await runCommand(['map', fixture('typed.ts'), 'abc'])
  if ((process.features as { typescript?: unknown }).typescript) {
    assert.deepEqual({ code: ended.code, stdout: ended.stdout }, { code: 0, stdout: '3\n' })
  } else {
    assertUsageError(ended, /does not run TypeScript by itself[\s\S]*compile the file.*tsx/)
  }
})

test('map complains about a file that is not there', async () => {
  assertUsageError(await runCommand(['map', './nowhere.mjs#x', 'a']), /Cannot find the file ".\/nowhere.mjs"/)
  assertUsageError(await runCommand(['map', fixture(''), 'a']), /it is no file/)
})

test('map lists the functions that exist when the named one does not', async () => {
  assertUsageError(
    await runCommand(['map', fixture('tasks.mjs#uper'), 'a']),
    /has no export "uper"\nTo fix: use #add, .*#upper\n$/,
  )
  assertUsageError(
    await runCommand(['map', fixture('tasks.mjs#numbers.nope'), 'a']),
    /there is no "numbers.nope"\nTo fix: use #numbers.triple\n$/,
  )
})

test('map complains when the export is no function, or a class', async () => {
  assertUsageError(await runCommand(['map', fixture('tasks.mjs#label'), 'a']), /"label" is a string/)
  assertUsageError(await runCommand(['map', fixture('tasks.mjs#Shape'), 'a']), /"Shape" is a class/)
})

test('map complains when it is not clear which function is meant', async () => {
  assertUsageError(
    await runCommand(['map', fixture('tasks.mjs'), 'a']),
    /does not say which function to call/,
  )
  assertUsageError(
    await runCommand(['map', fixture('no-function.mjs'), 'a']),
    /exports no function\nTo fix: export a function from the module \(it exports a, b\)/,
  )
})

test('map shows the stack of a module that throws while it is imported', async () => {
  assertUsageError(
    await runCommand(['map', fixture('throws-at-import.mjs'), 'a']),
    /Error: the module is broken\n +at file:.*throws-at-import\.mjs:1/,
  )
})
