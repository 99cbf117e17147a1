import assert from 'node:assert/strict'
import { once } from 'node:events'
import { symlinkSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { checkLeaks } from '../leak-check.js'
import { fixture, runCommand, startCommand } from './run-command.js'
import { WorkFolder } from './work-folder.js'

checkLeaks()

const positive = fixture('tasks.mjs#positive')
const upper = fixture('tasks.mjs#upper')

test('map --to writes the results to a file, in place of what was there, and nothing to standard output', async () => {
  using folder = new WorkFolder()
  folder.write('out', 'much that was there before\n')
  const { code, stdout } = await runCommand(['map', upper, '--to', 'out', 'a', 'b'], { cwd: folder.path })
  assert.deepEqual({ code, stdout }, { code: 0, stdout: '' })
  assert.equal(folder.read('out'), '"A"\n"B"\n')
})

test('map --to-folder writes a file for every input that has a result', async () => {
  using folder = new WorkFolder()
  const args = ['map', positive, '--to-folder', 'a/b', '--', '5', '-1', '7']
  const { code } = await runCommand(args, { cwd: folder.path })
  assert.equal(code, 1)
  assert.deepEqual(folder.names('a/b'), ['000001.json', '000003.json'])
  assert.equal(folder.read('a/b/000003.json'), '7\n')
  await runCommand(['map', upper, '-o', 'text', '--to-folder', 'c', 'x'], { cwd: folder.path })
  assert.equal(folder.read('c/000001.txt'), 'X\n')
})

test('map --output records has a line for every input, whatever became of it', async () => {
  const { code, stdout } = await runCommand(['map', positive, '-o', 'records', '--', '1', '-2', '3'])
  assert.equal(code, 1)
  assert.deepEqual(
    stdout
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line) as unknown),
    [
      { item: 1, input: '1', status: 'ok', result: 1 },
      { item: 2, input: '-2', status: 'failed', error: 'RangeError: -2 is not positive' },
      { item: 3, input: '3', status: 'ok', result: 3 },
    ],
  )
})

test('map --output records gives JSON inputs as values, and what is no JSON as text', async () => {
  const args = ['map', fixture('tasks.mjs#identity'), '-o', 'records', '-i', 'json']
  const { stdout } = await runCommand(args, { stdin: ' {"a" : 1}\n{oops}\n' })
  const [first, second] = stdout.split('\n')
  assert.equal(first, '{"item":1,"input":{"a":1},"status":"ok","result":{"a":1}}')
  assert.match(second!, /^\{"item":2,"input":"\{oops\}","status":"failed","error":"the input is no JSON/)
})

test('map --joblog tells of every input: status, times, attempts, error', async () => {
  using folder = new WorkFolder()
  await runCommand(['map', positive, '--joblog', 'log', '--', '1', '-2'], { cwd: folder.path })
  const [head, start, ...items] = folder.lines('log').map(line => JSON.parse(line) as Record<string, unknown>)
  assert.deepEqual(head, {
    multiproc: 'map',
    version: 1,
    function: positive,
    input: 'args',
    output: 'json',
    to: 'stdout',
    order: 'ordered',
  })
  assert.match(String(start!['process']), /^\d+/)
  assert.deepEqual(
    items.map(({ started, ms, ...rest }) => {
      assert.ok(Math.abs(Date.parse(String(started)) - Date.now()) < 3_600_000)
      assert.ok(typeof ms === 'number' && ms >= 0)
      return rest
    }),
    [
      { item: 1, status: 'ok', attempts: 1, hash: '73b2866b', input: '1' },
      {
        item: 2,
        status: 'failed',
        attempts: 1,
        hash: items[1]!['hash'],
        input: '-2',
        error: 'RangeError: -2 is not positive',
      },
    ],
  )
})

test(
  'map fails the run when the disk is full, and says so',
  { skip: process.platform !== 'linux' && 'needs /dev/full' },
  async () => {
    const args = ['map', upper, '--to', '/dev/full', 'a', 'b']
    const { code, stderr } = await runCommand(args)
    assert.equal(code, 1)
    assert.match(
      stderr,
      /^multiproc: Cannot write to "\/dev\/full": ENOSPC: no space left on device.*\nTo fix: make room there/,
    )
  },
)

test(
  'map --joblog refuses an output whose end cannot be cut off',
  { skip: process.platform === 'win32' && 'needs /dev/null' },
  async () => {
    using folder = new WorkFolder()
    const args = ['map', upper, '--to', '/dev/null', '--joblog', 'log', 'a']
    const { code, stderr } = await runCommand(args, { cwd: folder.path })
    assert.equal(code, 2)
    assert.match(stderr, /it is no file whose end could be cut off, as --joblog needs it/)
    assert.deepEqual(folder.names(), [])
  },
)

test('map --to has every result in the file when an endless input is ended by Ctrl-C', async () => {
  using folder = new WorkFolder()
  const child = startCommand(['map', fixture('tasks.mjs#saysAt500'), '--to', 'out'], { cwd: folder.path })
  const lines = createInterface({ input: child.stderr })
  for (let number = 1; number <= 600; number++) child.stdin.write(`${number}\n`)
  const [said] = (await once(lines, 'line')) as [string]
  assert.equal(said, 'at 500')
  const last = once(lines, 'line')
  child.kill('SIGINT')
  const [[report]] = (await Promise.all([last, once(child, 'close')])) as [[string], unknown]
  assert.equal(child.exitCode, 130)
  const [, done] = /^Interrupted: (\d+) items were done$/.exec(report) ?? []
  assert.deepEqual(
    folder.lines('out'),
    Array.from({ length: Number(done) }, (_, index) => String(index + 1)),
  )
})

test(
  'map does not begin when the job log cannot be written',
  { skip: process.platform !== 'linux' && 'needs /dev/full' },
  async () => {
    using folder = new WorkFolder()
    symlinkSync('/dev/full', folder.file('log'))
    const { code, stderr } = await runCommand(['map', upper, '--to', 'out', '--joblog', 'log', 'a'], {
      cwd: folder.path,
    })
    assert.equal(code, 2)
    assert.match(stderr, /^multiproc: Cannot write the job log "log": ENOSPC/)
  },
)
