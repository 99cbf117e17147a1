/** Whole programs with children: what happens when the main program ends, is killed, or has no output. */
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks, eventually, isRunning } from '../leak-check.js'

checkLeaks()

const file = fileURLToPath(new URL('../fixtures/family-program.js', import.meta.url))

interface Program {
  main: ChildProcess
  output: { stdout: string; stderr: string }
  ended: Promise<unknown[]>
}

function run(args: readonly string[], { stdin = 'ignore' }: { stdin?: 'ignore' | 'pipe' } = {}): Program {
  const main = spawn(process.execPath, [file, ...args], { stdio: [stdin, 'pipe', 'pipe'] })
  const output = { stdout: '', stderr: '' }
  main.stdout!.setEncoding('utf8').on('data', (text: string) => (output.stdout += text))
  main.stderr!.setEncoding('utf8').on('data', (text: string) => (output.stderr += text))
  return { main, output, ended: once(main, 'close') }
}

/** The pids that children printed. */
function pidsIn(text: string): number[] {
  return [...text.matchAll(/child (\d+)\n/g)].map(([, pid]) => Number(pid))
}

test('a child that computes without end is killed when its parent was', async () => {
  const { main, output, ended } = run(['computing', 'spawn'])
  await eventually(() => pidsIn(output.stdout).length === 1)
  main.kill('SIGKILL')
  const [pid] = pidsIn(output.stdout)
  await eventually(() => !isRunning(pid!))
  await ended
})

forEachStartMethod(method => {
  test('children end with a parent that is killed with SIGKILL, idle or at work', async () => {
    const { main, output, ended } = run(['orphans', method])
    await eventually(() => pidsIn(output.stdout).length === 2)
    const pids = pidsIn(output.stdout)
    assert.ok(pids.every(isRunning))
    main.kill('SIGKILL')
    await ended
    await eventually(() => !pids.some(isRunning))
  })

  test('a daemon does not keep the program alive, and ends with it', async () => {
    const { output, ended } = run(['daemon', method])
    assert.deepEqual(await ended, [0, null])
    assert.match(output.stdout, /main ends/)
    const [pid] = pidsIn(output.stdout)
    await eventually(() => !isRunning(pid!))
  })

  test('a child that is no daemon keeps the program alive until it ends', async () => {
    const { output, ended } = run(['nonDaemon', method])
    assert.deepEqual(await ended, [0, null])
    assert.equal(output.stdout, 'main ends\nchild ends\n')
  })

  test('process.exit() of the program ends its children', async () => {
    const { output, ended } = run(['exitNow', method])
    assert.deepEqual(await ended, [4, null])
    const [pid] = pidsIn(output.stdout)
    await eventually(() => !isRunning(pid!))
  })

  test('waiting for a daemon keeps the program alive', async () => {
    const { output, ended } = run(['joinDaemon', method])
    assert.deepEqual(await ended, [0, null])
    assert.equal(output.stdout, 'value 0\n')
  })

  test('what a child prints is complete before join() resolves', async () => {
    const { output, ended } = run(['output', method])
    assert.deepEqual(await ended, [0, null])
    assert.equal(output.stdout, `${'o'.repeat(1_000_000)}after join\n`)
    assert.equal(output.stderr, 'e'.repeat(1_000_000))
  })

  test('C024 a child works and exits with 0 when the streams of its parent are closed', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-'))
    const { ended } = run(['closedStreams', method, join(folder, 'result')])
    assert.deepEqual(await ended, [0, null])
    assert.equal(readFileSync(join(folder, 'result'), 'utf8'), 'did its work 0')
    rmSync(folder, { recursive: true })
  })

  test('C024 a child works and exits with 0 when nobody reads the output of its parent', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-'))
    const { main, ended } = run(['brokenStreams', method, join(folder, 'result')], { stdin: 'pipe' })
    main.stdout!.destroy()
    main.stderr!.destroy()
    main.stdin!.end()
    assert.deepEqual(await ended, [0, null])
    assert.equal(readFileSync(join(folder, 'result'), 'utf8'), 'did its work 0')
    rmSync(folder, { recursive: true })
  })
})

test('C008 a grandchild sees its parent alive, and dead after the parent was killed, and then ends', async () => {
  const { output, ended } = run(['grandchild'])
  await eventually(() => /parent (\d+) alive\n/.test(output.stdout))
  const pid = Number(/parent (\d+) alive/.exec(output.stdout)![1])
  process.kill(pid, 'SIGKILL')
  await ended
  assert.equal(output.stdout, `parent ${pid} alive\nparent ${pid} dead\n`)
})
