import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { checkLeaks } from '../leak-check.js'
import { fixture, program } from './run-command.js'
import { WorkFolder } from './work-folder.js'

checkLeaks()

const ITEMS = 1000
const RUN_MS_MAX = 60_000
/** script(1) of util-linux makes the pseudo-terminal. */
const hasTerminal = process.platform === 'linux' && spawnSync('script', ['--version']).status === 0

interface Ended {
  code: number | null
  /** What stood on the terminal, from its control characters on. */
  shown: string
}

/** Runs the program on a terminal. When it shows `typeAfter`, Ctrl-C is typed. */
async function runOnTerminal(
  args: readonly string[],
  { folder, env = {}, typeAfter }: { folder: WorkFolder; env?: NodeJS.ProcessEnv; typeAfter?: string },
): Promise<Ended> {
  const command = [process.execPath, program, ...args].map(word => `'${word}'`).join(' ')
  // "exec" leaves no shell between the terminal and the program, whose end would be told in its words.
  const child = spawn('script', ['-q', '-f', '-e', '-c', `exec ${command}`, '/dev/null'], {
    cwd: folder.path,
    env: { ...process.env, NODE_OPTIONS: '', FOLDER: folder.path, ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
    timeout: RUN_MS_MAX,
    killSignal: 'SIGKILL',
  })
  let shown = ''
  let isTyped = false
  child.stdout.on('data', (bytes: Buffer) => {
    shown += bytes.toString()
    if (typeAfter === undefined || isTyped || !shown.includes(typeAfter)) return
    isTyped = true
    child.stdin.write('\u0003')
  })
  child.stdin.on('error', () => {})
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, shown }
}

test(
  'map on a terminal shows a bar, ends at Ctrl-C, and goes on after that and after kill -9',
  { skip: !hasTerminal && 'needs script(1) of util-linux' },
  async () => {
    using folder = new WorkFolder()
    const numbers = Array.from({ length: ITEMS }, (_, index) => String(index + 1))
    folder.write('in', numbers.map(number => `${number}\n`).join(''))
    const args = [
      'map',
      fixture('killing.mjs#hangsOnce'),
      '--from',
      'in',
      '--to',
      'out',
      '--joblog',
      'log',
      '--resume',
    ]
    const run = [...args, '-p', '2', '--chunk-size', '5']
    const env = { HANG_AT: '300', KILL_AT: '700' }

    const interrupted = await runOnTerminal(run, { folder, env, typeAfter: 'hanging' })
    assert.equal(interrupted.code, 130, interrupted.shown)
    // Escape sequences of the bar stand before it.
    assert.match(interrupted.shown, /done, [\d.]+\/s/)
    assert.match(
      interrupted.shown,
      /Interrupted: \d+ items were done; the same command with --resume goes on\r\n/,
    )
    const before = folder.lines('out').length
    assert.ok(before <= 299, String(before))

    const killed = await runOnTerminal(run, { folder, env })
    assert.equal(killed.code, 128 + 9, killed.shown)
    assert.ok(existsSync(folder.file('first-700')))

    const { code, shown } = await runOnTerminal(run, { folder, env })
    assert.equal(code, 0, shown)
    assert.doesNotMatch(shown, /Interrupted|failed/)
    assert.deepEqual(
      folder.lines('out'),
      numbers.map(number => String(Number(number) ** 2)),
    )
  },
)

test(
  'map on a terminal reads inputs typed there, and says so',
  { skip: !hasTerminal && 'needs script(1) of util-linux' },
  async () => {
    using folder = new WorkFolder()
    const args = ['map', fixture('tasks.mjs#hang')]
    const { code, shown } = await runOnTerminal(args, {
      folder,
      typeAfter: 'Reading inputs from the terminal',
    })
    assert.equal(code, 130, shown)
    assert.match(shown, /Reading inputs from the terminal, one a line; Ctrl-D ends them\r\n/)
    assert.match(shown, /Interrupted: 0 items were done\r\n/)
  },
)
