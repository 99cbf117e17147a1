/** Process, on every start method. Ids such as C009 are those of the cases of Python's own test suite. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import {
  activeChildren,
  currentProcess,
  getContext,
  parentProcess,
  Process,
  Queue,
  setExecutable,
  wait,
} from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

/** A target that lives until it is stopped. */
function forever(): Promise<void> {
  return new Promise(() => setInterval(() => {}, 1e6))
}

const quiet = { stderr: 'ignore' } as const

describe('in the main process', () => {
  test('C003 currentProcess() is alive, no daemon, has a key and the pid of the system', () => {
    const current = currentProcess()
    assert.equal(current.isAlive(), true)
    assert.equal(current.daemon, false)
    assert.ok(current.authKey instanceof Uint8Array)
    assert.equal(current.authKey.length, 32)
    assert.equal(current.pid, process.pid)
    assert.equal(current.ident, process.pid)
    assert.equal(current.exitCode, null)
    assert.equal(current.name, 'MainProcess')
    assert.equal(current, currentProcess())
    assert.equal(inspect(current), `<Process name='MainProcess' pid=${process.pid} started>`)
    assert.equal(String(current), inspect(current))
  })

  test('C003 the current process cannot be started, joined, killed or closed', async () => {
    const current = currentProcess()
    assert.throws(() => current.start(), { code: 'ERR_INVALID_STATE' })
    await assert.rejects(current.join(), { code: 'ERR_INVALID_STATE' })
    assert.throws(() => current.terminate(), { code: 'ERR_INVALID_STATE' })
    assert.throws(() => current.close(), { code: 'ERR_INVALID_STATE' })
  })

  test('C007 parentProcess() is null', () => {
    assert.equal(parentProcess(), null)
  })

  test('new Process() throws TypeError for options of a wrong type', () => {
    for (const options of [{ target: 5 }, { args: 'abc' }, { name: 5 }, { daemon: 'yes' }]) {
      assert.throws(() => new Process(options as never), { name: 'TypeError', code: 'ERR_INVALID_ARGUMENT' })
    }
  })
})

forEachStartMethod(context => {
  const make = <Args extends readonly unknown[], Result>(
    target: (...args: Args) => Result,
    ...args: Args
  ): Process<Args, Result> => {
    const options = { target, args, context, stdio: quiet }
    return new Process<Args, Result>(options)
  }

  test('C004 setExecutable() takes a string, bytes and a file URL, and children start', async () => {
    const url = new URL(`file://${process.execPath}`)
    for (const path of [process.execPath, Buffer.from(process.execPath), url]) {
      setExecutable(path)
      const child = make(() => process.execPath)
      child.start()
      assert.equal(await child.result(), process.execPath)
      assert.equal(await child.join(), 0)
    }
    for (const path of ['', 5, null]) {
      assert.throws(() => setExecutable(path as never), { code: 'ERR_INVALID_ARGUMENT' })
    }
  })

  test('test_args_argument: the arguments arrive as they are', async () => {
    for (const argument of [1, 'str', [1], undefined]) {
      const args: [unknown] = [argument]
      const child = new Process({ target: (given: unknown) => [given], args, context })
      child.start()
      args[0] = 'too late'
      assert.deepEqual(await child.result(), [argument])
      await child.join()
    }
  })

  test('test_sentinel, test_close: what a process answers before its start, while it runs, after its end and after close()', async () => {
    using go = new Queue()
    const child = make(async (queue: Queue) => void (await queue.get()), go)
    assert.throws(() => child.sentinel, { code: 'ERR_INVALID_STATE' })
    assert.deepEqual([child.ident, child.exitCode, child.isAlive()], [undefined, null, false])
    child.start()
    const { sentinel } = child
    assert.deepEqual(await wait([sentinel], { timeout: 0 }), [])
    assert.equal(child.ident, child.pid)
    assert.throws(() => child.close(), { code: 'ERR_INVALID_STATE' })
    await go.put(null)
    assert.equal(await child.join(), 0)
    assert.deepEqual(await wait([sentinel], { timeout: 1000 }), [sentinel])
    // What has ended can be told to end.
    child.terminate()
    assert.equal(child.exitCode, 0)
    child.close()
    const closed = { code: 'ERR_CLOSED' }
    assert.throws(() => child.isAlive(), closed)
    await assert.rejects(child.join(), closed)
    assert.throws(() => child.terminate(), closed)
    assert.throws(() => child.ident, closed)
    child.close()
    assert.match(String(child), /^<Process name='Process-[\d:]+' parent=\d+ closed>$/)
  })

  test('test_many_processes: children that start and end at once', async () => {
    const ended = Array.from({ length: 4 }, () => make(() => {}))
    for (const child of ended) child.start()
    const codes = await Promise.all(ended.map(child => child.join()))
    assert.deepEqual(codes, [0, 0, 0, 0])
    const stopped = Array.from({ length: 4 }, () => make(forever))
    for (const child of stopped) child.start()
    for (const child of stopped) child.terminate()
    for (const child of stopped) assert.equal(await child.join(), -15)
  })

  test('test_error_on_stdio_flush_2: a child whose own streams are broken works and exits with 0', async () => {
    for (const name of ['stdout', 'stderr'] as const) {
      for (const how of ['destroyed', 'missing', 'throwing']) {
        const child = make(
          (stream: 'stdout' | 'stderr', state: string) => {
            if (state === 'destroyed') process[stream].destroy()
            else if (state === 'missing') Object.defineProperty(process, stream, { value: undefined })
            else
              process[stream].write = () => {
                throw new Error('This stream is broken')
              }
            return 'worked'
          },
          name,
          how,
        )
        child.start()
        assert.equal(await child.result(), 'worked')
        assert.equal(await child.join(), 0)
      }
    }
  })

  test('C006 daemon is that of the current process by default and can be given', () => {
    assert.equal(new Process({ context }).daemon, false)
    assert.equal(new Process({ context, daemon: true }).daemon, true)
    assert.equal(new Process({ context, daemon: false }).daemon, false)
    const child = new Process({ context })
    child.daemon = true
    assert.equal(child.daemon, true)
  })

  test('C006 the children of a daemon are daemons, unless told otherwise', async () => {
    const child = make(async () => {
      const { Process, currentProcess } = await import('multiproc')
      return [currentProcess().daemon, new Process().daemon, new Process({ daemon: false }).daemon]
    })
    child.daemon = true
    child.start()
    assert.deepEqual(await child.result(), [true, true, false])
    await child.join()
  })

  test('C007 parentProcess() in a child has the pid and the name of its parent', async () => {
    const child = make(async () => {
      const { parentProcess } = await import('multiproc')
      const parent = parentProcess()!
      return [parent.pid, parent.name, parent.isAlive(), await parent.join({ timeout: 1 })]
    })
    child.start()
    assert.deepEqual(await child.result(), [process.pid, 'MainProcess', true, false])
    await child.join()
  })

  test('C009 the whole life of a process: what the child sees, and what the parent sees at each step', async () => {
    const key = new Uint8Array(32).fill(7)
    const child = make(
      async (...args: unknown[]) => {
        const { currentProcess } = await import('multiproc')
        const current = currentProcess()
        return { args, name: current.name, key: [...current.authKey], pid: current.pid, osPid: process.pid }
      },
      1,
      'two',
      { hello: 23, bye: 2.54 },
    )
    child.name = 'TestProcess'
    child.daemon = true
    child.authKey = key
    assert.equal(child.isAlive(), false)
    assert.equal(child.daemon, true)
    assert.equal(child.exitCode, null)
    assert.equal(child.pid, undefined)
    assert.ok(!activeChildren().includes(child))
    assert.throws(() => child.sentinel, { code: 'ERR_INVALID_STATE' })
    child.start()
    assert.equal(child.exitCode, null)
    assert.equal(child.isAlive(), true)
    assert.ok(activeChildren().includes(child))
    assert.deepEqual(await child.result(), {
      args: [1, 'two', { hello: 23, bye: 2.54 }],
      name: 'TestProcess',
      key: [...key],
      pid: child.pid,
      osPid: child.pid,
    })
    assert.equal(await child.join(), 0)
    assert.equal(child.exitCode, 0)
    assert.equal(child.signal, null)
    assert.equal(child.isAlive(), false)
    assert.ok(!activeChildren().includes(child))
    await child.sentinel
  })

  test('the default name tells the class and the place among the ancestors', async () => {
    const child = make(async () => {
      const { Process, currentProcess } = await import('multiproc')
      return [currentProcess().name, new Process().name, new Process().name]
    })
    child.start()
    const number = /^Process-(\d+)$/.exec(child.name)![1]
    assert.deepEqual(await child.result(), [
      `Process-${number}`,
      `Process-${number}:1`,
      `Process-${number}:2`,
    ])
    await child.join()
    assert.match(new (getContext('thread').Process)().name, /^ThreadProcess-\d+$/)
  })

  test('C016 activeChildren() has a child from start() to its end', async () => {
    const child = make(() => {})
    assert.deepEqual(activeChildren(), [])
    child.start()
    assert.deepEqual(activeChildren(), [child])
    await child.join()
    assert.deepEqual(activeChildren(), [])
  })

  test('C017 children start children: a tree of depth 2 reports in depth-first order', async () => {
    async function tree(id: number[]): Promise<number[][]> {
      const found = [id]
      for (const branch of id.length < 2 ? [0, 1] : []) {
        const child = new Process({ target: tree, args: [[...id, branch]] })
        child.start()
        found.push(...(await child.result()))
        await child.join()
      }
      return found
    }
    const child = make(tree, [])
    child.start()
    assert.deepEqual(await child.result(), [[], [0], [0, 0], [0, 1], [1], [1, 0], [1, 1]])
    await child.join()
  })

  test('C023 a child lives until its timers and threads have ended', async () => {
    const child = make(async () => {
      const { Worker } = await import('node:worker_threads')
      new Worker('setTimeout(() => process.exit(), 20)', { eval: true }).on('exit', () => {
        setTimeout(() => {
          process.exitCode = 42
        }, 10)
      })
      return 'returned'
    })
    child.start()
    assert.equal(await child.result(), 'returned')
    assert.equal(await child.join(), 42)
  })

  test('C031 the error of a failed child is complete on its standard error, under its name', async () => {
    const child = new Process({
      context,
      name: 'Failing',
      target: () => {
        throw new RangeError(`out of range ${'x'.repeat(100_000)} end of message`)
      },
      stdio: { stderr: 'pipe' },
    })
    child.start()
    let text = ''
    child.stderr!.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    assert.equal(await child.join(), 1)
    assert.match(text, /^Process Failing:\nRangeError: out of range x{100000} end of message\n {4}at /)
  })

  test('C031 an error that nobody caught is complete on standard error, and is the result', async () => {
    const child = new Process({
      context,
      name: 'Failing',
      target: () => {
        setImmediate(() => {
          throw new RangeError('later')
        })
        return new Promise(() => setInterval(() => {}, 1e6))
      },
      stdio: { stderr: 'pipe' },
    })
    child.start()
    let text = ''
    child.stderr!.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    await assert.rejects(child.result(), { name: 'RangeError', message: 'later' })
    assert.equal(await child.join(), 1)
    assert.match(text, /^Process Failing:\n[\s\S]*RangeError: later\n {4}at /)
  })

  test('C032 exit codes: what process.exit() and process.exitCode say, modulo 256', async () => {
    const codes: [() => void, number][] = [
      [() => process.exit(), 0],
      [() => process.exit(0), 0],
      [() => process.exit(7), 7],
      [() => process.exit(256 + 9), 9],
      [() => void (process.exitCode = 5), 5],
      [() => {}, 0],
      // Node takes no other values; Python prints them and exits with 1.
      [() => process.exit('no number'), 1],
    ]
    for (const [target, code] of codes) {
      const child = make(target)
      child.start()
      assert.equal(await child.join(), code)
      assert.equal(child.exitCode, code)
    }
  })

  test('result() rejects with what the target threw, with the stack of the child in its cause', async () => {
    const child = make(() => {
      throw Object.assign(new TypeError('wrong'), { code: 'E_WRONG' })
    })
    child.start()
    const error: Error & { code?: string } = await child.result().then(
      () => assert.fail('it resolved'),
      (reason: Error) => reason,
    )
    assert.ok(error instanceof TypeError)
    assert.equal(error.message, 'wrong')
    assert.equal(error.code, 'E_WRONG')
    assert.equal((error.cause as Error).name, 'RemoteError')
    assert.equal(await child.join(), 1)
  })

  test('result() rejects with a thrown value that is no error', async () => {
    const child = make(() => {
      // oxlint-disable-next-line no-throw-literal, only-throw-error -- That is what is tested.
      throw 'text'
    })
    child.start()
    await assert.rejects(child.result(), (thrown: unknown) => thrown === 'text')
    await child.join()
  })

  test('result() rejects with WorkerDiedError when the child ends without a result', async () => {
    for (const [target, exitCode, signal] of [
      [() => process.exit(3), 3, null],
      [() => process.exit(0), 0, null],
    ] as const) {
      const child = make(target)
      child.start()
      await assert.rejects(child.result(), { name: 'WorkerDiedError', exitCode, signal, pid: child.pid })
      await child.join()
    }
    const killed = make(forever)
    killed.start()
    killed.kill()
    await assert.rejects(killed.result(), { name: 'WorkerDiedError', exitCode: null, signal: 'SIGKILL' })
    assert.equal(await killed.join(), -9)
    assert.equal(killed.signal, 'SIGKILL')
    assert.match(inspect(killed), / stopped exitcode=-SIGKILL>$/)
  })

  test('result() rejects when the result cannot be sent; the child has done its work and exits with 0', async () => {
    const child = make(() => ({ waiting: Promise.resolve() }))
    child.start()
    await assert.rejects(child.result(), { code: 'ERR_RESULT_NOT_SERIALIZABLE' })
    assert.equal(await child.join(), 0)
  })

  test('result() gives the same to all who ask, also after the end', async () => {
    const child = make(() => ({ deep: [1, 2, 3] }))
    child.start()
    const first = child.result()
    await child.join()
    assert.equal(await first, await child.result())
  })

  test('nobody has to ask for the result of a child that fails', async () => {
    const child = make(() => {
      throw new Error('unheard')
    })
    child.start()
    assert.equal(await child.join(), 1)
  })

  test('a target that waits for what cannot happen ends with code 13 and says so', async () => {
    const child = make(() => new Promise(() => {}))
    child.start()
    await assert.rejects(child.result(), /never settles/)
    assert.equal(await child.join(), 13)
  })

  test('start() throws SerializeError at the call and starts nothing', () => {
    const child = make((value: unknown) => value, Promise.resolve())
    assert.throws(() => child.start(), { name: 'SerializeError' })
    assert.equal(child.pid, undefined)
    assert.deepEqual(activeChildren(), [])
  })

  test('start() throws when it is called twice, also after the end', async () => {
    const child = make(() => {})
    child.start()
    assert.throws(() => child.start(), { code: 'ERR_INVALID_STATE' })
    await child.join()
    assert.throws(() => child.start(), { code: 'ERR_INVALID_STATE' })
    assert.throws(
      () => {
        child.daemon = true
      },
      { code: 'ERR_INVALID_STATE' },
    )
  })

  test('what needs a started process says so', async () => {
    const child = make(() => {})
    await assert.rejects(child.join(), { code: 'ERR_INVALID_STATE' })
    await assert.rejects(child.result(), { code: 'ERR_INVALID_STATE' })
    assert.throws(() => child.terminate(), { code: 'ERR_INVALID_STATE' })
    assert.throws(() => child.kill(), { code: 'ERR_INVALID_STATE' })
    assert.equal(child.exitCode, null)
  })

  test('join() and result() take a timeout and an AbortSignal, and the process goes on', async () => {
    const child = make(forever)
    child.start()
    assert.equal(await child.join({ timeout: 0 }), null)
    assert.equal(await child.join({ timeout: 5 }), null)
    await assert.rejects(child.result({ timeout: 5 }), { name: 'TimeoutError', code: 'ERR_TIMEOUT' })
    const why = new Error('enough')
    await assert.rejects(child.join({ signal: AbortSignal.abort(why) }), error => error === why)
    const controller = new AbortController()
    const waiting = assert.rejects(child.result({ signal: controller.signal }), error => error === why)
    controller.abort(why)
    await waiting
    for (const timeout of [NaN, '5']) {
      await assert.rejects(child.join({ timeout: timeout as number }), { code: 'ERR_INVALID_ARGUMENT' })
    }
    assert.equal(child.isAlive(), true)
    child.terminate()
    assert.equal(await child.join(), -15)
    assert.equal(await child.join({ timeout: 0 }), -15)
  })

  test('terminate() and kill() end a child that computes without end, and do nothing afterwards', async () => {
    for (const [stop, exitCode] of [
      ['terminate', -15],
      ['kill', -9],
    ] as const) {
      const child = make(() => {
        for (;;);
      })
      child.start()
      child[stop]()
      assert.equal(await child.join(), exitCode)
      child[stop]()
    }
  })

  test('close() throws while the child runs; afterwards every use throws, and twice is fine', async () => {
    const child = make(forever)
    child.start()
    assert.throws(() => child.close(), { code: 'ERR_INVALID_STATE' })
    child.kill()
    await child.join()
    child.close()
    child.close()
    assert.throws(() => child.isAlive(), { code: 'ERR_CLOSED' })
    assert.throws(() => child.pid, { code: 'ERR_CLOSED' })
    assert.throws(() => child.exitCode, { code: 'ERR_CLOSED' })
    assert.throws(() => child.terminate(), { code: 'ERR_CLOSED' })
    assert.throws(() => child.start(), { code: 'ERR_CLOSED' })
    await assert.rejects(child.join(), { code: 'ERR_CLOSED' })
    assert.match(inspect(child), /closed/)
  })

  test('a Process is joined when it is disposed of', async () => {
    const child = make(() => {})
    child.start()
    await child[Symbol.asyncDispose]()
    assert.equal(child.exitCode, 0)
    await make(() => {})[Symbol.asyncDispose]()
  })

  test('inspect() shows the state as Python does', async () => {
    const child = make(forever)
    child.name = 'Shown'
    child.daemon = true
    assert.equal(inspect(child), `<Process name='Shown' parent=${process.pid} initial daemon>`)
    child.start()
    const thread = context === 'thread' ? ` thread=${child.threadId}` : ''
    const facts = `name='Shown' pid=${child.pid}${thread} parent=${process.pid}`
    assert.equal(inspect(child), `<Process ${facts} started daemon>`)
    child.terminate()
    await child.join()
    assert.equal(inspect(child), `<Process ${facts} stopped exitcode=-SIGTERM daemon>`)
  })

  test('a child has an empty standard input', async () => {
    const child = make(async () => {
      let text = ''
      for await (const chunk of process.stdin) text += String(chunk)
      return text
    })
    child.start()
    assert.equal(await child.result(), '')
    await child.join()
  })

  test('piped standard streams go both ways, and output is complete after join()', async () => {
    const child = new Process({
      context,
      target: async () => {
        for await (const chunk of process.stdin) process.stdout.write(String(chunk).toUpperCase())
        process.stdout.write('.'.repeat(1_000_000))
      },
      stdio: { stdin: 'pipe', stdout: 'pipe' },
    })
    child.start()
    let text = ''
    child.stdout!.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    child.stdin!.end('hello')
    assert.equal(await child.join(), 0)
    assert.equal(text, `HELLO${'.'.repeat(1_000_000)}`)
  })
})

// C008, C024 and what happens at the exit of the parent need main programs of their own: see programs.test.ts.
// C026, C028 and C029 wait for the forkserver, C211 and C212 for locks and queues.
