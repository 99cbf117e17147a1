/** How a program with a pool at work ends: by Ctrl-C, signals, errors and exit. No worker is left, and none complains. */
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks, eventually, isRunning } from '../leak-check.js'

checkLeaks()

const file = fileURLToPath(new URL('../fixtures/ending-program.js', import.meta.url))

interface Program {
  main: ChildProcess
  output: { stdout: string; stderr: string }
  ended: Promise<[number | null, NodeJS.Signals | null]>
  workers(): number[]
}

/** In a process group of its own, as a shell starts it. */
function run(method: string, how: string): Program {
  const main = spawn(process.execPath, [file, method, how], {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  })
  const output = { stdout: '', stderr: '' }
  main.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text))
  main.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text))
  const ended = once(main, 'close') as Promise<[number | null, NodeJS.Signals | null]>
  const workers = (): number[] => [...output.stdout.matchAll(/worker (\d+)\n/g)].map(([, pid]) => Number(pid))
  return { main, output, ended, workers }
}

async function atWork(program: Program, count: number): Promise<number[]> {
  await eventually(() => program.workers().length === count)
  return program.workers()
}

/** As the terminal does: to every process of the group. */
function pressCtrlC({ main }: Program): void {
  process.kill(-main.pid!, 'SIGINT')
}

const goneWithMain = async (pids: readonly number[]): Promise<void> => eventually(() => !pids.some(isRunning))

forEachStartMethod(method => {
  describe('a program that listens to no signal', () => {
    test('ends by Ctrl-C at once, without a word of its workers', async () => {
      const program = run(method, 'waits')
      const pids = await atWork(program, 2)
      pressCtrlC(program)
      assert.deepEqual(await program.ended, [null, 'SIGINT'])
      assert.equal(program.output.stderr, '')
      await goneWithMain(pids)
    })

    for (const signal of ['SIGTERM', 'SIGHUP', 'SIGKILL'] as const) {
      test(`ends by ${signal} to itself alone, and its workers end with it`, async () => {
        const program = run(method, 'waits')
        const pids = await atWork(program, 2)
        program.main.kill(signal)
        assert.deepEqual(await program.ended, [null, signal])
        assert.equal(program.output.stderr, '')
        await goneWithMain(pids)
      })
    }
  })

  test('process.exit() with work in flight ends the workers', async () => {
    const program = run(method, 'exits')
    const pids = await atWork(program, 2)
    program.main.stdin!.end('now\n')
    assert.deepEqual(await program.ended, [3, null])
    assert.equal(program.output.stderr, '')
    await goneWithMain(pids)
  })

  for (const [how, what] of [
    ['rejects', 'nobody handles it'],
    ['throws', 'nobody catches it'],
  ] as const) {
    test(`a program that ${how} with work in flight reports this one error, and ends its workers`, async () => {
      const program = run(method, how)
      const pids = await atWork(program, 2)
      program.main.stdin!.end('now\n')
      assert.deepEqual(await program.ended, [1, null])
      assert.equal(program.output.stderr.match(new RegExp(`RangeError: ${what}`, 'g'))?.length, 1)
      assert.doesNotMatch(program.output.stderr, /Worker|terminated/)
      await goneWithMain(pids)
    })
  }

  describe('interruptSignal()', () => {
    for (const [signal, exitCode] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
      ['SIGHUP', 129],
    ] as const) {
      test(`${signal} lets tasks end, and the program tell what was done`, async () => {
        const program = run(method, 'reports')
        const pids = await atWork(program, 1)
        // SIGTERM comes to one process alone; the others come to all of the terminal.
        process.kill(signal === 'SIGTERM' ? program.main.pid! : -program.main.pid!, signal)
        const [status] = await program.ended
        assert.match(program.output.stdout, /told\n/)
        assert.match(
          program.output.stdout,
          new RegExp(`2 of 5 were done; InterruptedError: The program was interrupted by ${signal}\n`),
        )
        assert.equal(program.output.stderr, '')
        assert.equal(status, exitCode)
        await goneWithMain(pids)
      })
    }

    test('the second Ctrl-C ends the program and a worker that refuses to', async () => {
      const program = run(method, 'refuses')
      const pids = await atWork(program, 1)
      pressCtrlC(program)
      await eventually(() => program.output.stdout.includes('called off'))
      assert.ok(pids.every(isRunning))
      pressCtrlC(program)
      assert.deepEqual(await program.ended, [130, null])
      assert.equal(program.output.stderr, '')
      await goneWithMain(pids)
    })
  })
})
