import assert from 'node:assert/strict'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { isHalt, parseHaltPolicy } from '#src/cli/halt-policy.js'
import { parseTimeMs } from '#src/cli/parse-options.js'
import { checkLeaks } from '../leak-check.js'
import { fixture, runCommand, startCommand } from './run-command.js'
import { WorkFolder } from './work-folder.js'

checkLeaks()

const positive = fixture('tasks.mjs#positive')
const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index + 1))

test('map --timeout fails only the input that takes longer, in any order and in threads, too', async () => {
  for (const more of [[], ['--unordered'], ['--thread']]) {
    const args = ['map', fixture('tasks.mjs#hangsAt3'), '--timeout', '300ms', '-p', '2', ...more]
    const { code, stdout, stderr } = await runCommand([...args, ...numbers(5)])
    assert.equal(code, 1)
    assert.deepEqual(stdout.trimEnd().split('\n').sort(), ['1', '2', '4', '5'])
    assert.equal(stderr, '1 of 5 items failed:\n  argument 3, "3": it took longer than 300 ms\n')
  }
})

test('map --retries runs an input again that threw, and the job log says how often', async () => {
  using folder = new WorkFolder()
  const args = ['map', fixture('killing.mjs#thirdTime'), '--joblog', 'log', 'a', 'b']
  const options = { env: { FOLDER: folder.path }, cwd: folder.path }
  const { code, stdout } = await runCommand([...args, '--retries', '2', '--retry-delay', '1ms'], options)
  assert.deepEqual({ code, stdout }, { code: 0, stdout: '"a"\n"b"\n' })
  const attempts = folder
    .lines('log')
    .flatMap(line => (JSON.parse(line) as { attempts?: number }).attempts ?? [])
  assert.deepEqual(attempts, [3, 3])
})

test('map --retries gives the failure of the last run, and none to an input that is no JSON', async () => {
  const failed = await runCommand(['map', positive, '--retries', '2', 'x'])
  assert.equal(failed.code, 1)
  assert.match(failed.stderr, /argument 1, "x": RangeError: x is not positive\n +at positive/)
  const broken = await runCommand(['map', positive, '--retries', '1000000000', '-i', 'json', '{'])
  assert.match(broken.stderr, /the input is no JSON/)
})

test('map --halt soon begins no more inputs, and prints the results of those that had begun', async () => {
  const child = startCommand(['map', positive, '--halt', 'soon', '-p', '1', '--chunk-size', '1'])
  const output = Promise.all([text(child.stdout), text(child.stderr)])
  // The input stays open: nothing but the policy ends the run.
  child.stdin.write(`x\n${'2\n'.repeat(1000)}`)
  const [code] = (await once(child, 'close')) as [number]
  const [stdout, stderr] = await output
  assert.equal(code, 1)
  assert.match(stderr, /^Stopped after 1 failure\n1 of \d+ items failed:/)
  const count = stdout.split('\n').length - 1
  assert.ok(count < 1000, `${count} results`)
})

test('map --halt now,fail=2 stops at the second failure', async () => {
  const args = ['map', positive, '--halt', 'now,fail=2', '-p', '1', '--chunk-size', '1']
  const { code, stdout, stderr } = await runCommand(args, { stdin: `1\nx\n2\ny\n${'3\n'.repeat(1000)}` })
  assert.deepEqual({ code, stdout }, { code: 1, stdout: '1\n2\n' })
  assert.match(stderr, /^Stopped after 2 failures\n2 of 4 items failed/)
})

test('isHalt() looks at a share from three failures on', () => {
  const policy = parseHaltPolicy('soon,fail=10%')
  assert.equal(isHalt(policy, { failed: 2, finished: 2 }), false)
  assert.equal(isHalt(policy, { failed: 3, finished: 31 }), false)
  assert.equal(isHalt(policy, { failed: 3, finished: 30 }), true)
  assert.equal(isHalt(parseHaltPolicy('never'), { failed: 9, finished: 9 }), false)
  assert.equal(isHalt(parseHaltPolicy('now'), { failed: 1, finished: 1000 }), true)
  assert.equal(isHalt(parseHaltPolicy('now,fail=2'), { failed: 1, finished: 1 }), false)
})

test('parseHaltPolicy() takes what it knows and refuses all else', () => {
  for (const text of [
    '',
    'Now',
    'soon,fail=0',
    'soon,fail=101%',
    'never,fail=1',
    'now,success=1',
    'now,fail=',
  ]) {
    assert.throws(() => parseHaltPolicy(text), { name: 'UsageError' }, text)
  }
  fc.assert(
    fc.property(
      fc.constantFrom('soon', 'now'),
      fc.integer({ min: 1, max: 100 }),
      fc.boolean(),
      (when, count, isPercent) => {
        const policy = parseHaltPolicy(`${when},fail=${count}${isPercent ? '%' : ''}`)
        assert.deepEqual(policy, { when, failuresMin: count, isPercent })
      },
    ),
  )
})

test('parseTimeMs() reads numbers with units, and numbers alone as seconds', () => {
  const read = (text: string): number | undefined => parseTimeMs('timeout', text, { msMin: 1 })
  assert.deepEqual(
    ['2', '1.5', '500ms', '30s', '5m', '1h'].map(read),
    [2000, 1500, 500, 30_000, 300_000, 3_600_000],
  )
  for (const text of ['', '0', '-1', '1d', '1e3', 'ms', '1 s', '9999h', '0.1ms']) {
    assert.throws(() => read(text), { name: 'UsageError' }, text)
  }
})
