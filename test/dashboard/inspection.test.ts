/** A program that is looked at over its socket, by who may, by who lies, and when either is killed. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { InspectionServer } from '#src/dashboard/inspection-server.js'
import { JsonLines } from '#src/dashboard/json-lines.js'
import { ProgramInspector } from '#src/dashboard/program-inspector.js'
import { connectProgram } from '#src/dashboard/program-source.js'
import { inspectedNames, newInspectedName } from '#src/platform/inspection-folder.js'
import { Pool } from 'multiproc'
import { checkLeaks, eventually } from '../leak-check.js'
import { InspectedProgram, OwnTemporaryDirectory, look } from './inspected-program.js'

checkLeaks()

const onPosix = { skip: process.platform === 'win32' && 'sockets have files on POSIX systems alone' }

describe('a program with a pool', () => {
  test('tells its pools, workers, calls and failures to who connects', async () => {
    using _ = new OwnTemporaryDirectory()
    await using program = await InspectedProgram.start()
    const source = await connectProgram(await program.name())
    assert.equal(source.hello.pid, program.pid)
    assert.match(source.hello.command, /inspected-program/)
    const { pools, failures, failureCount } = await look(source)
    const [pool] = pools
    assert.deepEqual([pool!.name, pool!.method, pool!.processes], ['inspected', 'thread', 2])
    assert.deepEqual([pool!.done, pool!.failed, pool!.workers.length], [21, 3, 2])
    assert.deepEqual(
      pool!.calls.map(({ functionName, done, total }) => [functionName, done, total]),
      [['neverEnds', 0, 1]],
    )
    assert.equal(pool!.workers.filter(({ running }) => running?.functionName === 'neverEnds').length, 1)
    assert.equal(failureCount, 3)
    // Two workers had them, and which one tells first is anybody's guess.
    const inOrder = failures.toSorted((a, b) => a.index! - b.index!)
    assert.deepEqual(
      inOrder.map(({ functionName, errorName, message, index }) => [functionName, errorName, message, index]),
      [3, 10, 17].map(item => ['failOften', 'RangeError', `item ${item} is refused`, item]),
    )
    assert.match(failures[0]!.stack, /failOften/)
    const again = await look(source, failureCount)
    assert.deepEqual(again.failures, [])
    source.close()
  })

  test('ends by itself while somebody is connected, who gets its last numbers and the end', async () => {
    using _ = new OwnTemporaryDirectory()
    await using program = await InspectedProgram.start()
    const source = await connectProgram(await program.name())
    await look(source)
    const ended: string[] = []
    source.onSnapshot = ({ endedPools }) =>
      ended.push(...endedPools.map(({ name, done }) => `${name} ${done}`))
    const closed = new Promise(resolve => {
      source.onEnd = resolve
    })
    await program.end()
    await closed
    assert.deepEqual(ended, ['inspected 21'])
    assert.deepEqual(inspectedNames(), [])
  })

  test('that ends soon leaves no name, and one with MULTIPROC_INSPECT=0 has none', async () => {
    using directory = new OwnTemporaryDirectory()
    const short = await InspectedProgram.start(['short'])
    await once(short.child, 'exit')
    await using silent = await InspectedProgram.start([], { MULTIPROC_INSPECT: '0' })
    // It has run calls by now: with a tag it would listen since its first pool.
    assert.deepEqual(inspectedNames(), [])
    await silent.end()
    assert.ok(
      readdirSync(directory.path).every(
        name => !name.startsWith('multiproc-inspect') || isEmpty(join(directory.path, name)),
      ),
    )
  })

  test('that was killed is forgotten with the next look', onPosix, async () => {
    using _ = new OwnTemporaryDirectory()
    await using program = await InspectedProgram.start()
    const { path } = await program.name()
    await program.kill()
    assert.ok(existsSync(path))
    assert.deepEqual(inspectedNames(), [])
    assert.ok(!existsSync(path))
  })

  test(
    'that is stopped is told from one that is gone',
    { skip: process.platform === 'win32' && 'no SIGSTOP' },
    async () => {
      using _ = new OwnTemporaryDirectory()
      await using program = await InspectedProgram.start()
      const name = await program.name()
      program.child.kill('SIGSTOP')
      await assert.rejects(connectProgram(name, { timeoutMs: 50 }), { code: 'ERR_TIMEOUT' })
      program.child.kill('SIGCONT')
      const source = await connectProgram(name)
      source.close()
    },
  )
})

describe('ProgramInspector', () => {
  test('gives each of several watchers all spans and counts, whoever looks first', async () => {
    const inspector = new ProgramInspector()
    await using pool = new Pool({ processes: 1, context: 'thread', name: 'shared' })
    const [first, second] = [inspector.watch(), inspector.watch()]
    const of = (watch: typeof first): { tasks: number; timed: number } => {
      const found = watch.look(0).pools.find(({ name }) => name === 'shared')!
      return {
        tasks: found.spans.reduce((sum, span) => sum + span[4], 0),
        timed: found.times.reduce((sum, [, tasks]) => sum + tasks, 0),
      }
    }
    await pool.map(Math.sqrt, [1, 4, 9])
    assert.deepEqual(of(first), { tasks: 3, timed: 3 })
    await pool.map(Math.sqrt, [16, 25])
    assert.deepEqual(of(first), { tasks: 2, timed: 2 })
    assert.deepEqual(of(second), { tasks: 5, timed: 5 })
    first.end()
    second.end()
    await pool.map(Math.sqrt, [36])
    const third = inspector.watch()
    assert.deepEqual(of(third), { tasks: 0, timed: 0 }, 'nothing is noted while nobody watches')
    third.end()
  })

  test('keeps what a watcher does not fetch within bounds', async () => {
    const inspector = new ProgramInspector()
    const watch = inspector.watch()
    for (let count = 0; count < 20; count++) {
      await using pool = new Pool({ processes: 1, context: 'thread', name: `short-${count}` })
      await pool.apply(Math.sqrt, [count])
    }
    const { endedPools } = watch.look(0)
    assert.equal(endedPools.length, 16)
    assert.equal(endedPools.at(-1)!.name, 'short-19')
    watch.end()
  })
})

describe('InspectionServer', () => {
  test('ends the connection of who sends anything but a request', async () => {
    using _ = new OwnTemporaryDirectory()
    const server = (await InspectionServer.open('lies', new ProgramInspector()))!
    const { path } = inspectedNamesHere('lies')
    for (const lie of [
      'GET / HTTP/1.1\r\n\r\n',
      '{"type":"run"}\n',
      '[]\n',
      'x'.repeat(5000),
      '{"type":"look"}\n',
    ]) {
      const socket = connect(path)
      socket.on('error', () => {})
      socket.resume()
      await once(socket, 'connect')
      socket.write(lie)
      await once(socket, 'close')
    }
    await eventually(() => !server.isWatched)
    server.close()
  })

  test('listens nowhere when its folder is a link, or open to others', onPosix, async () => {
    using directory = new OwnTemporaryDirectory()
    const folder = join(directory.path, `multiproc-inspect-${process.getuid!()}`)
    const elsewhere = join(directory.path, 'elsewhere')
    mkdirSync(elsewhere, { mode: 0o700 })
    symlinkSync(elsewhere, folder)
    assert.equal(newInspectedName(), undefined)
    assert.deepEqual(inspectedNames(), [])
    const other = new OwnTemporaryDirectory()
    mkdirSync(join(other.path, `multiproc-inspect-${process.getuid!()}`))
    chmodSync(join(other.path, `multiproc-inspect-${process.getuid!()}`), 0o755)
    assert.equal(await InspectionServer.open(), undefined)
    other[Symbol.dispose]()
  })

  test('is not there where the path would be too long for a socket', onPosix, async () => {
    using directory = new OwnTemporaryDirectory()
    const deep = join(directory.path, 'd'.repeat(100))
    mkdirSync(deep)
    process.env['TMPDIR'] = deep
    assert.equal(await InspectionServer.open(), undefined)
    process.env['TMPDIR'] = directory.path
  })
})

describe('connectProgram()', () => {
  /** What comes of a look at a program that says this: the first line at once, and the others when it is asked. */
  async function connectTo(first: string, others = ''): Promise<unknown> {
    using directory = new OwnTemporaryDirectory()
    const server = createServer(socket => {
      socket.on('error', () => {})
      if (others === '') {
        socket.end(first)
        return
      }
      socket.write(first)
      socket.once('data', () => socket.end(others))
    })
    const path = join(directory.path, 's')
    server.listen(path)
    await once(server, 'listening')
    try {
      const source = await connectProgram({ pid: 1, tag: undefined, path })
      const answer = await look(source)
      source.close()
      return answer
    } finally {
      server.close()
    }
  }
  const hello = { type: 'hello', protocol: 1, pid: 1, command: 'x', node: 'v20', startedAtMs: 0 }
  const snapshot = {
    type: 'snapshot',
    atMs: 1,
    processorMs: 1,
    loopActiveMs: 1,
    loopIdleMs: 1,
    memoryBytes: 1,
    pools: [],
    endedPools: [],
    failures: [],
    failureCount: 0,
    tables: [],
  }
  const lies: Record<string, object[]> = {
    'another version': [{ ...hello, protocol: 99 }],
    'a snapshot first': [snapshot],
    'a pool that is none': [hello, { ...snapshot, pools: [1] }],
    'a number that is none': [hello, { ...snapshot, memoryBytes: 'much' }],
    'far too many pools': [hello, { ...snapshot, pools: Array.from({ length: 1000 }, () => ({})) }],
    'a type that does not exist': [hello, { type: 'code', run: 'process.exit()' }],
  }
  const lines = ([first, ...others]: object[]): [string, string] => [
    `${JSON.stringify(first)}\n`,
    others.map(message => `${JSON.stringify(message)}\n`).join(''),
  ]
  for (const [name, messages] of Object.entries(lies)) {
    test(`refuses ${name}`, onPosix, async () => {
      await assert.rejects(connectTo(...lines(messages)), { code: 'ERR_PROTOCOL' })
    })
  }

  test('refuses what is no JSON, and who says nothing', onPosix, async () => {
    await assert.rejects(connectTo('HTTP/1.1 400 Bad Request\r\n\r\n'), { code: 'ERR_PROTOCOL' })
    await assert.rejects(connectTo(''), { code: 'ERR_PROTOCOL' })
  })

  test('takes an honest one', onPosix, async () => {
    assert.deepEqual(await connectTo(...lines([hello, snapshot])), snapshot)
  })

  test('removes the name of one that is gone although its id is in use', onPosix, async () => {
    using directory = new OwnTemporaryDirectory()
    await using program = await InspectedProgram.start()
    const { path } = await program.name()
    const stale = join(path, '..', `${process.ppid}.0123abcd.sock`)
    await killedSocketAt(stale)
    const name = inspectedNames().find(each => each.path === stale)!
    await assert.rejects(connectProgram(name), { code: 'ECONNREFUSED' })
    assert.ok(!existsSync(stale), directory.path)
  })
})

describe('JsonLines', () => {
  test('joins lines that come in any pieces, and gives each once', () => {
    const bytes = Buffer.from('{"a":"ä€"}\n[1,2]\n\n'.slice(0, -1))
    for (let size = 1; size <= bytes.length; size++) {
      const lines = new JsonLines({ charactersMax: 100 })
      const found: unknown[] = []
      for (let at = 0; at < bytes.length; at += size) found.push(...lines.push(bytes.subarray(at, at + size)))
      assert.deepEqual(found, [{ a: 'ä€' }, [1, 2]])
    }
  })

  test('refuses a line that is longer than agreed before it has ended', () => {
    const lines = new JsonLines({ charactersMax: 10 })
    assert.deepEqual([...lines.push(Buffer.from('"1234567'))], [])
    assert.throws(() => [...lines.push(Buffer.from('8901'))], { code: 'ERR_PROTOCOL' })
  })
})

function inspectedNamesHere(tag: string): { path: string } {
  // Those of this process: it does not look at itself.
  return inspectedNames(tag)[0]!
}

/** The file of a socket at which nobody listens any more. */
async function killedSocketAt(path: string): Promise<void> {
  const { spawnSync } = await import('node:child_process')
  const code = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  spawnSync(process.execPath, ['-e', code])
  assert.ok(existsSync(path))
}

function isEmpty(folder: string): boolean {
  return readdirSync(folder).length === 0
}
