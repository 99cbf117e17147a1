import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { checkLeaks } from '../leak-check.js'
import { fixture, runCommand, startCommand } from './run-command.js'

checkLeaks()

const ends = fixture('tasks.mjs#ends')

test('run calls a function in a process of its own and prints what it returns', async () => {
  const { code, stdout, stderr } = await runCommand(['run', fixture('tasks.mjs#add'), 'a', 'b'])
  assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: '"ab"\n', stderr: '' })
  const json = await runCommand(['run', fixture('tasks.mjs#add'), '--json', '1', '2'])
  assert.equal(json.stdout, '3\n')
  const plain = await runCommand(['run', fixture('default-export.mjs'), '-o', 'text', '--', '-x'])
  assert.equal(plain.stdout, 'hello -x\n')
  const place = await runCommand(['run', fixture('tasks.mjs#place'), '--thread'])
  assert.notEqual((JSON.parse(place.stdout) as { threadId: number }).threadId, 0)
})

test('run prints nothing for undefined, and for --output none', async () => {
  assert.equal((await runCommand(['run', fixture('tasks.mjs#nothing')])).stdout, '')
  assert.equal((await runCommand(['run', fixture('tasks.mjs#upper'), '-o', 'none', 'x'])).stdout, '')
})

test('run ends with the exit code of the process', { skip: process.platform === 'win32' }, async () => {
  assert.equal((await runCommand(['run', ends, 'not'])).code, 0)
  const thrown = await runCommand(['run', ends, 'throw'])
  assert.equal(thrown.code, 1)
  assert.match(thrown.stderr, /RangeError: thrown\n {4}at ends /)
  assert.equal((await runCommand(['run', ends, 'exit7'])).code, 7)
  const killed = await runCommand(['run', ends, 'signal'])
  assert.deepEqual(
    { code: killed.code, stderr: killed.stderr },
    { code: 137, stderr: 'multiproc: the process was killed by SIGKILL\n' },
  )
})

test('run gives its standard input to the function', async () => {
  const ended = await runCommand(['run', fixture('tasks.mjs#stdinLength')], {
    stdin: 'x'.repeat(100_000),
  })
  assert.deepEqual(ended, { code: 0, stdout: '100000\n', stderr: '' })
})

test('run --timeout ends the process, with exit code 124', async () => {
  for (const more of [[], ['--thread']]) {
    const args = ['run', fixture('tasks.mjs#hang'), '--timeout', '500ms', ...more, 'x']
    const { code, stderr } = await runCommand(args)
    assert.equal(code, 124)
    assert.match(stderr, /multiproc: the process was ended: it took longer than 500 ms\n$/)
  }
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(
    `run passes ${signal} on to the process, and its exit code back`,
    { skip: process.platform === 'win32' },
    async () => {
      const child = startCommand(['run', fixture('tasks.mjs#listens'), signal])
      await once(child.stderr, 'data')
      child.kill(signal)
      assert.deepEqual(await once(child, 'exit'), [5, null])
    },
  )
}

test('run ends with 130 when Ctrl-C ends the process', { skip: process.platform === 'win32' }, async () => {
  const child = startCommand(['run', fixture('tasks.mjs#listens'), 'SIGUSR2'])
  await once(child.stderr, 'data')
  child.kill('SIGINT')
  assert.deepEqual(await once(child, 'exit'), [130, null])
})

test('run refuses a function that is not there with exit code 2', async () => {
  const { code, stderr } = await runCommand(['run', fixture('tasks.mjs#nope')])
  assert.equal(code, 2)
  assert.match(stderr, /^multiproc: .* has no export "nope"\nTo fix: use #add, /)
})
