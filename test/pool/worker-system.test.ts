/** How the system runs workers: priority, CPUs, thread pools; and pools in workers of pools. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, readdirSync } from 'node:fs'
import { describe, test } from 'node:test'
import { isMainThread } from 'node:worker_threads'
import { Pool, type ProcessError, currentTask } from 'multiproc'
import { parseCpuList, pinnableCpus } from '#src/platform/scheduling.js'
import { nativeStatus } from '#src/platform/native-addon.js'
import { forEachStartMethod } from '../conformance.js'
import { checkLeaks, eventually } from '../leak-check.js'

checkLeaks()

const isLinux = process.platform === 'linux'
const canPin = isLinux && nativeStatus().isOn
const cpus = canPin ? pinnableCpus() : []

/** The CPUs and the niceness of every thread of a process, or of the thread that asks. */
const scheduling = (): { cpus: string[]; niceness: number[] } => {
  const paths = isMainThread
    ? readdirSync('/proc/self/task').map(id => `/proc/self/task/${id}`)
    : ['/proc/thread-self']
  const unique = <T>(values: T[]): T[] => [...new Set(values)]
  return {
    cpus: unique(
      paths.map(path => /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync(`${path}/status`, 'utf8'))![1]!),
    ),
    niceness: unique(
      paths.map(path => {
        const stat = readFileSync(`${path}/stat`, 'utf8')
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16])
      }),
    ),
  }
}

forEachStartMethod(context => {
  describe('niceness', { skip: !isLinux }, () => {
    test('is that of all threads of a process, and of a thread alone', async () => {
      await using pool = new Pool({ processes: 1, context, niceness: 7 })
      assert.deepEqual((await pool.apply(scheduling)).niceness, [7])
      assert.notDeepEqual(scheduling().niceness, [7])
    })
  })

  describe('affinity', { skip: !canPin }, () => {
    test('spread gives each worker a CPU of its own, in turn', async () => {
      await using pool = new Pool({ processes: cpus.length, context, affinity: 'spread' })
      await pool.resize(cpus.length)
      const lists = await pool.map(
        async () => {
          // Sleep: longer than a message takes, so that every worker has one of the items.
          await new Promise(resolve => setTimeout(resolve, 100))
          return scheduling().cpus
        },
        cpus,
        { chunkSize: 1 },
      )
      assert.deepEqual(
        lists.flat().toSorted((a, b) => Number(a) - Number(b)),
        cpus.map(String),
      )
    })

    test('as a list gives each worker its entry, also one that takes the place of another', async () => {
      const [first] = cpus
      const all = [first!, cpus.at(-1)!]
      await using pool = new Pool({
        processes: 1,
        context,
        affinity: [first!, all],
        spares: 1,
        maxTasksPerChild: 1,
      })
      await eventually(() => pool.stats().workers.filter(each => each.state === 'ready').length === 2)
      for (let round = 0; round < 3; round++) {
        assert.deepEqual((await pool.apply(scheduling)).cpus, [String(first)])
      }
    })

    test('refuses a CPU that this program may not use', () => {
      for (const bad of [[-1], [99_999], [[]], ['0']]) {
        const make = (): Pool => new Pool({ processes: 1, context, affinity: bad as number[] })
        assert.throws(make, { code: 'ERR_INVALID_ARGUMENT', message: /"affinity"/ })
      }
    })
  })

  test('affinity without the means for it is ERR_NOT_SUPPORTED at the call', { skip: canPin }, () => {
    assert.throws(() => new Pool({ processes: 1, context, affinity: 'spread' }), {
      code: 'ERR_NOT_SUPPORTED',
    })
  })

  describe('a pool in a worker of a pool', () => {
    /** Calls itself in a pool of its own until that is refused, and says how deep it came. */
    const recurse = async (depth: number): Promise<{ depth: number; error: unknown }> => {
      const { Pool: Inner } = await import('multiproc')
      try {
        await using pool = new Inner(1)
        return await pool.apply(recurse, [depth + 1])
      } catch (error) {
        return { depth, error }
      }
    }

    test('works, until three are nested: a function that gives itself to a pool comes to an end', async () => {
      await using pool = new Pool({ processes: 1, context })
      const { depth, error } = await pool.apply(recurse, [1])
      assert.equal(depth, 3)
      assert.equal((error as ProcessError).code, 'ERR_LIMIT')
      assert.match((error as Error).message, /4 pools deep.*MULTIPROC_MAX_DEPTH/s)
    })

    test('may have so many workers that all together stay below the limit of a program', async () => {
      await using pool = new Pool({ processes: 4, context })
      const tooMany = async (count: number): Promise<unknown> => {
        const { Pool: Inner } = await import('multiproc')
        try {
          return await new Inner(count).terminate()
        } catch (error) {
          return error
        }
      }
      const error = (await pool.apply(tooMany, [125])) as ProcessError
      assert.equal(error.code, 'ERR_LIMIT')
      assert.match(error.message, /may have 124 together/)
      const growing = async (): Promise<unknown> => {
        const { Pool: Inner } = await import('multiproc')
        const inner = new Inner(1)
        try {
          return await inner.resize(200)
        } catch (thrown) {
          return thrown
        } finally {
          await inner.terminate()
        }
      }
      assert.equal(((await pool.apply(growing)) as ProcessError).code, 'ERR_LIMIT')
    })

    test('counts pools in processes that its workers start', async () => {
      await using pool = new Pool({ processes: 2, context })
      const inProcess = async (count: number): Promise<string> => {
        const { Process: Child } = await import('multiproc')
        const target = async (): Promise<string> => {
          const { Pool: Inner } = await import('multiproc')
          try {
            await new Inner(count).terminate()
            return 'made'
          } catch (error) {
            return (error as ProcessError).message
          }
        }
        const child = new Child({ target, context: 'thread' })
        child.start()
        return await child.result()
      }
      assert.equal(await pool.apply(inProcess, [1]), 'made')
      assert.match(await pool.apply(inProcess, [250]), /may have 249 together/)
    })
  })
})

describe('a pool in a worker of a pool', () => {
  test('is limited by the environment of the main program', async () => {
    const before = process.env['MULTIPROC_MAX_DEPTH']
    process.env['MULTIPROC_MAX_DEPTH'] = '1'
    try {
      await using pool = new Pool(1)
      const nest = async (): Promise<unknown> => {
        const { Pool: Inner } = await import('multiproc')
        try {
          return await new Inner(1).terminate()
        } catch (error) {
          return (error as ProcessError).code
        }
      }
      assert.equal(await pool.apply(nest), 'ERR_LIMIT')
      process.env['MULTIPROC_MAX_DEPTH'] = 'deep'
      assert.throws(() => new Pool(1), { code: 'ERR_INVALID_ARGUMENT', message: /MULTIPROC_MAX_DEPTH/ })
    } finally {
      if (before === undefined) delete process.env['MULTIPROC_MAX_DEPTH']
      else process.env['MULTIPROC_MAX_DEPTH'] = before
    }
  })
})

test(
  'a niceness that the system refuses breaks the pool with ERR_START_FAILED',
  { skip: !isLinux },
  async () => {
    const program = `import { Pool } from ${JSON.stringify(import.meta.resolve('multiproc'))}
    const pool = new Pool({ processes: 1, niceness: -20 })
    const failure = await pool.apply(x => x, [1]).catch(error => error)
    console.log(failure.name, failure.code, /niceness -20.*EACCES/.test(failure.message), failure.cause.code)
    await pool.join()`
    // The superuser is refused nothing.
    const user = process.getuid!() === 0 ? { uid: 65_534, gid: 65_534 } : {}
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { cwd: '/', ...user })
    let output = ''
    child.stdout.on('data', data => (output += String(data)))
    child.stderr.on('data', data => (output += String(data)))
    await once(child, 'close')
    assert.equal(output, 'BrokenPoolError ERR_START_FAILED true ERR_START_FAILED\n')
  },
)

test('threadPoolSize is the size of the thread pool of each worker', async () => {
  await using pool = new Pool({ processes: 1, threadPoolSize: 7 })
  assert.equal(await pool.apply(() => process.env['UV_THREADPOOL_SIZE']), '7')
  assert.equal(await pool.apply(() => currentTask().workerName), 'PoolWorker-1')
})

test('parseCpuList() reads what the kernel writes', () => {
  assert.deepEqual(parseCpuList('0'), [0])
  assert.deepEqual(parseCpuList('0-2,5,8-9'), [0, 1, 2, 5, 8, 9])
})
