import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { ALL_SYNTAX } from '#src/cli/all-syntax.js'
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
    ...ALL_SYNTAX.map(({ name }) => [[name, '--help'], `Usage: multiproc ${name} `] as const),
  ] as const) {
    const { code, stdout, stderr } = await runCommand(args)
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
    assert.ok(stdout.startsWith(usage), stdout)
    assert.match(stdout, /\nExamples?:/)
    for (const line of stdout.split('\n')) assert.ok(line.length <= 120, line)
  }
})

test('without a command the help goes to standard error, with exit code 2', async () => {
  const { code, stdout, stderr } = await runCommand([])
  assert.deepEqual({ code, stdout }, { code: 2, stdout: '' })
  assert.match(stderr, /^Usage: multiproc <command>/)
})

const wrong: [args: string[], message: RegExp][] = [
  [
    ['mapp'],
    /no command "mapp"\nTo fix: use one of map, run, worker, cluster, dashboard, top, doctor, bench, completion;/,
  ],
  [['toString'], /no command "toString"/],
  [['map'], /no function was named/],
  [['map', upper, '--colour'], /Unknown option '--colour'/],
  [['map', upper, '--processes'], /'-p, --processes <value>' argument missing/],
  [['map', upper, '--processes', '0', 'a'], /--processes must be a whole number from 1, but it is "0"/],
  [['map', upper, '--processes', 'two', 'a'], /but it is "two"/],
  [['map', upper, '--chunk-size', '1.5', 'a'], /--chunk-size must be a whole number/],
  [['map', upper, '--context', 'fork', 'a'], /--context must be one of spawn, thread, but it is "fork"/],
  [
    ['map', upper, '--input', 'xml', 'a'],
    /--input must be one of args, files, lines, json, csv, but it is "xml"/,
  ],
  [['map', upper, '--input', 'lines', 'a'], /--input lines reads standard input/],
  [['map', upper, '--spread', 'a'], /--spread needs inputs that are arrays/],
  [['map', upper, '--progress', '--no-progress', 'a'], /exclude each other/],
  [['map', upper, '--input', 'csv', 'a'], /--input csv reads standard input, .*To fix: .*--from/s],
  [['map', upper, '--from', 'x', 'a'], /--from reads inputs from a file/],
  [['map', upper, '--input', 'files'], /--input files needs names of files, or globs/],
  [['map', upper, '--null', 'a'], /--null is for --input lines, but the inputs are args/],
  [['map', upper, '--delimiter', ';'], /--delimiter is for --input csv, but the inputs are lines/],
  [
    ['map', upper, '--input', 'csv', '--delimiter', 'ab'],
    /--delimiter must be one character, but it is "ab"/,
  ],
  [['map', upper, '--input', 'csv', '--spread'], /--spread needs inputs that are arrays/],
  [['map', upper, '--to', 'x', '--to-folder', 'y', 'a'], /--to and --to-folder exclude each other/],
  [['map', upper, '--from', 'x', '--to', './x'], /--to would overwrite the inputs/],
  [['map', upper, '--thread', '--context', 'spawn', 'a'], /--thread and --context spawn exclude/],
  [['map', upper, '--timeout', 'soon', 'a'], /--timeout must be a time from 1ms to 596h, but it is "soon"/],
  [['map', upper, '--retries', '-1', 'a'], /'--retries' argument is ambiguous|must be a whole number from 0/],
  [['map', upper, '--retry-delay', '1s', 'a'], /--retry-delay has no meaning without retries/],
  [['map', upper, '--halt', 'later', 'a'], /--halt must be never, soon or now/],
  [['map', upper, '--halt', 'now', '--fail-fast', 'a'], /--halt and --fail-fast exclude each other/],
  [['map', upper, '--resume', 'a'], /--resume needs a job log/],
  [['map', upper, '--retry-failed', 'a'], /--retry-failed is about .* earlier run/],
  [['map', upper, '--joblog', 'x', '--to', './x', 'a'], /--joblog and --to name the same file/],
  [
    ['map', upper, '--joblog', 'x', '--resume', '--retry-failed', '--to', 'y', 'a'],
    /--retry-failed cannot keep the order/,
  ],
  [['run'], /no function was named/],
  [['run', upper, '--json', 'a'], /Argument 1 is no JSON/],
  [['run', upper, '--output', 'xml'], /--output must be one of json, text, none/],
  [['bench', 'x'], /takes no inputs, but got "x"/],
  [['bench', '--seconds', '61'], /--seconds must be at most 60/],
  [['completion'], /needs the name of one shell, but there is none\nTo fix: pass one of bash, zsh, fish/],
  [['completion', 'cmd'], /but it is "cmd"/],
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
