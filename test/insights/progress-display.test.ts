/** What people see of the progress of calls: on a pseudo-terminal, which `script` of util-linux makes, and on a pipe. */
import assert from 'node:assert/strict'
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { checkLeaks } from '../leak-check.js'
import { TerminalScreen } from './terminal-screen.js'

checkLeaks()

const program = fileURLToPath(new URL('../../../test/fixtures/progress-program.mjs', import.meta.url))
const hasScript = /util-linux/.test(spawnSync('script', ['--version'], { encoding: 'utf8' }).stdout ?? '')

function onTerminal(deed: string): ChildProcessWithoutNullStreams {
  const command = `stty cols 100 rows 24; exec "${process.execPath}" "${program}" ${deed}`
  return spawn('script', ['-qefc', command, '/dev/null'], { env: { ...process.env, SHELL: '/bin/sh' } })
}

/** What is on the screen at the end, and all that was written. */
async function screenOf(deed: string): Promise<{ rows: string[]; output: string; code: number | null }> {
  const child = onTerminal(deed)
  const [output, [code]] = await Promise.all([
    text(child.stdout),
    once(child, 'close') as Promise<[number | null]>,
  ])
  return { rows: TerminalScreen.of(output), output, code }
}

describe('progress on a terminal', { skip: hasScript ? false : 'needs "script" of util-linux' }, () => {
  test('several calls have a bar each; what has ended stays above those that run, unless it is to be cleared', async () => {
    const { rows, output } = await screenOf('several')
    const bar = '█'.repeat(20)
    assert.equal(rows.length, 3, rows.join('\n'))
    assert.ok(rows[0]!.startsWith(`second ${bar} 10 of 10, `), rows[0])
    assert.ok(rows[1]!.startsWith(`first ${bar} 30 of 30, `), rows[1])
    assert.equal(rows[2], 'after')
    assert.match(output, /gone █+/)
    assert.match(output, /2\/2 busy/)
  })

  test('more calls than there is room for have their lines in the end, each once', async () => {
    const { rows } = await screenOf('many')
    assert.equal(rows.pop(), 'after')
    const labels = rows.map(row => /^(map \d+) █+ 2 of 2, /.exec(row)?.[1])
    assert.equal(labels.length, 40)
    assert.deepEqual(new Set(labels), new Set(Array.from({ length: 40 }, (_, n) => `map ${n}`)))
  })

  test('a call that is called off ends its bar with a whole line', async () => {
    const { rows } = await screenOf('cancelled')
    assert.match(rows[0]!, /^cancelled █+░+ 5 of 6, .*, stopped$/)
    assert.equal(rows[1], 'after')
  })

  test('a program that exits in the midst of a call leaves whole lines', async () => {
    const { rows, output, code } = await screenOf('exit')
    assert.equal(code, 3)
    assert.match(rows.join('\n'), /^exiting █+░+ 5 of 6, .*$/)
    assert.ok(output.endsWith('\n'))
  })

  test('Ctrl-C leaves the cursor visible: it was never hidden', async () => {
    const child = onTerminal('interrupted')
    let output = ''
    for await (const chunk of child.stdout.setEncoding('utf8') as AsyncIterable<string>) {
      const wasReady = output.includes('ready')
      output += chunk
      if (!wasReady && output.includes('ready')) child.stdin.write('\u0003')
    }
    assert.match(output, /interrupted ░+ 0 of 1/)
    assert.ok(!output.includes('\u001B[?25l'))
    assert.ok(!output.includes('\u001B[?7l'))
  })
})

test('progress on a pipe is a line for each call at its end, without control sequences', async () => {
  const child = spawn(process.execPath, [program, 'several'])
  const [stderr, stdout] = await Promise.all([text(child.stderr), text(child.stdout)])
  assert.equal(stdout, 'after\n')
  assert.ok(!stderr.includes('\u001B'))
  const ends = stderr
    .trimEnd()
    .split('\n')
    .filter(line => !line.includes('busy'))
  assert.equal(ends.length, 3)
  assert.deepEqual(new Set(ends.map(line => line.split(' ')[0])), new Set(['first', 'gone', 'second']))
})
