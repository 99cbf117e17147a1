import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  appendFileSync,
  existsSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { checkLeaks } from '../leak-check.js'
import { fixture, runCommand, startCommand } from './run-command.js'
import { WorkFolder } from './work-folder.js'

checkLeaks()

const square = fixture('killing.mjs#square')
const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
let random = seed >>> 0
const ITEMS = 3000
const numbers = Array.from({ length: ITEMS }, (_, index) => String(index + 1))
const squares = numbers.map(number => String(Number(number) ** 2))

/** A whole number from 1 to `max`, the next that the seed gives. */
function randomNumber(max: number): number {
  random = (Math.imul(random, 1664525) + 1013904223) >>> 0
  return 1 + Math.floor((random / 2 ** 32) * max)
}

function loggedItems(folder: WorkFolder): number[] {
  return folder
    .lines('log')
    .map(line => JSON.parse(line) as { item?: number })
    .flatMap(({ item }) => item ?? [])
}

/**
 * A kill seldom hits the microseconds between the write of results and that of their log, or the midst of one of them.
 * So what it leaves there is added: results that no log knows, the last one torn, and a torn line of the log.
 */
function tearEnds(folder: WorkFolder): void {
  const results = '123\n4567\n89\n'
  const path = folder.file('out')
  if (statSync(path).isDirectory()) {
    folder.write('out/002999.json', 'of an input that is not logged\n')
    folder.write('out/003000.json.part', results.slice(0, randomNumber(results.length)))
  } else {
    appendFileSync(path, results.slice(0, randomNumber(results.length)))
  }
  const line = '{"item":2999,"status":"ok","hash":"00000001"}'
  appendFileSync(folder.file('log'), line.slice(0, randomNumber(line.length)))
}

const forms: Record<string, { args: string[]; results: (folder: WorkFolder) => string[] }> = {
  'in order to a file': { args: ['--to', 'out'], results: folder => folder.lines('out') },
  'in any order to a file': {
    args: ['--unordered', '--to', 'out'],
    results: folder => folder.lines('out').sort((a, b) => Number(a) - Number(b)),
  },
  'to a folder': {
    args: ['--to-folder', 'out'],
    results: folder => folder.names('out').flatMap(name => folder.lines(`out/${name}`)),
  },
}

for (const [form, { args, results }] of Object.entries(forms)) {
  test(`map --resume, killed again and again, has every result once ${form} (SEED=${seed})`, async () => {
    using folder = new WorkFolder()
    folder.write('in', numbers.map(number => `${number}\n`).join(''))
    const killers = [randomNumber(ITEMS), randomNumber(ITEMS), randomNumber(ITEMS)].map(String)
    const command = ['map', square, '--from', 'in', ...args, '--joblog', 'log', '--resume', '-p', '2']
    const env = { FOLDER: folder.path, KILL_AT: killers.join() }
    let done: number[] = []
    let kills = 0
    for (;;) {
      const child = startCommand([...command, '--chunk-size', String(randomNumber(40))], {
        env,
        cwd: folder.path,
      })
      const said = text(child.stderr)
      const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
      if (signal === null) {
        assert.deepEqual({ code, said: await said }, { code: 0, said: '' })
        break
      }
      assert.equal(signal, 'SIGKILL')
      kills++
      if (kills === 1) done = loggedItems(folder)
      tearEnds(folder)
    }
    assert.ok(kills >= 1)
    assert.deepEqual(results(folder), squares)
    assert.deepEqual(
      loggedItems(folder).sort((a, b) => a - b),
      numbers.map(Number),
    )
    // What was logged before the first kill ran no second time.
    const calls = new Map<string, number>()
    for (const call of folder.lines('calls')) calls.set(call, (calls.get(call) ?? 0) + 1)
    for (const item of done) assert.equal(calls.get(String(item)), 1, `item ${item}`)
  })
}

test('map --resume goes on after Ctrl-C, which says how', async () => {
  using folder = new WorkFolder()
  folder.write('in', numbers.map(number => `${number}\n`).join(''))
  const command = ['map', square, '--from', 'in', '--to', 'out', '--joblog', 'log']
  const env = { FOLDER: folder.path, KILL_AT: '1000', KILL_SIGNAL: 'SIGINT' }
  const first = await runCommand([...command, '--chunk-size', '1'], { env, cwd: folder.path })
  assert.equal(first.code, 130)
  const [, done] =
    /^Interrupted: (\d+) items were done; the same command with --resume goes on\n$/.exec(first.stderr) ?? []
  assert.equal(Number(done), folder.lines('out').length)
  assert.equal(Number(done), loggedItems(folder).length)
  const second = await runCommand([...command, '--resume'], { env, cwd: folder.path })
  assert.deepEqual({ code: second.code, stderr: second.stderr }, { code: 0, stderr: '' })
  assert.deepEqual(folder.lines('out'), squares)
})

test('map --resume leaves out what failed and says so; --retry-failed runs it again', async () => {
  using folder = new WorkFolder()
  const command = ['map', square, '-u', '--to', 'out', '--joblog', 'log', '--resume', '1', '2', '3']
  const run = async (more: string[], fails: string): ReturnType<typeof runCommand> =>
    await runCommand([...command, ...more], {
      env: { FOLDER: folder.path, FAILS: fails },
      cwd: folder.path,
    })
  assert.equal((await run([], '2')).code, 1)
  const again = await run([], '')
  assert.equal(again.code, 1)
  assert.equal(again.stderr, '1 item failed in an earlier run; --retry-failed runs it again\n')
  assert.deepEqual(folder.lines('out').sort(), ['1', '9'])
  assert.equal((await run(['--retry-failed'], '2')).code, 1)
  assert.deepEqual(folder.lines('out').sort(), ['1', '9'])
  assert.equal((await run(['--retry-failed'], '')).code, 0)
  assert.deepEqual(folder.lines('out').sort(), ['1', '4', '9'])
  assert.equal((await run([], '')).code, 0)
  assert.deepEqual(folder.lines('calls').sort(), ['1', '2', '2', '2', '3'])
})

test('map --resume runs inputs again whose files are gone from the folder, and takes away what was half written', async () => {
  using folder = new WorkFolder()
  const command = ['map', square, '--to-folder', 'out', '--joblog', 'log', '--resume', '1', '2', '3']
  const options = { env: { FOLDER: folder.path }, cwd: folder.path }
  assert.equal((await runCommand(command, options)).code, 0)
  assert.deepEqual(folder.names('out'), ['000001.json', '000002.json', '000003.json'])
  rmSync(folder.file('out/000002.json'))
  folder.write('out/000003.json.part', '9')
  folder.write('out/notes.part', 'of somebody else')
  assert.equal((await runCommand(command, options)).code, 0)
  assert.deepEqual(folder.names('out'), ['000001.json', '000002.json', '000003.json', 'notes.part'])
  assert.deepEqual(folder.lines('calls').sort(), ['1', '2', '2', '3'])
})

test('map --resume prints only the results of what was not finished when they go to standard output', async () => {
  using folder = new WorkFolder()
  const options = { env: { FOLDER: folder.path }, cwd: folder.path }
  const command = ['map', square, '--joblog', 'log', '--resume']
  assert.equal((await runCommand([...command, '1', '2'], options)).stdout, '1\n4\n')
  assert.equal((await runCommand([...command, '1', '2', '3'], options)).stdout, '9\n')
})

/** A run of the inputs 1, 2 and 3 that has ended well, made once and copied. */
let finishedRun: Promise<{ out: string; log: string }> | undefined

async function runOnce(): Promise<{ out: string; log: string }> {
  using folder = new WorkFolder()
  const { code } = await runCommand(['map', square, '--to', 'out', '--joblog', 'log', '1', '2', '3'], {
    env: { FOLDER: folder.path },
    cwd: folder.path,
  })
  assert.equal(code, 0)
  return { out: folder.read('out'), log: folder.read('log') }
}

interface Lie {
  what: string
  tell: (folder: WorkFolder) => void
  code: number
  says: RegExp
  args?: string[]
}

const lies: Lie[] = [
  {
    what: 'there is no log, but there are results',
    tell: folder => rmSync(folder.file('log')),
    code: 2,
    says: /there is no job log "log", but there are results in "out"/,
  },
  {
    what: 'the log is something else',
    tell: folder => folder.write('log', 'a shopping list\n'),
    code: 2,
    says: /"log" is no job log of multiproc map, or was changed: its line 1/,
  },
  {
    what: 'the log is something else without a line',
    tell: folder => folder.write('log', 'a shopping list'),
    code: 2,
    says: /"log" is no job log/,
  },
  {
    what: 'a line in the midst of the log is broken',
    tell: folder => writeFileSync(folder.file('log'), folder.read('log').replace('"item":2', '"item":"2"')),
    code: 2,
    says: /its line 4 is none of such a log/,
  },
  {
    what: 'the log has a number that is too large for any run',
    tell: folder => appendFileSync(folder.file('log'), '{"item":4e9,"status":"ok","hash":"00000001"}\n'),
    code: 2,
    says: /its line 6 is none of such a log/,
  },
  {
    what: 'the output is of something else',
    tell: folder => folder.write('out', 'x'.repeat(100)),
    code: 2,
    says: /"out" is not the output that "log" is about, or was changed since: no line ends at byte 6/,
  },
  {
    what: 'the log is of another function',
    tell: folder => writeFileSync(folder.file('log'), folder.read('log').replace('#square', '#cube')),
    code: 2,
    says: /log of another run, with function ".*#cube" and not ".*#square"/,
  },
  {
    what: 'the run that writes the log still goes on',
    tell: folder => {
      const { pid } = process
      const own = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ')[19]
      appendFileSync(folder.file('log'), `{"started":"","process":"${pid}@${own}"}\n`)
    },
    code: 2,
    says: /still going on \(pid \d+\)/,
  },
  {
    what: 'an input is another',
    tell: () => {},
    args: ['1', '7', '3'],
    code: 1,
    says: /not about these inputs: input 2 \(argument 2\) was another/,
  },
  {
    what: 'inputs are missing',
    tell: () => {},
    args: ['1', '2'],
    code: 1,
    says: /it knows input 3, and there are 2/,
  },
]

for (const { what, tell, code, says, args = ['1', '2', '3'] } of lies) {
  const skip = what.includes('goes on') && !existsSync('/proc/self/stat') && 'the test needs /proc'
  test(`map --resume refuses to go on, and changes nothing, when ${what}`, { skip }, async () => {
    using folder = new WorkFolder()
    const command = ['map', square, '--to', 'out', '--joblog', 'log', '--resume']
    const options = { env: { FOLDER: folder.path }, cwd: folder.path }
    finishedRun ??= runOnce()
    for (const [name, content] of Object.entries(await finishedRun)) folder.write(name, content)
    tell(folder)
    const out = folder.read('out')
    const log = existsSync(folder.file('log')) ? folder.read('log') : undefined
    const ended = await runCommand([...command, ...args], options)
    assert.equal(ended.code, code, ended.stderr)
    assert.match(ended.stderr, says)
    assert.match(ended.stderr, /\nTo fix: /)
    assert.equal(folder.read('out'), out)
    if (code === 2) assert.equal(existsSync(folder.file('log')) ? folder.read('log') : undefined, log)
  })
}

test('map --joblog without --resume does not overwrite a log, and leaves none when it cannot begin', async () => {
  using folder = new WorkFolder()
  const options = { env: { FOLDER: folder.path }, cwd: folder.path }
  const unwritable = ['map', square, '--to', 'no/out', '--joblog', 'log', '1']
  const refused = await runCommand(unwritable, options)
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, /Cannot write results to "no\/out": ENOENT/)
  assert.deepEqual(folder.names(), [])
  const command = ['map', square, '--to', 'out', '--joblog', 'log', '1']
  assert.equal((await runCommand(command, options)).code, 0)
  const again = await runCommand(command, options)
  assert.equal(again.code, 2)
  assert.match(again.stderr, /job log "log" is there already\nTo fix: add --resume/)
})

test('map --resume begins anew when the head of the log is torn', async () => {
  using folder = new WorkFolder()
  const options = { env: { FOLDER: folder.path }, cwd: folder.path }
  const command = ['map', square, '--to', 'out', '--joblog', 'log', '--resume', '2']
  assert.equal((await runCommand(command, options)).code, 0)
  truncateSync(folder.file('log'), 10)
  assert.equal((await runCommand(command, options)).code, 0)
  assert.deepEqual(folder.lines('out'), ['4'])
  assert.deepEqual(loggedItems(folder), [1])
})
