/** With an addon, with one that is refused, and without: the library works, and says which of these it is. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { nativeAddon, nativeStatus } from '#src/platform/native-addon.js'

const root = new URL('../../../', import.meta.url)
const keepingAddon = fileURLToPath(new URL('test/fixtures/keeping-addon.cjs', root))
const program = `
  import { Lock, Pool, sharedArray } from 'multiproc'
  import { nativeStatus } from '${new URL('dist/platform/native-addon.js', root).href}'
  const pool = new Pool(1)
  const sum = await pool.apply((a, b) => a + b, [1, 2])
  const isAcquired = await pool.apply(lock => lock.acquireSync(), [new Lock()])
  let refused
  try {
    await pool.apply(array => 0, [sharedArray(Uint8Array, 1)])
  } catch (error) {
    refused = error.code
  }
  pool.close()
  await pool.join()
  console.log(JSON.stringify({ sum, isAcquired, refused, status: nativeStatus() }))
`

/** What the program prints with that value of MULTIPROC_NATIVE. */
function run(MULTIPROC_NATIVE: string, code = program, env: NodeJS.ProcessEnv = {}): Promise<unknown> {
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      ['--input-type=module', '-e', code],
      { cwd: fileURLToPath(root), env: { ...process.env, ...env, MULTIPROC_NATIVE }, timeout: 60_000 },
      (error, stdout, stderr) => {
        if (error === null && stderr === '') resolve(JSON.parse(stdout))
        else reject(new Error(stderr, { cause: error }))
      },
    )
  })
}

test('nativeStatus() says where the addon is from, or why there is none', () => {
  const status = nativeStatus()
  if (status.isOn) assert.match(status.path, /\.node$/)
  else assert.ok(status.reason.length > 0)
  assert.equal(nativeAddon() !== undefined, status.isOn)
})

test('MULTIPROC_NATIVE=0 switches the addon off', async () => {
  assert.deepEqual(await run('0'), {
    sum: 3,
    isAcquired: true,
    refused: 'ERR_NOT_SUPPORTED',
    status: { isOn: false, reason: 'MULTIPROC_NATIVE is 0' },
  })
})

test('a system that refuses shared memory is one without the addon', async () => {
  const addon = fileURLToPath(new URL('test/fixtures/refusing-addon.cjs', root))
  assert.deepEqual(await run(addon), {
    sum: 3,
    isAcquired: true,
    refused: 'ERR_NOT_SUPPORTED',
    status: {
      isOn: false,
      reason: 'this system refuses shared memory (shared memory: Function not implemented)',
    },
  })
})

test('memory that the system does not take back is zeros again for the next who takes it', async t => {
  const status = nativeStatus()
  if (!status.isOn) return t.skip('without the addon there is none')
  const memory = `
    import { SharedMemory } from 'multiproc'
    let dirty = 0
    // More than a process keeps for the next.
    for (let round = 0; round < 3; round++) {
      const memory = new SharedMemory({ size: 65 * 2 ** 20 })
      if (memory.buf.includes(7)) dirty++
      memory.buf.fill(7)
      memory.close()
    }
    console.log(JSON.stringify({ dirty }))
  `
  const env = { KEPT_ADDON: status.path, REFUSED: 'discard' }
  assert.deepEqual(await run(keepingAddon, memory, env), { dirty: 0 })
})

test('where a mapping cannot be emptied, a view that is left after close() has its memory to itself until it is collected', async t => {
  const status = nativeStatus()
  if (!status.isOn) return t.skip('without the addon there is no mapping')
  const memory = `
    import { setFlagsFromString } from 'node:v8'
    import { runInNewContext } from 'node:vm'
    import { SharedMemory } from 'multiproc'
    import { HEADER } from '${new URL('dist/platform/heap-layout.js', root).href}'
    import { sharedHeap } from '${new URL('dist/platform/shared-heap.js', root).href}'
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc')
    const fill = () => {
      const memory = new SharedMemory({ size: 300_000 })
      const view = memory.buf.fill(7)
      memory.close()
      return view
    }
    let view = fill()
    new SharedMemory({ size: 300_000 }).buf.fill(9)
    const isKept = view.every(byte => byte === 7)
    view = undefined
    let isUsedAgain = false
    for (let round = 0; round < 100 && !isUsedAgain; round++) {
      collect()
      await new Promise(resolve => setImmediate(resolve))
      const before = sharedHeap().words[HEADER.pageLimit]
      new SharedMemory({ size: 300_000 })
      isUsedAgain = sharedHeap().words[HEADER.pageLimit] === before
    }
    console.log(JSON.stringify({ isKept, isUsedAgain }))
  `
  const env = { KEPT_ADDON: status.path, REFUSED: 'unmap' }
  assert.deepEqual(await run(keepingAddon, memory, env), { isKept: true, isUsedAgain: true })
})

test('a binary that cannot be loaded is named, and not used', async () => {
  const { status } = (await run('/nowhere/multiproc.node')) as { status: { isOn: boolean; reason: string } }
  assert.equal(status.isOn, false)
  assert.match(status.reason, /^\/nowhere\/multiproc\.node cannot be loaded: /)
})

test(
  'a program goes on when the only thread that used the addon has ended',
  { skip: nativeAddon() === undefined },
  async () => {
    const code = `
      import { once } from 'node:events'
      import { Worker } from 'node:worker_threads'
      const worker = new Worker(
        "import('multiproc').then(async ({ DupFd, Queue }) => {" +
          'const queue = new Queue(); await queue.put(new DupFd(0)); (await queue.get()).close()' +
        '})',
        { eval: true },
      )
      await once(worker, 'exit')
      // Sleep: the addon's own threads look around every second, in code that must still be there.
      await new Promise(resolve => setTimeout(resolve, 1500))
      console.log('true')
    `
    assert.equal(await run('', code), true)
  },
)
