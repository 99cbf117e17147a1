import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nativeStatus } from '#src/platform/native-addon.js'
import { checkLeaks } from '../leak-check.js'
import { runCommand } from './run-command.js'

checkLeaks()

test('bench measures everything, as a table and as data', async () => {
  const { code, stdout, stderr } = await runCommand(['bench', '--json'])
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
  const { results, errors, isNative } = JSON.parse(stdout) as {
    results: Record<string, number>
    errors: string[]
    isNative: boolean
  }
  assert.deepEqual(errors, [])
  assert.equal(isNative, nativeStatus().isOn)
  assert.deepEqual(Object.keys(results), [
    'processStartMs',
    'processCallUs',
    'threadStartMs',
    'threadCallUs',
    'mapItemsPerSecond',
    'queueMessagesPerSecond',
    'largeMebibytesPerSecond',
    'speedup',
  ])
  for (const [name, value] of Object.entries(results)) assert.ok(value > 0 && value < Infinity, name)
  const table = await runCommand(['bench'])
  assert.equal(table.code, 0)
  assert.match(table.stdout, /^multiproc .*\n\nStart of a process +[\d.,]+ ms to the first answer\n/)
  assert.equal(table.stdout.trimEnd().split('\n').length, 2 + Object.keys(results).length)
})
