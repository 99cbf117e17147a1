import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { ProcessError } from 'multiproc'
import { sharedHeap } from '#src/platform/shared-heap.js'
import { newChildBoot, nextChildIdentity } from '#src/process/process-state.js'
import { popen, type ExitStatus, type Popen, type PopenOptions } from '#src/process/popen.js'
import { setExecutable, type StartMethod } from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks, childProcesses, eventually, isRunning, openDescriptors } from '../leak-check.js'

checkLeaks()

interface Started {
  child: Popen
  frames: string[]
  events: string[]
  exited: Promise<ExitStatus>
  say(order: string): void
  /** Waits for the next frame that was not waited for. */
  next(): Promise<string>
}

function start(method: StartMethod, options: Partial<PopenOptions> = {}): Started {
  const child = popen(method, {
    entry: new URL('../fixtures/obedient-main.js', import.meta.url),
    boot: newChildBoot({
      name: 'Obedient',
      identity: nextChildIdentity(),
      isDaemon: false,
      startMethod: method,
    }),
    ...options,
  })
  const frames: string[] = []
  const events: string[] = []
  let taken = 0
  child.connection.onMessage = bytes => {
    frames.push(Buffer.from(bytes).toString())
    events.push('message')
  }
  child.connection.onClose = () => events.push('close')
  const exited = new Promise<ExitStatus>(resolve => {
    child.onExit = status => {
      events.push('exit')
      resolve(status)
    }
  })
  return {
    child,
    frames,
    events,
    exited,
    say: order => child.connection.send(Buffer.from(order)),
    async next() {
      await eventually(() => frames.length > taken)
      return frames[taken++]!
    },
  }
}

forEachStartMethod(method => {
  test('a child learns who it is, and has the arguments of the program', async () => {
    const { child, say, next, exited } = start(method)
    say('boot')
    const boot = JSON.parse(await next())
    assert.equal(boot.name, 'Obedient')
    assert.equal(boot.startMethod, method)
    assert.equal(boot.parentPid, process.pid)
    assert.equal(boot.parentName, 'MainProcess')
    assert.equal(boot.identity.length, 1)
    assert.deepEqual(boot.argv, process.argv)
    child.connection.close()
    assert.deepEqual(await exited, { exitCode: 0, signal: null })
  })

  test('frames of 0 bytes, 64 KiB +- 1 and 50 MB come back as they went', async () => {
    const { child, exited } = start(method)
    const sizes = [0, 65_535, 65_536, 65_537, 50_000_000, 0, 1]
    const received: Uint8Array[] = []
    child.connection.onMessage = bytes => received.push(bytes)
    for (const [index, size] of sizes.entries()) child.connection.send(Buffer.alloc(size, index))
    await eventually(() => received.length === sizes.length)
    for (const [index, size] of sizes.entries()) {
      assert.equal(received[index]!.length, size)
      assert.ok(received[index]!.every(byte => byte === index))
    }
    child.connection.close()
    await exited
  })

  test('onExit comes once, after every frame that the child sent before it ended', async () => {
    const { say, frames, events, exited } = start(method)
    say('sendAndExit 20000')
    assert.deepEqual(await exited, { exitCode: 0, signal: null })
    assert.equal(frames.length, 20_000)
    assert.equal(frames.at(-1), 'last 19999')
    assert.deepEqual(events.slice(-3), ['message', 'close', 'exit'])
  })

  test('frames larger than the socket that are sent just before process.exit() all arrive', async () => {
    const { child, say, frames, exited } = start(method, { stdio: { stdout: 'pipe' } })
    say('sendMuchAndExit 40')
    child.stdout!.resume()
    assert.deepEqual(await exited, { exitCode: 0, signal: null })
    assert.deepEqual(
      frames.map(frame => frame.length),
      Array.from({ length: 40 }, (_, index) => 1 + index * 10_000),
    )
  })

  test('onExit is called although it is set after the end', async () => {
    const { child, say } = start(method)
    const closed = new Promise(resolve => (child.connection.onClose = resolve))
    child.onExit = undefined
    say('exit 3')
    await closed
    await eventually(() => child.exitStatus !== undefined)
    assert.equal((await new Promise<ExitStatus>(resolve => (child.onExit = resolve))).exitCode, 3)
  })

  test('piped output of megabytes is complete when the child calls process.exit()', async () => {
    const { child, say, exited } = start(method, { stdio: { stdout: 'pipe', stderr: 'pipe' } })
    let stdout = 0
    let stderr = 0
    child.stdout!.on('data', (chunk: Buffer) => (stdout += chunk.length))
    child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.length))
    say('printAndExit 3000000')
    await exited
    assert.deepEqual({ stdout, stderr }, { stdout: 3_000_000, stderr: 3_000_000 })
  })

  test('exit codes are those of the system: modulo 256, except on Windows', async () => {
    const { say, exited } = start(method)
    say('exit 259')
    const exitCode = process.platform === 'win32' && method === 'spawn' ? 259 : 3
    assert.deepEqual(await exited, { exitCode, signal: null })
  })

  test('an uncaught error ends the child with code 1', async () => {
    const { say, exited } = start(method, { stdio: { stderr: 'ignore' } })
    say('throw oh')
    const { exitCode, signal } = await exited
    assert.deepEqual({ exitCode, signal }, { exitCode: 1, signal: null })
  })

  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    test(`kill(${signal}) ends an idle child, and twice is fine`, async () => {
      const { child, say, next, exited } = start(method)
      say('hello')
      await next()
      child.kill(signal)
      child.kill(signal)
      assert.deepEqual(await exited, { exitCode: null, signal })
      child.kill(signal)
    })

    test(`kill(${signal}) ends a child that computes without end`, async () => {
      const { child, say, next, exited } = start(method)
      say('spin')
      assert.equal(await next(), 'spinning')
      child.kill(signal)
      assert.deepEqual(await exited, { exitCode: null, signal })
    })

    test(`kill(${signal}) ends a child that is just starting`, async () => {
      const { child, exited } = start(method)
      child.kill(signal)
      assert.deepEqual(await exited, { exitCode: null, signal })
    })
  }

  test('a child that dies while it is written to is no uncaught error', async () => {
    const { child, say, next, exited } = start(method)
    say('hello')
    await next()
    say('exit 0')
    const writer = setInterval(() => {
      try {
        child.connection.send(Buffer.alloc(100_000))
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, 'ERR_CLOSED')
      }
    }, 0)
    assert.deepEqual(await exited, { exitCode: 0, signal: null })
    clearInterval(writer)
  })

  test('a child that does not read builds up bufferedBytes here, and onDrain comes when it has read', async () => {
    const { child, say, next, frames, exited } = start(method)
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
    let drained = false
    child.connection.onDrain = () => (drained = true)
    const size = 1_000_000
    say(`doNotReadUntilExists ${folder}/go`)
    assert.equal(await next(), 'not reading')
    for (let index = 0; index < 20; index++) child.connection.send(Buffer.alloc(size))
    assert.ok(child.connection.bufferedBytes > 19 * size)
    assert.equal(drained, false)
    writeFileSync(`${folder}/go`, '')
    await eventually(() => drained)
    assert.equal(child.connection.bufferedBytes, 0)
    await eventually(() => frames.length === 21)
    child.kill()
    await exited
    rmSync(folder, { recursive: true })
  })

  test('the child gets the environment that it is given, and no more', async () => {
    process.env['MULTIPROC_TEST'] = 'from the parent'
    const inheriting = start(method)
    const given = start(method, { env: { PATH: process.env['PATH'], OTHER: 'given' } })
    delete process.env['MULTIPROC_TEST']
    for (const [child, name, value] of [
      [inheriting, 'MULTIPROC_TEST', 'from the parent'],
      [inheriting, 'NODE_TEST_CONTEXT', '(none)'],
      [given, 'OTHER', 'given'],
      [given, 'MULTIPROC_TEST', '(none)'],
    ] as const) {
      child.say(`env ${name}`)
      assert.equal(await child.next(), value)
    }
    for (const { child, exited } of [inheriting, given]) {
      child.kill()
      await exited
    }
  })

  test('popen() throws when the entry file does not exist, and says what a bundler must do', () => {
    assert.throws(() => start(method, { entry: new URL('./missing-main.js', import.meta.url) }), {
      code: 'ERR_START_FAILED',
      message: /bundled[\s\S]*external/,
    })
  })

  test('a child that runs out of memory is reported, and nothing else is lost', async () => {
    const { say, exited } = start(method, {
      resourceLimits: { maxOldGenerationSizeMb: 20, maxYoungGenerationSizeMb: 4 },
      stdio: { stderr: 'ignore', stdout: 'ignore' },
    })
    say('allocate')
    const status = await exited
    if (method === 'thread') {
      assert.equal((status.error as NodeJS.ErrnoException).code, 'ERR_WORKER_OUT_OF_MEMORY')
    } else {
      assert.equal(status.signal, 'SIGABRT')
    }
  })

  test('50 children start at once and all answer', async () => {
    const children = Array.from({ length: 50 }, () => start(method))
    for (const { say } of children) say('hello')
    for (const { next } of children) assert.equal(await next(), 'hello')
    for (const { child } of children) child.connection.close()
    const statuses = await Promise.all(children.map(({ exited }) => exited))
    assert.ok(statuses.every(({ exitCode }) => exitCode === 0))
  })

  test('200 starts leave no descriptor behind', async () => {
    // The first child opens what the process keeps (epoll, the watch on child processes).
    const first = start(method)
    first.child.kill()
    await first.exited
    const before = openDescriptors().length
    for (let round = 0; round < 20; round++) {
      const children = Array.from({ length: 10 }, () => start(method))
      for (const { child } of children) child.kill('SIGKILL')
      await Promise.all(children.map(({ exited }) => exited))
    }
    await eventually(() => openDescriptors().length <= before)
  })

  test('a child that is not referenced lets the event loop end, and kill() still reaches it', async () => {
    const { child, say, next, exited } = start(method)
    child.unref()
    child.ref()
    say('hello')
    assert.equal(await next(), 'hello')
    child.unref()
    child.kill()
    child.ref()
    await exited
  })
})

test('a thread that is killed at any moment of its start is reported as killed, and leaves no file open', async () => {
  const { child: first, exited: firstExited } = start('thread')
  first.kill()
  await firstExited
  const before = openDescriptors().length
  for (let delayMs = 0; delayMs < 40; delayMs++) {
    const { child, exited } = start('thread')
    // Sleep: the moments of a thread's start are what varies here, and it tells of none before it is ready.
    await new Promise(resolve => setTimeout(resolve, delayMs))
    child.kill()
    assert.deepEqual(await exited, { exitCode: null, signal: 'SIGTERM' })
  }
  await eventually(() => openDescriptors().length <= before)
})

test('a thread that is killed when it has already ended with code 1 has ended with code 1', async () => {
  const { child, say, exited } = start('thread')
  const closed = new Promise<void>(resolve => (child.connection.onClose = () => resolve()))
  say('exit 1')
  await closed
  child.kill()
  assert.deepEqual(await exited, { exitCode: 1, signal: null })
})

test('threads share the memory that they are given at the start', async () => {
  const memory = new SharedArrayBuffer(4)
  const { child, say, exited } = start('thread', { sharedBuffers: [memory] })
  say('store 42')
  await eventually(() => Atomics.load(new Int32Array(memory), 0) === 42)
  child.connection.close()
  await exited
})

test('threads refuse what belongs to a process', () => {
  assert.throws(() => start('thread', { cwd: '/' }), { code: 'ERR_INVALID_ARGUMENT' })
  assert.throws(() => start('thread', { extraFds: [1] }), { code: 'ERR_INVALID_ARGUMENT' })
  assert.throws(() => start('thread', { stdio: { stdin: 'inherit' } }), { code: 'ERR_INVALID_ARGUMENT' })
})

test('a process starts in the directory that it is given', async () => {
  const { child, say, next, exited } = start('spawn', { cwd: '/' })
  say('cwd')
  assert.equal(await next(), '/')
  child.connection.close()
  await exited
})

test('a process that closes its channel and goes on is killed, and the status says why', async () => {
  const { say, exited } = start('spawn')
  say('closeChannel')
  const { signal, error } = await exited
  assert.equal(signal, 'SIGKILL')
  assert.equal((error as NodeJS.ErrnoException).code, 'ERR_PROTOCOL')
})

test('a process that writes garbage to its channel ends, and the status says why', async () => {
  const { say, exited, frames } = start('spawn')
  say('garbage')
  const { exitCode, signal, error } = await exited
  assert.equal((error as NodeJS.ErrnoException).code, 'ERR_PROTOCOL')
  // It is killed, unless it notices first that its channel was closed, and exits.
  assert.ok(signal === 'SIGKILL' || exitCode === 0)
  assert.deepEqual(frames, [])
})

test('a process that announces 2 GB and dies costs neither memory nor time', async () => {
  const { say, exited, frames } = start('spawn')
  const before = process.memoryUsage().arrayBuffers
  say('lie')
  const { error, ...end } = await exited
  assert.deepEqual(end, { exitCode: null, signal: 'SIGKILL' })
  // Where frames travel through shared memory, a header on the socket is known at once for what it is.
  assert.equal((error as ProcessError | undefined)?.code, sharedHeap().isNative ? 'ERR_PROTOCOL' : undefined)
  assert.deepEqual(frames, [])
  assert.ok(process.memoryUsage().arrayBuffers - before < 64 * 1024 * 1024)
})

test('onExit comes in bounded time although a grandchild holds the channel open', async () => {
  // A shell between us and Node keeps descriptor 3; its background job survives it.
  const folder = mkdtempSync(join(tmpdir(), 'multiproc-'))
  const script = join(folder, 'node-with-a-friend')
  writeFileSync(script, `#!/bin/sh\nsleep 600 &\necho $! > ${folder}/pid\nexec ${process.execPath} "$@"\n`, {
    mode: 0o755,
  })
  setExecutable(script)
  const { say, exited } = start('spawn')
  setExecutable(process.execPath)
  say('exit 5')
  assert.deepEqual(await exited, { exitCode: 5, signal: null })
  const pid = Number(readFileSync(`${folder}/pid`, 'utf8'))
  assert.ok(isRunning(pid))
  process.kill(pid, 'SIGKILL')
  await eventually(() => !isRunning(pid))
  rmSync(folder, { recursive: true })
})

test('an executable that does not exist is reported at once and through onExit', async () => {
  setExecutable('/does/not/exist')
  const { child, exited } = start('spawn')
  setExecutable(process.execPath)
  assert.equal((child.exitStatus!.error as NodeJS.ErrnoException).code, 'ERR_START_FAILED')
  assert.match((await exited).error!.message, /no such executable/)
  assert.equal(childProcesses().length, 0)
})
