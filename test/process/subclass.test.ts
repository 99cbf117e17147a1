/** Subclasses of Process, and targets that capture: what the child gets is a copy, and the copy is whole. */
import assert from 'node:assert/strict'
import { basename } from 'node:path'
import { test } from 'node:test'
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { currentProcess, getContext, Pipe, type PipeConnection, Process } from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { Greeter } from '../fixtures/greeter.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

/** A class of the main module: it goes to the child by value. */
class Summing extends Process<[], number> {
  readonly numbers: number[]

  constructor(numbers: number[], context: 'spawn' | 'thread') {
    super({ context })
    this.numbers = numbers
  }

  override async run(): Promise<number> {
    await Promise.resolve()
    return this.sum()
  }

  sum(): number {
    return this.numbers.reduce((total, number) => total + number, 0)
  }
}

/** Talks to its child over the pipe that it makes for it, as CPython's _UpperCaser. */
class UpperCaser extends Process<[], void> {
  readonly here: PipeConnection<string, string | null>
  readonly there: PipeConnection<string | null, string>

  constructor(context: 'spawn' | 'thread') {
    super({ context })
    const [here, there] = Pipe<string | null>()
    this.here = here as PipeConnection<string, string | null>
    this.there = there
  }

  override async run(): Promise<void> {
    this.here.close()
    for await (const text of this.there) {
      if (text === null) break
      await this.there.send(text.toUpperCase())
    }
    this.there.close()
  }

  async submit(text: string): Promise<string> {
    await this.here.send(text)
    return await this.here.recv()
  }

  async stop(): Promise<void> {
    await this.here.send(null)
    this.here.close()
    this.there.close()
  }
}

forEachStartMethod(context => {
  test('test_subclassing: an instance talks to its child over a pipe of its own', async () => {
    const child = new UpperCaser(context)
    child.daemon = true
    child.start()
    assert.equal(await child.submit('hello'), 'HELLO')
    assert.equal(await child.submit('world'), 'WORLD')
    await child.stop()
    assert.equal(await child.join(), 0)
  })

  test('C030 run() of a subclass runs in the child, with the fields of the instance', async () => {
    const child = new Summing([1, 2, 3], context)
    assert.match(child.name, /^Summing-\d+$/)
    child.start()
    assert.equal(await child.result(), 6)
    assert.equal(await child.join(), 0)
  })

  test('a subclass of another module is found there; in the child the instance is the current process', async () => {
    class Bound extends Greeter {}
    for (const make of [() => new Greeter('hello'), () => new Bound('hello')]) {
      const child = make()
      child.name = 'Greeting'
      child.start()
      assert.equal(await child.result(), 'hello from Greeting, current, 1')
      assert.equal(child.seen.size, 0, 'the instance here is another')
      await child.join()
    }
  })

  test('a subclass of the Process of a context runs by its start method', async () => {
    class Mine extends getContext(context).Process<[], boolean> {
      override run(): boolean {
        return currentProcess().threadId !== undefined
      }
    }
    const child = new Mine()
    child.start()
    assert.equal(await child.result(), context === 'thread')
    await child.join()
  })

  test('a target has copies of what it captured at start()', async () => {
    const counter = { value: 1 }
    const child = new Process({ context, target: () => `${basename('/a/b')} ${++counter.value}` })
    counter.value = 10
    child.start()
    counter.value = 20
    assert.equal(await child.result(), 'b 11')
    assert.equal(counter.value, 20)
    await child.join()
  })

  test('what a target captures and cannot be sent fails at start(), by its name', () => {
    const pending = Promise.resolve()
    const child = new Process({ context, target: () => pending })
    assert.throws(() => child.start(), { name: 'SerializeError', message: /pending/ })
    assert.equal(child.pid, undefined)
  })

  test('a Process that was sent to a child is a copy that says so when it is used', async () => {
    const other = new Process({ context })
    const child = new Process({
      context,
      target: (copy: Process) => {
        try {
          copy.start()
          return 'started'
        } catch (error) {
          return (error as Error).message
        }
      },
      args: [other],
    })
    child.start()
    assert.match(await child.result(), /it is a copy that was sent from another process/)
    await child.join()
  })
})

test('shared memory in the arguments of a thread is shared, both ways', async () => {
  const memory = new SharedArrayBuffer(8)
  const child = new Process({
    context: 'thread',
    target: (shared: SharedArrayBuffer) => {
      Atomics.add(new Int32Array(shared), 0, 42)
      return { back: shared }
    },
    args: [memory],
  })
  child.start()
  const { back } = await child.result()
  assert.equal(new Int32Array(memory)[0], 42)
  new Int32Array(back)[1] = 7
  assert.equal(new Int32Array(memory)[1], 7)
  await child.join()
})

test('shared memory cannot go to a process, which start() says', () => {
  const child = new Process({
    context: 'spawn',
    target: (_shared: unknown) => {},
    args: [new SharedArrayBuffer(8)],
  })
  assert.throws(() => child.start(), { name: 'SerializeError' })
})

test('a module that starts a process when it is imported fails in the child, and no third process starts', async () => {
  const file = fileURLToPath(new URL('../fixtures/importing-starts-program.js', import.meta.url))
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [file])
  assert.equal(stdout, 'exit code 1\n')
  assert.match(stderr, /while process "Process-1" is still importing its modules/)
})
