import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fixture, runCommand } from './run-command.js'

const upper = fixture('tasks.mjs#upper')
const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

test('--version prints the version of the package', async () => {
  assert.deepEqual(await runCommand(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' })
})

test('--help of the program and of every command goes to standard output', async () => {
  for (const [args, usage] of [
    [['--help'], 'Usage: multiproc <command>'],
    [['map', '--help'], 'Usage: multiproc map <file>'],
    [['doctor', '--help'], 'Usage: multiproc doctor'],
  ] as const) {
    const { code, stdout, stderr } = await runCommand(args)
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
    assert.ok(stdout.startsWith(usage), stdout)
  }
})

test('without a command the help goes to standard error, with exit code 2', async () => {
  const { code, stdout, stderr } = await runCommand([])
  assert.deepEqual({ code, stdout }, { code: 2, stdout: '' })
  assert.match(stderr, /^Usage: multiproc <command>/)
})

const wrong: [args: string[], message: RegExp][] = [
  [['mapp'], /no command "mapp"\nTo fix: use one of map, doctor/],
  [['toString'], /no command "toString"/],
  [['map'], /no function was named/],
  [['map', upper, '--colour'], /Unknown option '--colour'/],
  [['map', upper, '--processes'], /'-p, --processes <value>' argument missing/],
  [['map', upper, '--processes', '0', 'a'], /--processes must be a whole number from 1, but it is "0"/],
  [['map', upper, '--processes', 'two', 'a'], /but it is "two"/],
  [['map', upper, '--chunk-size', '1.5', 'a'], /--chunk-size must be a whole number/],
  [['map', upper, '--context', 'fork', 'a'], /--context must be one of spawn, thread, but it is "fork"/],
  [['map', upper, '--input', 'xml', 'a'], /--input must be one of args, lines, json/],
  [['map', upper, '--input', 'lines', 'a'], /--input lines reads standard input/],
  [['map', upper, '--spread', 'a'], /--spread needs inputs that are arrays/],
  [['map', upper, '--progress', '--no-progress', 'a'], /exclude each other/],
  [['doctor', 'x'], /takes no inputs, but got "x"/],
  [['doctor', '--xml'], /Unknown option '--xml'/],
]

for (const [args, message] of wrong) {
  const shown = args.map(arg => (arg === upper ? 'FILE' : arg)).join(' ')
  test(`"multiproc ${shown}" is refused with exit code 2 and without a stack`, async () => {
    const { code, stdout, stderr } = await runCommand(args)
    assert.deepEqual({ code, stdout }, { code: 2, stdout: '' })
    assert.match(stderr, message)
    assert.match(stderr, /^multiproc: .*\nTo fix: .*\n$/)
  })
}
