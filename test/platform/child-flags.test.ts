import assert from 'node:assert/strict'
import { test } from 'node:test'
import { childEnvironment, childExecArgv } from '#src/platform/child-flags.js'

test('childExecArgv() keeps what says how code runs', () => {
  const kept = [
    '--import',
    'tsx',
    '-r',
    './setup.js',
    '--max-old-space-size=100',
    '--enable-source-maps',
    '--expose-gc',
    '--conditions=dev',
    '-C',
    'dev',
    '--no-warnings',
    '--env-file=.env',
    '--cpu-prof',
  ]
  assert.deepEqual(childExecArgv(kept), kept)
})

test('childExecArgv() drops what says what to run, with its value', () => {
  for (const dropped of [
    ['-e', 'code'],
    ['--eval', 'code'],
    ['--eval=code'],
    ['-p', 'code'],
    ['-pe', 'code'],
    ['-i'],
    ['--interactive'],
    ['-c'],
    ['--check'],
    ['--input-type=module'],
    ['--input-type', 'module'],
    ['--test'],
    ['--test-only'],
    ['--test-name-pattern', 'x'],
    ['--test-reporter=spec'],
    ['--watch'],
    ['--watch-path', './src'],
    ['--inspect'],
    ['--inspect-brk=9229'],
    ['--inspect-port', '0'],
    ['--inspect-wait'],
  ]) {
    assert.deepEqual(childExecArgv(['--no-warnings', ...dropped, '--expose-gc']), [
      '--no-warnings',
      '--expose-gc',
    ])
  }
})

test('childEnvironment() is a copy without the debugger port and without the test runner', () => {
  const env = {
    A: 'b',
    NODE_TEST_CONTEXT: 'child-v8',
    NODE_OPTIONS: '--require ./x.js --inspect=9229 --no-warnings',
  }
  assert.deepEqual(childEnvironment(env), { A: 'b', NODE_OPTIONS: '--require ./x.js  --no-warnings' })
  assert.equal(env.NODE_TEST_CONTEXT, 'child-v8')
})
