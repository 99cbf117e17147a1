/** What callers see when a worker dies in each stage of a task, and what is left of the pool afterwards. */
import assert from 'node:assert/strict'
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import {
  BrokenPoolError,
  Pool,
  SerializeError,
  WorkerDiedError,
  registerReducer,
  type StartMethod,
} from 'multiproc'
import { forEachStartMethod } from '../conformance.js'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks } from '../leak-check.js'
import { square } from './tasks.js'

checkLeaks()

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

/** Ways for a task to end its worker, and what the error then says. */
interface Death {
  name: string
  die: () => unknown
  methods: StartMethod[]
  exitCode?: number | null
  signal?: string
}

const deaths: Death[] = [
  { name: 'process.exit(0)', die: () => process.exit(0), methods: ['spawn', 'thread'], exitCode: 0 },
  { name: 'process.exit(3)', die: () => process.exit(3), methods: ['spawn', 'thread'], exitCode: 3 },
  { name: 'process.abort()', die: () => process.abort(), methods: ['spawn'], signal: 'SIGABRT' },
  {
    name: 'SIGKILL',
    die: () => void process.kill(process.pid, 'SIGKILL'),
    methods: ['spawn'],
    signal: 'SIGKILL',
  },
  {
    name: 'SIGTERM',
    die: () => void process.kill(process.pid, 'SIGTERM'),
    methods: ['spawn'],
    signal: 'SIGTERM',
  },
  {
    name: 'an error in a timer that it left behind',
    die: async () => {
      setImmediate(() => {
        throw new RangeError('left behind')
      })
      await new Promise(() => {})
    },
    methods: ['spawn', 'thread'],
    exitCode: 1,
  },
  {
    name: 'a rejection that nobody handles',
    die: async () => {
      void Promise.reject(new RangeError('left behind'))
      await new Promise(() => {})
    },
    methods: ['spawn', 'thread'],
    exitCode: 1,
  },
]

/** Its reducer is known to this process only. */
class Grenade {
  readonly pin = 1
}
registerReducer({ type: Grenade, name: 'test.Grenade', encode: () => 1, decode: () => new Grenade() })

forEachStartMethod(context => {
  for (const { name, die, methods, exitCode = null, signal = null } of deaths) {
    if (!methods.includes(context)) continue
    describe(`a task that ends its worker by ${name}`, () => {
      test('fails alone: what was finished is kept and the rest of its chunk runs elsewhere', async () => {
        await using pool = new Pool({ processes: 1, context })
        const settled = await pool.mapSettled(
          async (x: number) => {
            if (x === 4) await die()
            return x * 10
          },
          range(9),
          { chunkSize: 9 },
        )
        for (const [index, outcome] of settled.entries()) {
          if (index !== 4) {
            assert.deepEqual(outcome, { status: 'fulfilled', value: index * 10 })
            continue
          }
          assert.ok(outcome.status === 'rejected' && outcome.reason instanceof WorkerDiedError)
          assert.deepEqual(
            [outcome.reason.exitCode, outcome.reason.signal, outcome.reason.taskIndex],
            [exitCode, signal, 4],
          )
          if (name.includes('left behind')) assert.match(String(outcome.reason.cause), /left behind/)
        }
        assert.equal(await pool.apply(square, [3]), 9)
      })

      test('rejects apply()', async () => {
        await using pool = new Pool({ processes: 1, context })
        const died = await pool.apply(die).catch((error: unknown) => error)
        assert.ok(died instanceof WorkerDiedError)
        assert.equal(died.taskIndex, undefined)
        assert.deepEqual(await pool.map(square, [1, 2]), [1, 4])
      })
    })
  }

  test('a worker that dies while it loads a function fails no item, however often it happens, when another can load it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
    const flag = join(folder, 'flag')
    const module = join(folder, 'tasks.mjs')
    writeFileSync(
      module,
      `import { existsSync, rmSync } from 'node:fs'
       if (existsSync(${JSON.stringify(flag)})) {
         rmSync(${JSON.stringify(flag)})
         process.exit(5)
       }
       export const twice = x => 2 * x`,
    )
    const { twice } = (await import(pathToFileURL(module).href)) as { twice: (x: number) => number }
    await using pool = new Pool({ processes: 1, context, maxTasksPerChild: 1 })
    for (let round = 1; round < 6; round++) {
      writeFileSync(flag, '')
      assert.deepEqual(await pool.map(twice, [round, 0, 1], { chunkSize: 3 }), [2 * round, 0, 2])
      assert.ok(!existsSync(flag), 'a worker has died')
    }
    rmSync(folder, { recursive: true })
  })

  test('an item that waited among quick ones is not run again when the next one ends the worker', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
    const log = join(folder, 'log')
    const task = (x: number): unknown => {
      if (x === -2) process.exit(4)
      if (x !== -1) return x
      return Promise.resolve().then(() => appendFileSync(log, 'x'))
    }
    await using pool = new Pool({ processes: 1, context })
    // Quick items are timed together only after many of them, and of two neighbours one is not the last of its group.
    for (const at of [300, 301]) {
      await pool.map(task, range(30_000), { chunkSize: 30_000 })
      writeFileSync(log, '')
      const items = range(400)
        .with(at, -1)
        .with(at + 1, -2)
      const settled = await pool.mapSettled(task, items, { chunkSize: 400 })
      assert.deepEqual(
        settled.flatMap((each, index) => (each.status === 'rejected' ? [index] : [])),
        [at + 1],
      )
      assert.equal(readFileSync(log, 'utf8'), 'x')
    }
    rmSync(folder, { recursive: true })
  })

  test('a task that runs out of memory fails alone', async () => {
    await using pool = new Pool({ processes: 1, context, resourceLimits: { maxOldGenerationSizeMb: 40 } })
    const settled = await pool.mapSettled(
      (x: number) => {
        // Many small objects: V8 can stop a thread that is out of memory, but not in the midst of a large allocation.
        let chain: object | undefined
        // oxlint-disable-next-line no-unmodified-loop-condition -- it ends with the worker
        while (x === 1 || chain) chain = { chain }
        return x
      },
      [0, 1, 2],
      { chunkSize: 3 },
    )
    assert.deepEqual(
      settled.map(each => each.status),
      ['fulfilled', 'rejected', 'fulfilled'],
    )
    assert.ok(settled[1]?.status === 'rejected' && settled[1].reason instanceof WorkerDiedError)
  })

  test('a task whose many arrays run out of memory fails alone', async () => {
    await using pool = new Pool({ processes: 1, context, resourceLimits: { maxOldGenerationSizeMb: 40 } })
    // Four times: in threads this ended the whole program nearly every time, but not always.
    for (let round = 0; round < 4; round++) {
      const result = pool.apply(() => {
        const all: number[][] = []
        for (;;) all.push(Array.from<number>({ length: 10 }).fill(1.5))
      })
      await assert.rejects(async () => result, { code: 'ERR_WORKER_DIED', reason: 'outOfMemory' })
    }
    assert.equal(await pool.apply(square, [2]), 4)
  })

  test('a stack overflow is an error of its task', async () => {
    await using pool = new Pool({ processes: 1, context })
    const dive = (depth: number): number => dive(depth + 1) + 1
    await assert.rejects(async () => pool.apply(dive, [0]), RangeError)
    assert.equal(await pool.apply(square, [2]), 4)
  })

  test('quick items around the deadly one are kept, far into a large chunk', async () => {
    await using pool = new Pool({ processes: 2, context })
    const settled = await pool.mapSettled(
      (x: number) => {
        if (x === 3333) process.exit(7)
        return x + 1
      },
      range(5000),
      { chunkSize: 2500 },
    )
    const failed = settled.flatMap((each, index) => (each.status === 'rejected' ? [index] : []))
    assert.deepEqual(failed, [3333])
    assert.deepEqual(settled[4999], { status: 'fulfilled', value: 5000 })
  })

  test('every item runs exactly once although workers die again and again', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
    try {
      const log = join(folder, 'log')
      writeFileSync(log, '')
      await using pool = new Pool({ processes: 2, context })
      const settled = await pool.mapSettled(
        (x: number) => {
          appendFileSync(log, `${x}\n`)
          if (x % 10 === 9) process.exit(1)
          return x
        },
        range(60),
        { chunkSize: 15 },
      )
      assert.deepEqual(
        settled.map(each => each.status === 'fulfilled'),
        range(60).map(x => x % 10 !== 9),
      )
      const ran = readFileSync(log, 'utf8').trim().split('\n').map(Number)
      assert.deepEqual(
        ran.toSorted((a, b) => a - b),
        range(60),
      )
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  test('an initializer that ends its worker breaks the pool instead of starting workers for ever', async () => {
    const pool = new Pool({ processes: 2, context, initializer: () => process.exit(5) })
    const broken = await pool.apply(square, [1]).catch((error: unknown) => error)
    assert.ok(broken instanceof BrokenPoolError)
    assert.equal(broken.code, 'ERR_START_FAILED')
    assert.match(broken.message, /exit code 5/)
    await pool.join()
  })

  test('a function whose module ends the worker fails its items, and only those', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'multiproc-test-'))
    try {
      const file = join(folder, 'deadly.mjs')
      const guard = context === 'thread' ? 'isMainThread' : 'globalThis.isTestProcess'
      writeFileSync(
        file,
        `import { isMainThread } from 'node:worker_threads'
         if (!(${guard})) process.exit(4)
         export function task(x) { return x }`,
      )
      const here = globalThis as { isTestProcess?: boolean }
      here.isTestProcess = true
      const { task } = (await import(file)) as { task: (x: number) => number }
      await using pool = new Pool({ processes: 2, context })
      const settled = await pool.mapSettled(task, range(20))
      for (const outcome of settled) {
        assert.ok(outcome.status === 'rejected' && outcome.reason instanceof WorkerDiedError)
      }
      assert.equal(await pool.apply(square, [3]), 9)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  test(
    'a task that closes its own channel ends its worker and fails alone',
    { skip: context !== 'spawn' },
    async () => {
      await using pool = new Pool({ processes: 1, context })
      const settled = await pool.mapSettled(
        async (x: number) => {
          const { closeSync } = await import('node:fs')
          if (x === 1) {
            closeSync(3)
            await new Promise(() => {})
          }
          return x
        },
        range(3),
        { chunkSize: 3 },
      )
      assert.deepEqual(
        settled.map(each => each.status),
        ['fulfilled', 'rejected', 'fulfilled'],
      )
    },
  )

  test('a worker that is killed while it is idle is replaced', { skip: context !== 'spawn' }, async () => {
    await using pool = new Pool({ processes: 1, context })
    const [pid] = await pool.map(() => process.pid, [0])
    process.kill(pid!, 'SIGKILL')
    // Whether this call reaches the dying worker or the next one, it succeeds: it was not started.
    const next = await pool.apply(() => process.pid)
    assert.notEqual(next, pid)
  })

  test(
    'a worker that is killed from outside fails the item it was running',
    { skip: context !== 'spawn' },
    async () => {
      await using latches = await Latches.open()
      const { address } = latches
      await using pool = new Pool({ processes: 1, context })
      const mapped = pool.mapSettled(
        async (x: number) => {
          if (x === 2) await passLatch(address, String(process.pid))
          return x
        },
        range(4),
        { chunkSize: 4 },
      )
      const pid = pool.stats().workers[0]!.pid!
      await latches.arrival(String(pid))
      process.kill(pid, 'SIGKILL')
      const settled = await mapped
      assert.deepEqual(
        settled.map(each =>
          each.status === 'fulfilled' ? each.value : (each.reason as WorkerDiedError).signal,
        ),
        [0, 1, 'SIGKILL', 3],
      )
    },
  )

  test('an argument that cannot be rebuilt fails its own item', async () => {
    await using pool = new Pool({ processes: 1, context })
    const settled = await pool.mapSettled((item: unknown) => typeof item, [1, new Grenade(), 'x'])
    assert.deepEqual(
      settled.map(each => each.status),
      ['fulfilled', 'rejected', 'fulfilled'],
    )
    assert.ok(settled[1]?.status === 'rejected' && settled[1].reason instanceof SerializeError)
    assert.equal(settled[1].reason.code, 'ERR_NOT_DESERIALIZABLE')
    await assert.rejects(pool.apply((item: unknown) => typeof item, [new Grenade()]).get(), {
      code: 'ERR_NOT_DESERIALIZABLE',
    })
    assert.equal(await pool.apply(square, [2]), 4)
  })

  test('a result that cannot be rebuilt here fails its own item', async () => {
    await using pool = new Pool({ processes: 1, context })
    const settled = await pool.mapSettled(
      async (x: number) => {
        const { registerReducer: register } = await import('multiproc')
        class There {
          readonly x = x
        }
        if (x === 1) register({ type: There, name: 'test.There', encode: () => 1, decode: () => new There() })
        return x === 1 ? new There() : x
      },
      [0, 1, 2],
      { chunkSize: 3 },
    )
    assert.deepEqual(
      settled.map(each => each.status),
      ['fulfilled', 'rejected', 'fulfilled'],
    )
    assert.ok(settled[1]?.status === 'rejected' && settled[1].reason instanceof SerializeError)
  })
})
