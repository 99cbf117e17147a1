/**
 * SharedMemory with and without a name: who has it, when it ends, and what is left after kill -9. The behaviours of
 * CPython's _TestSharedMemory and TestSharedMemoryNames are here by the numbers of those tests.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import { ClosedError, Event, Process, ProcessError, SharedMemory, type StartMethod } from 'multiproc'
import { sharedHeap } from '#src/platform/shared-heap.js'
import { decode, encode } from '#src/serialize/codec.js'
import { checkLeaks, eventually } from '../leak-check.js'

checkLeaks()

const heap = sharedHeap()
const methods: StartMethod[] = heap.isNative ? ['spawn', 'thread'] : ['thread']
const hasNames = heap.isNative && existsSync('/dev/shm')
const hasPython = hasNames && spawnSync('python3', ['--version']).status === 0

const program = fileURLToPath(new URL('../fixtures/named-memory-program.js', import.meta.url))

/** What there is in /dev/shm of a name, owner's links included. */
function filesOf(name: string): string[] {
  return readdirSync('/dev/shm').filter(file => file.includes(name))
}

let names = 0
function newName(): string {
  return `multiproc-test-${process.pid}-${names++}`
}

for (const context of methods) {
  describe(context, () => {
    test('C162 test_shared_memory_across_processes: a child writes, and the parent sees it', async () => {
      using memory = new SharedMemory({ size: 512 })
      const child = new Process({
        context,
        target: (there: SharedMemory) => {
          there.buf[0] = 1
          memory.buf[1] = 2
          there.close()
        },
        args: [memory],
      })
      child.start()
      assert.equal(await child.join(), 0)
      assert.deepEqual([...memory.buf.subarray(0, 3)], [1, 2, 0])
    })

    test('the memory lives on in the child when the parent has closed it', async () => {
      const memory = new SharedMemory({ size: 100 })
      memory.buf[0] = 5
      const child = new Process({ context, target: (there: SharedMemory) => there.buf[0], args: [memory] })
      child.start()
      memory.close()
      assert.equal(await child.result(), 5)
    })

    test('a SharedMemory that a child returns is that memory', async () => {
      const child = new Process({
        context,
        target: () => {
          const memory = new SharedMemory({ size: 10 })
          memory.buf[9] = 8
          return memory
        },
      })
      child.start()
      await child.join()
      using memory = await child.result()
      assert.equal(memory.buf[9], 8)
      assert.equal(memory.size, 10)
    })
  })
}

describe('without a name', () => {
  test('it reads zeros, has the size that was asked for, and can be viewed as numbers', () => {
    using memory = new SharedMemory({ size: 4100 })
    assert.equal(memory.size, 4100)
    assert.equal(memory.buf.byteLength, 4100)
    assert.equal(memory.name, undefined)
    assert.ok(memory.buf.every(byte => byte === 0))
    new Float64Array(memory.buffer, 8, 2)[1] = 2.5
    assert.equal(new DataView(memory.buffer).getFloat64(16, true), 2.5)
  })

  test('C157 test_shared_memory_basics: wrong sizes and options are refused', () => {
    assert.throws(() => new (SharedMemory as new () => SharedMemory)(), { code: 'ERR_INVALID_ARGUMENT' })
    for (const size of [0, -1, 1.5, NaN, undefined]) {
      assert.throws(() => new SharedMemory({ size }), { name: 'RangeError', code: 'ERR_INVALID_ARGUMENT' })
    }
    assert.throws(() => new SharedMemory({ create: false }), {
      name: 'TypeError',
      code: 'ERR_INVALID_ARGUMENT',
    })
    assert.throws(() => new SharedMemory({ name: 5 as never, size: 1 }), { code: 'ERR_INVALID_ARGUMENT' })
    assert.throws(() => new SharedMemory({ syze: 1 } as never), { code: 'ERR_INVALID_ARGUMENT' })
  })

  test('after close() nothing can be done with it, twice is fine, and unlink() does nothing', () => {
    const memory = new SharedMemory({ size: 10 })
    memory.unlink()
    memory.close()
    memory.close()
    assert.throws(() => memory.buf, ClosedError)
    assert.throws(() => memory.buffer, ClosedError)
    assert.throws(() => encode(memory), ClosedError)
    assert.equal(memory.size, 10)
    assert.equal(inspect(memory), 'SharedMemory(size=10, closed)')
  })

  test(
    'views that are left after close() read zeros, except on Windows, and cannot be sent',
    { skip: !heap.isNative },
    () => {
      const memory = new SharedMemory({ size: 5000 })
      const view = memory.buf.subarray(10)
      view.fill(1)
      memory.close()
      const left = process.platform === 'win32' ? 1 : 0
      assert.ok(view.every(byte => byte === left))
      view[0] = 3
      assert.throws(() => encode(view), ClosedError)
    },
  )

  test('more than there is is an error, and no crash', { skip: !heap.isNative }, () => {
    assert.throws(() => new SharedMemory({ size: 2 ** 46 }), { code: 'ERR_LIMIT' })
  })

  test('two objects of one process close apart', { skip: !heap.isNative }, () => {
    const memory = new SharedMemory({ size: 10 })
    memory.buf[0] = 1
    const again = decode(encode(memory)) as SharedMemory
    memory.close()
    assert.equal(again.buf[0], 1)
    again.close()
  })
})

describe('with a name', { skip: !hasNames }, () => {
  test('C157 test_shared_memory_basics: create, attach, errors for names, and the string form', () => {
    const name = newName()
    const memory = new SharedMemory({ name, create: true, size: 512 })
    assert.equal(memory.name, name)
    assert.equal(memory.size, 512)
    assert.equal(statSync(`/dev/shm/${name}`).mode & 0o777, 0o600)
    assert.equal(inspect(memory), `SharedMemory('${name}', size=512)`)
    memory.buf[0] = 42

    const attached = new SharedMemory({ name, size: 1 })
    assert.equal(attached.size, 512)
    assert.equal(attached.buf[0], 42)
    attached.buf[511] = 41
    assert.equal(memory.buf[511], 41)
    attached.close()

    assert.throws(() => new SharedMemory({ name, create: true, size: 10 }), { code: 'ERR_ALREADY_EXISTS' })
    assert.equal(memory.buf[0], 42)
    memory.unlink()
    assert.equal(memory.buf[0], 42)
    assert.throws(() => memory.unlink(), { code: 'ERR_NOT_FOUND' })
    assert.throws(() => new SharedMemory({ name }), { code: 'ERR_NOT_FOUND' })
    memory.close()
    assert.deepEqual(filesOf(name), [])
  })

  test('C156 test_shared_memory_name_with_embedded_null: such names are refused, and others that are none', () => {
    for (const name of ['a\0b', '', '.', '..', 'a/b', '../tmp/x', 'x'.repeat(300), '.multiproc-1-2-3-x']) {
      assert.throws(() => new SharedMemory({ name, create: true, size: 1 }), {
        name: 'RangeError',
        code: 'ERR_INVALID_ARGUMENT',
      })
      assert.throws(() => new SharedMemory({ name }), { name: 'RangeError' })
    }
  })

  test('C158 test_shared_memory_recreate: a name of its own is one that nobody uses', () => {
    const all = Array.from({ length: 20 }, () => new SharedMemory({ name: true, size: 1 }))
    assert.equal(new Set(all.map(({ name }) => name)).size, 20)
    for (const memory of all) memory[Symbol.dispose]()
    assert.deepEqual(filesOf('mp_'), [])
  })

  test('C160 test_shared_memory_pickle_unpickle: what was sent attaches again, and not after unlink()', () => {
    const name = newName()
    using memory = new SharedMemory({ name, create: true, size: 4 })
    const bytes = encode(memory)
    const attached = decode(bytes) as SharedMemory
    attached.buf[0] = 1
    memory.buf[1] = 2
    assert.deepEqual([...attached.buf], [1, 2, 0, 0])
    attached.close()
    assert.deepEqual([...memory.buf], [1, 2, 0, 0])
    memory.unlink()
    assert.throws(() => decode(bytes), { code: 'ERR_NOT_FOUND' })
  })

  test('C172 test_that_shared_memory_name_with_colons: names with colons and newlines are names', () => {
    for (const part of ['a:b:c', 'line\nbreak', '\n', 'ünï漢', ' ']) {
      const name = `${newName()}${part}`
      const memory = new SharedMemory({ name, create: true, size: 3 })
      memory.buf.set([1, 2, 3])
      memory.close()
      memory.unlink()
      assert.deepEqual(filesOf(name), [])
    }
  })

  test('disposing removes the name of whoever made it, and not of whoever attached', () => {
    const name = newName()
    const memory = new SharedMemory({ name, create: true, size: 1 })
    {
      using attached = new SharedMemory({ name })
      assert.equal(attached.size, 1)
    }
    assert.equal(filesOf(name).length, 2)
    memory[Symbol.dispose]()
    memory[Symbol.dispose]()
    assert.deepEqual(filesOf(name), [])
  })

  test('a view of named memory is the same memory in a child', async () => {
    using memory = new SharedMemory({ name: true, size: 100 })
    const numbers = new Int32Array(memory.buffer, 4, 3)
    const child = new Process({ target: (there: Int32Array) => void there.fill(6), args: [numbers] })
    child.start()
    await child.join()
    assert.deepEqual([...numbers], [6, 6, 6])
  })

  test('an unlink() by who did not make it removes the owner’s link too', async () => {
    const name = newName()
    const memory = new SharedMemory({ name, create: true, size: 1 })
    const child = new Process({ target: () => new SharedMemory({ name }).unlink() })
    child.start()
    await child.result()
    assert.deepEqual(filesOf(name), [])
    assert.throws(() => memory.unlink(), { code: 'ERR_NOT_FOUND' })
    memory.close()
  })

  test('C170 test_shared_memory_untracking: a program that attached and ended does not remove the name', () => {
    const name = newName()
    using memory = new SharedMemory({ name, create: true, size: 8 })
    execFileSync(process.execPath, [program, 'attach', name])
    assert.equal(memory.buf[0], 1)
    assert.equal(filesOf(name).length, 2)
  })

  test('a program that made a name and ended has removed it', () => {
    const name = newName()
    execFileSync(process.execPath, [program, 'create', name])
    assert.deepEqual(filesOf(name), [])
  })

  test('C216 test_resource_tracker: the name of a killed child is removed by its parent', async () => {
    const name = newName()
    const child = new Process({
      target: () => {
        const memory = new SharedMemory({ name, create: true, size: 100 })
        process.kill(process.pid, 'SIGKILL')
        return memory.size
      },
    })
    child.start()
    assert.equal(await child.join(), -9)
    await eventually(() => filesOf(name).length === 0)
  })

  test('the name of a thread that was killed is removed by its process, and no other one', async () => {
    const name = newName()
    using own = new SharedMemory({ name: true, size: 1 })
    const isMade = new Event()
    const child = new Process({
      context: 'thread',
      target: async () => {
        const memory = new SharedMemory({ name, create: true, size: 100 })
        isMade.set()
        await new Promise(() => setTimeout(() => memory.close(), 1_000_000))
      },
    })
    child.start()
    await isMade.wait()
    assert.equal(filesOf(name).length, 2)
    child.kill()
    await child.join()
    assert.deepEqual(filesOf(name), [])
    assert.equal(filesOf(own.name!).length, 2)
  })

  test('the name of a killed program is removed by the next that uses names, and nobody else’s', () => {
    const name = newName()
    const { signal } = spawnSync(process.execPath, [program, 'create-and-die', name])
    assert.equal(signal, 'SIGKILL')
    assert.equal(filesOf(name).length, 2)
    using other = new SharedMemory({ name: true, size: 1 })
    assert.equal(other.size, 1)
    assert.deepEqual(filesOf(name), [])
    assert.equal(filesOf(other.name!).length, 2)
  })

  test('a name that another program took over from a killed one stays', () => {
    const name = newName()
    spawnSync(process.execPath, [program, 'create-and-die', name])
    execFileSync('rm', [`/dev/shm/${name}`])
    writeFileSync(`/dev/shm/${name}`, 'mine')
    using other = new SharedMemory({ name: true, size: 1 })
    assert.equal(other.size, 1)
    assert.deepEqual(filesOf(name), [name])
    const attached = new SharedMemory({ name })
    assert.equal(Buffer.from(attached.buf).toString(), 'mine')
    attached.close()
    attached.unlink()
    assert.deepEqual(filesOf(name), [])
  })

  test('memory that is attached lives on when its owner is killed', async () => {
    const name = newName()
    const ready = new SharedMemory({ size: 4 })
    const child = new Process({
      target: async (there: SharedMemory) => {
        const memory = new SharedMemory({ name, create: true, size: 10 })
        memory.buf.fill(7)
        Atomics.store(new Int32Array(there.buffer), 0, 1)
        await new Promise(resolve => setInterval(resolve, 2 ** 30))
      },
      args: [ready],
    })
    child.start()
    await eventually(() => Atomics.load(new Int32Array(ready.buffer), 0) === 1)
    const attached = new SharedMemory({ name })
    child.kill()
    await child.join()
    await eventually(() => filesOf(name).length === 0)
    assert.ok(attached.buf.every(byte => byte === 7))
    attached.close()
    ready.close()
  })

  test('killing a child that attached changes nothing for the owner', async () => {
    using memory = new SharedMemory({ name: true, size: 10 })
    const child = new Process({
      target: (there: SharedMemory) => {
        there.buf[0] = 1
        process.kill(process.pid, 'SIGKILL')
      },
      args: [memory],
    })
    child.start()
    assert.equal(await child.join(), -9)
    assert.equal(memory.buf[0], 1)
    assert.equal(filesOf(memory.name!).length, 2)
    assert.equal(new SharedMemory({ name: memory.name! }).buf[0], 1)
  })

  test('a full /dev/shm is an error of the call, for making and for attaching, and no crash', t => {
    const script = `mount -t tmpfs -o size=256k tmpfs /dev/shm && exec "$0" "$@"`
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      ['-m', 'sh', '-c', script, process.execPath, program, 'fill', newName()],
      { encoding: 'utf8' },
    )
    if (/unshare|mount/.test(stderr)) {
      t.skip('no mount namespaces here')
      return
    }
    assert.equal(stderr, '')
    assert.equal(status, 0)
    assert.deepEqual(JSON.parse(stdout), {
      create: ['ERR_LIMIT', 'ENOSPC'],
      attach: ['ERR_LIMIT', 'ENOSPC'],
      small: 1000,
      left: [],
    })
  })

  test('a program in Python attaches by name, and the other way round', { skip: !hasPython }, () => {
    const name = newName()
    using memory = new SharedMemory({ name, create: true, size: 16 })
    memory.buf[0] = 11
    const python = (code: string): string =>
      execFileSync(
        'python3',
        ['-c', `from multiprocessing import shared_memory, resource_tracker\n${code}`],
        {
          encoding: 'utf8',
        },
      ).trim()
    const printed = python(`
memory = shared_memory.SharedMemory(name='${name}')
resource_tracker.unregister(memory._name, 'shared_memory')
print(memory.size, memory.buf[0])
memory.buf[1] = 22
memory.close()`)
    assert.equal(printed, '16 11')
    assert.equal(memory.buf[1], 22)

    const theirs = python(`
memory = shared_memory.SharedMemory(create=True, size=32)
resource_tracker.unregister(memory._name, 'shared_memory')
memory.buf[31] = 33
print(memory.name)
memory.close()`)
    const attached = new SharedMemory({ name: theirs })
    assert.equal(attached.size, 32)
    assert.equal(attached.buf[31], 33)
    attached.close()
    attached.unlink()
    assert.deepEqual(filesOf(theirs), [])
  })
})

describe('kill -9 of everybody', { skip: !hasNames }, () => {
  test('memory without a name leaves nothing behind', async () => {
    const { pid, signal } = spawnSync(process.execPath, [program, 'unnamed-and-die', '-'])
    assert.equal(signal, 'SIGKILL')
    // Other programs come and go meanwhile; whatever this one made has its process id in a name.
    assert.deepEqual(filesOf(`-${pid}-`), [])
  })
})

describe('without the addon', { skip: heap.isNative }, () => {
  test('a name, and sending to a process, are errors that say so', () => {
    const isClear = (error: unknown): boolean =>
      error instanceof ProcessError && error.code === 'ERR_NOT_SUPPORTED' && error.message.includes('To fix:')
    assert.throws(() => new SharedMemory({ name: true, size: 1 }), isClear)
    assert.throws(() => new SharedMemory({ name: 'x' }), isClear)
    assert.throws(() => encode(new SharedMemory({ size: 1 })), isClear)
  })
})
