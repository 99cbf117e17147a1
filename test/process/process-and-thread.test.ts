/** What only processes have (signals, descriptors, an environment), and what only threads have. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { activeChildren, Process, setExecutable, WorkerDiedError } from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks, eventually } from '../leak-check.js'

checkLeaks()

/** A target that lives until it is stopped. */
function forever(): Promise<void> {
  return new Promise(() => setInterval(() => {}, 1e6))
}

const quiet = { stderr: 'ignore' } as const

describe('spawn', () => {
  test('C011 interrupt() reaches the handler of a child', async () => {
    const child = new Process({
      context: 'spawn',
      target: () => {
        process.on('SIGINT', () => process.exit(1))
        setInterval(() => {}, 1e6)
        process.stdout.write('ready')
      },
      stdio: { stdout: 'pipe' },
    })
    child.start()
    child.stdout!.once('data', () => child.interrupt())
    assert.equal(await child.join(), 1)
  })

  test('C012 interrupt() ends a child that has no handler with -SIGINT', async () => {
    const child = new Process({ context: 'spawn', target: forever })
    child.start()
    child.interrupt()
    assert.equal(await child.join(), -2)
    assert.equal(child.signal, 'SIGINT')
  })

  test('C022 the descriptors of a child do not grow with the number of running children', async () => {
    const countDescriptors = async (): Promise<number> => {
      const { readdirSync } = await import('node:fs')
      return readdirSync('/proc/self/fd').length
    }
    const counts: number[] = []
    const others: Process[] = []
    for (let index = 0; index < 3; index++) {
      const counting = new Process({ context: 'spawn', target: countDescriptors })
      counting.start()
      counts.push(await counting.result())
      await counting.join()
      for (let more = 0; more < 3; more++) {
        const other = new Process({ context: 'spawn', target: forever })
        other.start()
        others.push(other)
      }
    }
    assert.deepEqual(counts, [counts[0], counts[0], counts[0]])
    for (const other of others) {
      other.kill()
      await other.join()
    }
  })

  test('an environment, when given, is the whole environment of the child', async () => {
    const child = new Process({
      context: 'spawn',
      target: () => ({ ...process.env }),
      env: { PATH: process.env['PATH'], A: 'b' },
    })
    child.start()
    const { A, HOME } = await child.result()
    assert.deepEqual([A, HOME], ['b', undefined])
    await child.join()
  })

  test('start() throws ERR_START_FAILED at the call when there is no such executable', () => {
    setExecutable('/does/not/exist')
    const child = new Process({ context: 'spawn', target: forever })
    assert.throws(() => child.start(), { code: 'ERR_START_FAILED' })
    setExecutable(process.execPath)
    assert.deepEqual(activeChildren(), [])
    assert.equal(child.isAlive(), false)
  })
})

describe('thread', () => {
  test('interrupt() is refused: a thread has no signals of its own', async () => {
    const child = new Process({ context: 'thread', target: forever })
    child.start()
    assert.throws(() => child.interrupt(), { code: 'ERR_INVALID_STATE' })
    child.terminate()
    await child.join()
  })

  test('process.exit() in a thread ends the thread alone', async () => {
    const child = new Process({ context: 'thread', target: () => process.exit(9) })
    child.start()
    assert.equal(await child.join(), 9)
  })

  test('a thread has the pid of its process and a number of its own', async () => {
    const child = new Process({
      context: 'thread',
      target: async () => [process.pid, (await import('node:worker_threads')).threadId],
    })
    child.start()
    assert.deepEqual(await child.result(), [child.pid, child.threadId])
    assert.equal(child.pid, process.pid)
    await child.join()
  })

  test('a thread that runs out of memory leaves WorkerDiedError with the cause', async () => {
    const child = new Process({
      context: 'thread',
      target: () => {
        const kept: unknown[] = []
        for (;;) kept.push(Array.from({ length: 100_000 }, () => ({})))
      },
      resourceLimits: { maxOldGenerationSizeMb: 20 },
      stdio: quiet,
    })
    child.start()
    const error = await child.result().catch((reason: unknown) => reason)
    assert.ok(error instanceof WorkerDiedError)
    assert.match(error.message, /ran out of memory/)
    assert.equal((error.cause as NodeJS.ErrnoException).code, 'ERR_WORKER_OUT_OF_MEMORY')
    assert.equal(await child.join(), 1)
  })
})

forEachStartMethod(context => {
  test('C021 the parent lets go of target and arguments after start()', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void

    let held: { big: string } | undefined = { big: 'value' }
    const reference = new WeakRef(held)
    const child = new Process({ context, target: (_value: { big: string }) => {}, args: [held] })
    child.start()
    held = undefined
    await eventually(() => {
      collect()
      return reference.deref() === undefined
    })
    await child.join()
  })
})
