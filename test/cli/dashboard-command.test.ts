/** `multiproc dashboard` and `multiproc top`, as a shell runs them. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { topScreen } from '#src/cli/top-screen.js'
import type { UpdateMessage } from '#src/dashboard/live-messages.js'
import { InspectedProgram, OwnTemporaryDirectory } from '../dashboard/inspected-program.js'
import { checkLeaks } from '../leak-check.js'
import { program as commandLine, runCommand, startCommand } from './run-command.js'

checkLeaks()

const program = fileURLToPath(new URL('../fixtures/inspected-program.js', import.meta.url))

/** script(1) of util-linux makes the pseudo-terminal. */
const hasTerminal = process.platform === 'linux' && spawnSync('script', ['--version']).status === 0

describe('multiproc dashboard', () => {
  test('starts a command, shows it at the address that it prints, and ends with its exit code', async () => {
    using _ = new OwnTemporaryDirectory()
    const command = startCommand(['dashboard', '--', process.execPath, program])
    let printed = ''
    command.stderr.on('data', text => (printed += String(text)))
    await once(command.stdout, 'data')
    const [address] = /http:\S+/.exec(printed) as unknown as [string]
    const response = await fetch(`${address}live`)
    assert.equal(response.status, 200)
    let seen = ''
    for await (const piece of response.body!) {
      seen += Buffer.from(piece).toString()
      if (seen.includes('"name":"inspected"') && seen.includes('item 3 is refused')) break
    }
    command.stdin.end()
    const [code] = (await once(command, 'close')) as [number]
    assert.equal(code, 0)
  })

  test('passes on the exit code of its command, also of one without a pool', async () => {
    const { code, stdout } = await runCommand([
      'dashboard',
      '--',
      process.execPath,
      '-e',
      'console.log(1); process.exit(7)',
    ])
    assert.deepEqual([code, stdout], [7, '1\n'])
  })

  test('says what is wrong with its arguments', async () => {
    const cases = [
      ['dashboard', '--port', 'many'],
      ['dashboard', '--port', '70000'],
      ['dashboard', '--pid', '1', '--', 'node'],
      ['dashboard', '--', 'there-is-no-such-program'],
      ['top', 'x'],
      ['top', '1', '2'],
      ['top', '--interval', 'often'],
    ]
    for (const args of cases) {
      const { code, stderr } = await runCommand(args)
      assert.equal(code, 2, `${args.join(' ')}: ${stderr}`)
      assert.match(stderr, /To fix: /)
    }
  })

  test('lists the programs that can be shown, and ends with 1 when there is none', async () => {
    using _ = new OwnTemporaryDirectory()
    assert.equal((await runCommand(['dashboard', '--list'])).code, 1)
    assert.equal((await runCommand(['dashboard', '--pid', '1'])).code, 1)
    await using inspected = await InspectedProgram.start()
    await inspected.name()
    const { code, stdout } = await runCommand(['dashboard', '--list'])
    assert.equal(code, 0)
    assert.match(stdout, new RegExp(`^ *${inspected.pid}  v\\d.* inspected-program|inspected-program`, 'm'))
  })

  test('with --pid ends when that program does', async () => {
    using _ = new OwnTemporaryDirectory()
    await using inspected = await InspectedProgram.start()
    await inspected.name()
    const command = startCommand(['dashboard', '--pid', String(inspected.pid)])
    command.stdin.end()
    const exited = once(command, 'exit')
    await once(command.stderr, 'data')
    await inspected.end()
    assert.deepEqual(await exited, [0, null])
  })
})

describe('multiproc top', () => {
  test('shows one moment where its output is no terminal', async () => {
    using _ = new OwnTemporaryDirectory()
    await using inspected = await InspectedProgram.start()
    await inspected.name()
    const { code, stdout } = await runCommand(['top', String(inspected.pid)])
    assert.equal(code, 0)
    assert.match(stdout, /inspected {2}threads/)
    assert.match(stdout, /PoolWorker-\d t\d+ +working +neverEnds/)
    assert.match(stdout, /failOften #17 {2}RangeError: item 17 is refused/)
    assert.ok(!stdout.includes('\u001b'))
  })

  test('gives JSON values, one a line, until the program ends', async () => {
    using _ = new OwnTemporaryDirectory()
    await using inspected = await InspectedProgram.start()
    await inspected.name()
    const command = startCommand(['top', '--json', '--interval', '100ms'])
    const moments: { pools: { name: string; done: number }[] }[] = []
    let text = ''
    for await (const piece of command.stdout) {
      text += String(piece)
      const lines = text.split('\n')
      text = lines.pop()!
      for (const line of lines) moments.push(JSON.parse(line))
      if (moments.length === 2) inspected.child.stdin!.end()
    }
    assert.ok(moments.length >= 3, 'the last numbers come with the end of the program')
    assert.ok(moments.every(({ pools }) => pools[0]!.name === 'inspected' && pools[0]!.done === 21))
    assert.equal(command.exitCode ?? (await once(command, 'exit'))[0], 0)
  })

  test(
    'gives the terminal back as it was, when q is pressed',
    { skip: !hasTerminal && 'needs script(1) of util-linux' },
    async () => {
      using _ = new OwnTemporaryDirectory()
      await using inspected = await InspectedProgram.start()
      await inspected.name()
      const command = `exec '${process.execPath}' '${commandLine}' top --interval 100ms`
      const terminal = spawn('script', ['-q', '-f', '-e', '-c', command, '/dev/null'], {
        env: { ...process.env, NODE_OPTIONS: '' },
        timeout: 60_000,
        killSignal: 'SIGKILL',
      })
      let shown = ''
      let isPressed = false
      terminal.stdout.on('data', bytes => {
        shown += String(bytes)
        if (isPressed || !/neverEnds/.test(shown)) return
        isPressed = true
        terminal.stdin.write('q')
      })
      assert.deepEqual(await once(terminal, 'close'), [0, null])
      const [enter, leave] = ['\u001b[?1049h', '\u001b[?1049l']
      assert.ok(shown.indexOf(enter) >= 0 && shown.indexOf(leave) > shown.indexOf(enter), shown)
      assert.ok(shown.indexOf('\u001b[?25h') > shown.indexOf('\u001b[?25l'))
      assert.match(shown.slice(shown.indexOf(leave)), /21 done, 3 failed/)
    },
  )

  test('ends with 1 when there is no program', async () => {
    using _ = new OwnTemporaryDirectory()
    const { code, stderr } = await runCommand(['top'])
    assert.equal(code, 1)
    assert.match(stderr, /To fix: /)
  })
})

describe('topScreen()', () => {
  const program = {
    id: '1',
    pid: 1,
    command: 'node \u001b[2Japp.js',
    node: 'v20',
    startedAtMs: 0,
    state: 'running',
  } as const
  const update = (workers: number): UpdateMessage => ({
    point: null,
    pools: [
      {
        number: 1,
        name: 'evil\u0007\r\nname\u202e',
        method: 'thread',
        state: 'running',
        processes: workers,
        busyElsewhere: null,
        jobs: 0,
        waiting: 0,
        done: 0,
        failed: 0,
        perSecond: 0,
        workersEnded: 0,
        bytesSent: 0,
        bytesReceived: 0,
        workers: Array.from({ length: workers }, (_, index) => ({
          name: `w${index}`,
          pid: null,
          threadId: index,
          state: 'idle' as const,
          isSpare: false,
          functionName: null,
          runningMs: 0,
          perSecond: 0,
          busyPercent: 0,
          processorPercent: null,
          memoryBytes: null,
          items: 0,
          done: 0,
          failed: 0,
        })),
        calls: [],
        callsLeftOut: 0,
        longestTasks: [],
      },
    ],
    spans: [],
    failures: [],
    failureCount: 0,
    tables: [],
    done: 0,
    failed: 0,
  })

  test('never writes what would control the terminal, nor more than fits', () => {
    const lines = topScreen(
      { program, update: update(100), point: undefined },
      { columns: 40, rows: 20, isColoured: false },
    )
    assert.equal(lines.length, 20)
    assert.ok(
      lines.every(line => line.length <= 40 && !/[\p{Cc}\p{Cf}]/u.test(line)),
      lines.join('\n'),
    )
    assert.match(lines.at(-1)!, /more lines/)
  })

  test('says of a pool on a cluster how many processes of its machines have work', () => {
    const { pools, ...same } = update(1)
    const onCluster = { ...same, pools: [{ ...pools[0]!, processes: 8, busyElsewhere: 3 }] }
    const screen = (given: UpdateMessage): string =>
      topScreen(
        { program, update: given, point: undefined },
        { columns: 120, rows: 20, isColoured: false },
      ).join('\n')
    assert.match(screen(onCluster), /3 of 8 processes of a cluster busy/)
    assert.doesNotMatch(screen(update(1)), /of a cluster/)
  })
})
