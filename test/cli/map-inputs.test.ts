import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { checkLeaks } from '../leak-check.js'
import { fixture, runCommand, startCommand } from './run-command.js'
import { WorkFolder } from './work-folder.js'

checkLeaks()

const identity = fixture('tasks.mjs#identity')

test('map --input files calls the function for every file that names and globs stand for, each once', async () => {
  using folder = new WorkFolder()
  for (const name of ['b.txt', 'a.txt', 'deep/er/c.txt', 'x[1].txt', '.hidden.txt', 'other.md'])
    folder.write(name, '')
  const args = ['map', identity, '--input', 'files', 'x[1].txt', '**/*.txt', 'a.txt']
  const { code, stdout, stderr } = await runCommand(args, { cwd: folder.path })
  assert.deepEqual(
    { code, stdout, stderr },
    { code: 0, stdout: '"x[1].txt"\n"a.txt"\n"b.txt"\n"deep/er/c.txt"\n', stderr: '' },
  )
})

test('map --input files complains about a glob that nothing matches, and about a folder', async () => {
  using folder = new WorkFolder()
  folder.write('pictures/a.jpg', '')
  const run = async (pattern: string): ReturnType<typeof runCommand> =>
    await runCommand(['map', identity, '-i', 'files', pattern], { cwd: folder.path })
  const none = await run('*.jpg')
  assert.equal(none.code, 2)
  assert.match(none.stderr, /^multiproc: No file matches "\*\.jpg"\nTo fix: /)
  const inFolder = await run('pictures/')
  assert.equal(inFolder.code, 2)
  assert.match(inFolder.stderr, /"pictures\/" as an input: it is a folder\nTo fix: .*"pictures\/\*\*\/\*"\n$/)
})

test('map --from reads lines, JSON and CSV from a file, and complains when there is none', async () => {
  using folder = new WorkFolder()
  folder.write('lines', 'a\nb')
  folder.write('json', '{"a": 1}\n\n[2]\n')
  const run = async (...args: string[]): ReturnType<typeof runCommand> =>
    await runCommand(['map', identity, ...args], { cwd: folder.path, stdin: 'not this' })
  assert.equal((await run('--from', 'lines')).stdout, '"a"\n"b"\n')
  assert.equal((await run('-i', 'json', '--from', 'json')).stdout, '{"a":1}\n[2]\n')
  assert.equal((await run('--from', '-')).stdout, '"not this"\n')
  const missing = await run('--from', 'nowhere')
  assert.equal(missing.code, 2)
  assert.match(missing.stderr, /Cannot read inputs from "nowhere": there is no such file\nTo fix: /)
})

test('map --null reads what "find -print0" writes', async () => {
  const { stdout } = await runCommand(['map', identity, '-0'], { stdin: 'a\nb\0c\r\0\0d' })
  assert.equal(stdout, '"a\\nb"\n"c\\r"\n""\n"d"\n')
})

test('map --input csv makes an object of every row, with quotes, line ends and a byte order mark', async () => {
  const { code, stdout } = await runCommand(['map', identity, '-i', 'csv'], {
    stdin: '\uFEFFname,note\r\nAnn,"said ""hi"",\nand left"\r\n\r\nBö,\r\n',
  })
  assert.equal(code, 0)
  assert.deepEqual(
    stdout
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line) as unknown),
    [
      { name: 'Ann', note: 'said "hi",\nand left' },
      { name: 'Bö', note: '' },
    ],
  )
})

test('map --input csv --no-header makes arrays, which --spread passes as arguments', async () => {
  const stdin = 'a\tb\nc\td\n'
  const args = ['map', fixture('tasks.mjs#add'), '-i', 'csv', '--no-header', '--delimiter', 'tab']
  assert.equal((await runCommand([...args, '--spread'], { stdin })).stdout, '"ab"\n"cd"\n')
  assert.equal((await runCommand([...args], { stdin })).stdout, '"a,bundefined"\n"c,dundefined"\n')
})

test('map --input csv fails the run at a row that does not fit the header, and names its line', async () => {
  const { code, stderr } = await runCommand(['map', identity, '-i', 'csv'], {
    stdin: 'a,b\n1,2\n3\n5,6\n',
  })
  assert.equal(code, 1)
  assert.match(stderr, /^multiproc: Cannot read the CSV input: .*line 3\nTo fix: /)
})

test('map --input csv refuses a header with a name twice', async () => {
  const { code, stderr } = await runCommand(['map', identity, '-i', 'csv'], { stdin: 'a,a\n1,2\n' })
  assert.equal(code, 1)
  assert.match(stderr, /its header has the column "a" twice\nTo fix: /)
})

test('map --input csv gives results of rows while others are still to come, without end', async () => {
  const child = startCommand(['map', identity, '-i', 'csv', '-p', '2'])
  const stderr = text(child.stderr)
  const rows = '1,2\n'.repeat(1000)
  Readable.from(
    (function* () {
      yield 'a,b\n'
      for (;;) yield rows
    })(),
  ).pipe(child.stdin)
  let count = 0
  for await (const line of createInterface({ input: child.stdout })) {
    assert.equal(line, '{"a":"1","b":"2"}')
    if (++count === 20_000) break
  }
  child.stdout.destroy()
  assert.deepEqual(await once(child, 'exit'), [0, null])
  assert.equal(await stderr, '')
})
