import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fixture, runCommand } from './run-command.js'

const upper = fixture('tasks.mjs#upper')
const positive = fixture('tasks.mjs#positive')

test('map prints one JSON result a line, in the order of the arguments', async () => {
  const { code, stdout, stderr } = await runCommand(['map', upper, 'a', 'b c', 'd'])
  assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: '"A"\n"B C"\n"D"\n', stderr: '' })
})

test('map reads the lines of standard input when there are no arguments', async () => {
  const { code, stdout } = await runCommand(['map', upper], { stdin: 'a\r\nb\n\nc' })
  assert.deepEqual({ code, stdout }, { code: 0, stdout: '"A"\n"B"\n""\n"C"\n' })
})

test('map keeps the order of many results of an async function, in processes and in threads', async () => {
  const words = Array.from({ length: 500 }, (_, index) => `word${index}`)
  const expected = words.map(text => `${JSON.stringify({ text, length: text.length })}\n`).join('')
  for (const context of ['spawn', 'thread']) {
    const args = ['map', fixture('tasks.mjs#later'), '--processes', '2', '--context', context]
    const { code, stdout } = await runCommand(args, { stdin: words.join('\n') })
    assert.deepEqual({ code, stdout }, { code: 0, stdout: expected })
  }
})

test('map --unordered prints every result once, in any order', async () => {
  const numbers = Array.from({ length: 300 }, (_, index) => String(index + 1))
  const args = ['map', positive, '--unordered', '--chunk-size', '7', '-p', '2']
  const { code, stdout } = await runCommand(args, { stdin: numbers.join('\n') })
  assert.equal(code, 0)
  assert.deepEqual(
    stdout
      .trimEnd()
      .split('\n')
      .sort((a, b) => Number(a) - Number(b)),
    numbers,
  )
})

test('map --input json takes a value from every line that is not blank', async () => {
  const { code, stdout } = await runCommand(['map', fixture('tasks.mjs#identity'), '--input', 'json'], {
    stdin: '{"a": [1, null]}\n\n"text"\n  7 \n',
  })
  assert.deepEqual({ code, stdout }, { code: 0, stdout: '{"a":[1,null]}\n"text"\n7\n' })
})

test('map --input json takes values from arguments, too', async () => {
  const { stdout } = await runCommand([
    'map',
    fixture('tasks.mjs#double'),
    '-i',
    'json',
    '1',
    '2.5',
    '--',
    '-3',
  ])
  assert.equal(stdout, '2\n5\n-6\n')
})

test('map --spread passes the items of an array as arguments', async () => {
  const { code, stdout, stderr } = await runCommand(
    ['map', fixture('tasks.mjs#add'), '--input', 'json', '--spread'],
    { stdin: '[1, 2]\n["a", "b"]\n3\n' },
  )
  assert.deepEqual({ code, stdout }, { code: 1, stdout: '3\n"ab"\n' })
  assert.match(stderr, /^1 of 3 items failed:\n {2}line 3, "3": the input is no JSON array/)
})

test('map fails only the line that is no JSON, and names it by its number in the input', async () => {
  const { code, stdout, stderr } = await runCommand(['map', fixture('tasks.mjs#identity'), '-i', 'json'], {
    stdin: '1\n\n{oops}\n2\n',
  })
  assert.deepEqual({ code, stdout }, { code: 1, stdout: '1\n2\n' })
  assert.match(stderr, /^1 of 3 items failed:\n {2}line 3, "\{oops\}": the input is no JSON: /)
})

test('map --input args without arguments runs nothing', async () => {
  const { code, stdout, stderr } = await runCommand(['map', upper, '--input', 'args'], { stdin: 'a\n' })
  assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: '', stderr: '' })
})

test('map --output text prints strings as they are, and an empty line for nothing', async () => {
  const { stdout } = await runCommand(['map', upper, '-o', 'text', 'a', 'b'])
  assert.equal(stdout, 'A\nB\n')
  const { stdout: none } = await runCommand(['map', fixture('tasks.mjs#nothing'), '-o', 'text', 'a'])
  assert.equal(none, '\n')
})

test('map prints null for a function that returns nothing', async () => {
  assert.equal((await runCommand(['map', fixture('tasks.mjs#nothing'), 'a'])).stdout, 'null\n')
})

test('map reports failed items with their input, error and place, and prints the other results', async () => {
  const { code, stdout, stderr } = await runCommand(['map', positive, '--', '1', '-2', '3'])
  assert.deepEqual({ code, stdout }, { code: 1, stdout: '1\n3\n' })
  assert.match(
    stderr,
    /^1 of 3 items failed:\n {2}argument 2, "-2": RangeError: -2 is not positive\n {6}at positive \(file:.*tasks\.mjs:\d+:\d+\)\n$/,
  )
})

test('map reports what an async function rejects with, and what is thrown that is no error', async () => {
  const rejected = await runCommand(['map', fixture('tasks.mjs#rejects'), 'x'])
  assert.match(rejected.stderr, /argument 1, "x": TypeError: no x\n +and more\n +at .*rejects .*tasks\.mjs/)
  const thrown = await runCommand(['map', fixture('tasks.mjs#throwsText'), 'x'])
  assert.match(thrown.stderr, /argument 1, "x": thrown: 'just text'\n$/)
})

test('map fails the item whose result is no JSON', async () => {
  const { code, stderr } = await runCommand(['map', fixture('tasks.mjs#big'), 'x'])
  assert.equal(code, 1)
  assert.match(stderr, /the result cannot be written as JSON: .*BigInt/)
})

test('map shows the first 20 failures, shortens long inputs, and counts the rest', async () => {
  const { code, stderr } = await runCommand(['map', positive], { stdin: `${'x'.repeat(1000)}\n`.repeat(25) })
  assert.equal(code, 1)
  assert.equal(stderr.match(/^ {2}line \d+/gm)?.length, 20)
  assert.ok(stderr.startsWith(`25 of 25 items failed:\n  line 1, "${'x'.repeat(80)}...": RangeError`))
  assert.ok(stderr.endsWith('\n  and 5 more\n'))
})

test('map --fail-fast stops at the first failure', async () => {
  const { code, stdout, stderr } = await runCommand(
    ['map', positive, '--fail-fast', '-p', '1', '--chunk-size', '1'],
    { stdin: `1\nx\n${'2\n'.repeat(100_000)}` },
  )
  assert.equal(code, 1)
  assert.equal(stdout, '1\n')
  assert.match(stderr, /^Stopped after 1 failure\n1 of 2 items failed:\n {2}line 2, "x"/)
})

test('map --max-failures stops when so many have failed', async () => {
  const { code, stderr } = await runCommand(['map', positive, '--max-failures', '3'], {
    stdin: 'x\n'.repeat(50),
  })
  assert.equal(code, 1)
  assert.match(stderr, /^Stopped after 3 failures\n3 of 3 items failed/)
})

test('map fails only the item that ends its worker, ordered and unordered', async () => {
  for (const order of [[], ['--unordered']]) {
    const args = ['map', fixture('tasks.mjs#exitAt3'), '-p', '2', ...order]
    const { code, stdout, stderr } = await runCommand(args, { stdin: '1\n2\n3\n4\n5\n' })
    assert.equal(code, 1)
    assert.deepEqual(stdout.trimEnd().split('\n').sort(), ['1', '2', '4', '5'])
    assert.match(
      stderr,
      /^1 of 5 items failed:\n {2}line 3, "3": its worker \(pid \d+\) ended with exit code 7\n$/,
    )
  }
})

test('map runs in processes by default, and in threads when told to', async () => {
  type Place = { pid: number; threadId: number }
  const place = fixture('tasks.mjs#place')
  const inProcess = JSON.parse((await runCommand(['map', place, 'a'])).stdout) as Place
  assert.equal(inProcess.threadId, 0)
  const inThread = JSON.parse((await runCommand(['map', place, 'a', '-c', 'thread'])).stdout) as Place
  assert.notEqual(inThread.threadId, 0)
})

test('map ends although the module of the function keeps a timer', async () => {
  const { code, stdout } = await runCommand(['map', fixture('timer.mjs'), 'a'])
  assert.deepEqual({ code, stdout }, { code: 0, stdout: '"A"\n' })
})

test('map --progress writes lines to standard error when it is no terminal, and leaves the results alone', async () => {
  const { code, stdout, stderr } = await runCommand(['map', upper, '--progress', 'a', 'b'])
  assert.deepEqual({ code, stdout }, { code: 0, stdout: '"A"\n"B"\n' })
  assert.match(stderr, /2 of 2, /)
})
