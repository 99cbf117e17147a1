/** `multiproc map --cluster`, as a shell runs it, with a real server and agents that are killed. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { cpSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { KEY, POOL, TestCluster, needsServer } from '../cluster/started-server.js'
import { Latches } from '../latch.js'
import { checkLeaks } from '../leak-check.js'
import { type CommandOptions, fixture, runCommand, startCommand } from './run-command.js'
import { WorkFolder } from './work-folder.js'

checkLeaks()

const env = { MULTIPROC_AUTH_KEY: KEY }

function mapOn(cluster: TestCluster, name: string, args: readonly string[]): string[] {
  return ['map', fixture(`elsewhere.mjs#${name}`), '--cluster', cluster.url, '--name', POOL, ...args]
}

describe('map --cluster', needsServer, () => {
  test('calls the function on agents, and says what failed there and where', async () => {
    await using cluster = await TestCluster.start()
    const agent = await cluster.agentProgram()
    const numbers = ['1', '2', '-3', '4']
    const { code, stdout, stderr } = await runCommand(mapOn(cluster, 'whoSquares', ['--', ...numbers]), {
      env,
    })
    const results = stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as { square: number; caller: number })
    assert.deepEqual(
      results,
      [1, 4, 16].map(square => ({ square, caller: agent.pid })),
    )
    assert.equal(code, 1)
    assert.match(stderr, /1 of 4 items failed:\n {2}argument 3, "-3": RangeError: -3 is not positive\n/)
    assert.match(stderr, /at whoSquares \(.*elsewhere\.mjs:\d+:\d+\)/)
  })

  test('calls methods of exports, with retries, a time limit and a job log as without it', async () => {
    await using cluster = await TestCluster.start()
    await cluster.agentProgram()
    using folder = new WorkFolder()
    const raised = await runCommand(mapOn(cluster, 'powers.raise', ['-o', 'text', '2', '3']), { env })
    assert.deepEqual(raised, { code: 0, stdout: '8\n27\n', stderr: '' })
    const limits = ['--timeout', '200ms', '--retries', '1', '--joblog', 'log', 'a']
    const late = await runCommand(mapOn(cluster, 'endless', limits), { env, cwd: folder.path })
    assert.equal(late.code, 1)
    assert.match(late.stderr, /argument 1, "a": it took longer than 200 ms/)
    assert.equal((JSON.parse(folder.lines('log').at(-1)!) as { status: string }).status, 'failed')
    const dead = await runCommand(mapOn(cluster, 'dies', ['a']), { env })
    assert.equal(dead.code, 1)
    assert.match(dead.stderr, /argument 1, "a": its worker .*was killed by SIGKILL/)
  })

  test('is served by agents whose library is in another folder, and that have no module of the user', async () => {
    await using cluster = await TestCluster.start()
    using folder = new WorkFolder()
    const root = fileURLToPath(new URL('../', import.meta.resolve('multiproc')))
    for (const name of ['dist', 'package.json'])
      cpSync(join(root, name), folder.file(name), { recursive: true })
    symlinkSync(join(root, 'node_modules'), folder.file('node_modules'), 'junction')
    const worker = startCommand(['worker', '--cluster', cluster.url, '--pool', POOL, '-p', '1'], {
      env: { ...env, HAS_NO_MODULES: '1' },
      program: folder.file('dist/cli/cli-main.js'),
    })
    await once(createInterface(worker.stderr), 'line')
    // Retries ask which attempt it is, which only that library knows that runs the task.
    const args = ['--retries', '1', '--', '3', '-3']
    const { code, stdout, stderr } = await runCommand(mapOn(cluster, 'whoSquares', args), { env })
    assert.deepEqual(JSON.parse(stdout), { square: 9, caller: worker.pid })
    assert.equal(code, 1)
    assert.match(stderr, /argument 2, "-3": RangeError: -3 is not positive\n {6}at whoSquares/)
    worker.kill('SIGTERM')
    assert.deepEqual(await once(worker, 'exit'), [0, null])
  })

  test('has every result once after kill -9 of the program and of an agent, with --resume', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    using folder = new WorkFolder()
    const inputs = Array.from({ length: 60 }, (_, index): unknown[] => [index])
    inputs[20] = [20, latches.address, 'program']
    inputs[40] = [40, latches.address, 'agent']
    const lines = inputs.map(input => `${JSON.stringify(input)}\n`)
    const args = ['-i', 'json', '--spread', '--to', 'out', '--joblog', 'log', '--resume', '--chunk-size', '1']
    const start = (): ReturnType<typeof startCommand> =>
      startCommand(mapOn(cluster, 'square', args), { env, cwd: folder.path })

    const agent = await cluster.agentProgram()
    const first = start()
    // It gets no more than that, and so nothing of it comes to the second latch.
    first.stdin.write(lines.slice(0, 21).join(''))
    await latches.arrival('program')
    first.kill('SIGKILL')
    await once(first, 'close')
    latches.release('program')
    assert.ok(folder.lines('out').length <= 20)

    const second = start()
    const ended = once(second, 'close')
    second.stdin.end(lines.join(''))
    await latches.arrival('program')
    latches.release('program')
    await latches.arrival('agent')
    agent.kill('SIGKILL')
    await once(agent, 'exit')
    // Whoever waited there is gone, and is to be told from the next one.
    latches.release('agent')
    await cluster.agentProgram()
    await latches.arrival('agent')
    latches.release('agent')
    assert.deepEqual(await ended, [0, null])
    assert.deepEqual(
      folder.lines('out'),
      inputs.map((_, index) => String(index ** 2)),
    )
  })

  test('ends by Ctrl-C with what was done, and takes its work back', async () => {
    await using cluster = await TestCluster.start()
    await using latches = await Latches.open()
    using folder = new WorkFolder()
    await cluster.agentProgram(1)
    const inputs = [[1], [2], [3, latches.address, 'third']].map(input => JSON.stringify(input))
    const args = ['-i', 'json', '--spread', '--to', 'out', '--chunk-size', '1', ...inputs]
    const map = startCommand(mapOn(cluster, 'square', args), { env, cwd: folder.path })
    const ended = once(map, 'close')
    const said = text(map.stderr)
    await latches.arrival('third')
    map.kill('SIGINT')
    assert.deepEqual(await ended, [130, null])
    const done = folder.lines('out')
    assert.deepEqual(done, ['1', '4'].slice(0, done.length))
    assert.match(await said, new RegExp(`^Interrupted: ${done.length} item`))
    const { stdout } = await runCommand(['cluster', 'jobs', '--cluster', cluster.url], { env })
    assert.match(stdout, /No program has work/)
  })
})

describe('the options of map --cluster', () => {
  const reference = fixture('elsewhere.mjs#square')
  const url = 'nats://127.0.0.1:4222'

  async function check(
    args: readonly string[],
    says: RegExp,
    options: CommandOptions = { env },
  ): Promise<void> {
    using folder = new WorkFolder()
    const all = ['map', reference, ...args, '--to', 'out', '--joblog', 'log', '1']
    const { code, stderr } = await runCommand(all, { ...options, cwd: folder.path })
    assert.equal(code, 2, stderr)
    assert.match(stderr, says)
    assert.match(stderr, /\nTo fix: /)
    assert.deepEqual(folder.names(), [])
  }

  test('map refuses options of workers of this machine with --cluster, before it touches a file', async () => {
    const cluster = ['--cluster', url, '--name', 'p']
    await check([...cluster, '--processes', '2'], /--processes is about workers of this machine/)
    await check([...cluster, '--thread'], /--thread is about workers of this machine/)
    await check([...cluster, '--context', 'spawn'], /--context is about workers of this machine/)
  })

  test('map refuses a cluster without a pool, without a key, or that is no URL of a server', async () => {
    await check(['--cluster', url], /--cluster needs the name of the pool/)
    await check(['--cluster', url, '--name', 'a b'], /must be 1 to 64 letters/)
    await check(['--cluster', 'http://a', '--name', 'p'], /must be a URL like nats:/)
    await check(['--cluster', url, '--name', 'p'], /needs a key/, { env: { MULTIPROC_AUTH_KEY: '' } })
  })

  test('map refuses options of clusters without --cluster, which a variable alone does not turn on', async () => {
    const options = { env: { ...env, MULTIPROC_CLUSTER: url } }
    await check(['--name', 'p'], /--name is for work that is done by a cluster/, options)
    await check(['--key-file', 'key'], /--key-file is for work that is done by a cluster/, options)
    const { code, stdout } = await runCommand(['map', reference, '-i', 'json', '3'], options)
    assert.deepEqual({ code, stdout }, { code: 0, stdout: '9\n' })
  })
})
