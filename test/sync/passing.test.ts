/** How locks and the like reach other processes: as arguments, in functions, in results, in tasks of a running pool. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Barrier, BoundedSemaphore, Condition, Event, Lock, Pool, Process, RLock, Semaphore } from 'multiproc'
import { nativeAddon } from '#src/platform/native-addon.js'
import { sharedHeap } from '#src/platform/shared-heap.js'
import { decode, encode } from '#src/serialize/codec.js'
import { checkLeaks } from '../leak-check.js'
import { call, sharingMethods, start } from './heap-children.js'
import { count, countAsync, countInFour } from './count.js'

checkLeaks()

type Primitive = Lock | RLock | Semaphore | Condition | Event | Barrier

const all = (): Primitive[] => [
  new Lock(),
  new RLock(),
  new Semaphore(2),
  new BoundedSemaphore(2),
  new Condition(),
  new Event(),
  new Barrier(2),
]

const KIND = 99
/** Encodes as for a thread, which can have everything. */
const attach = (): undefined => undefined

test('what arrives where it came from is the same object', () => {
  for (const object of all()) assert.equal(decode(encode(object, { attach })), object)
  for (const object of all())
    assert.equal((decode(encode(() => object, { attach })) as () => object)(), object)
})

test('a condition arrives with its lock, and two conditions with the one that they share', () => {
  const lock = new RLock()
  const pair = [new Condition(lock), new Condition(lock)]
  const [first, second] = decode(encode(pair, { attach })) as [Condition, Condition]
  assert.equal(first.lock, lock)
  assert.equal(second.lock, lock)
})

test(
  'to another process, without shared memory, the call fails that would send it',
  { skip: nativeAddon() !== undefined },
  async () => {
    for (const object of all()) {
      const unsupported = { code: 'ERR_NOT_SUPPORTED' }
      assert.throws(() => encode([object]), unsupported)
      const child = new Process({ target: (it: Primitive) => String(it), args: [object], context: 'spawn' })
      assert.throws(() => child.start(), unsupported)
      await using pool = new Pool({ processes: 1, context: 'spawn' })
      await assert.rejects(async () => await pool.apply(() => String(object)), unsupported)
    }
  },
)

for (const method of sharingMethods) {
  describe(method, () => {
    test('all of them can be arguments and captured variables, and come back as results', async () => {
      for (const object of all()) {
        const child = start(method, (it: Primitive) => [it, String(it) === String(object)], object)
        const [returned, isSame] = (await child.result()) as [Primitive, boolean]
        assert.equal(returned, object)
        assert.ok(isSame, String(object))
        await child.join()
      }
    })

    test('a pool that runs already gets them in its tasks', async () => {
      await using pool = new Pool({ processes: 2, context: method })
      await pool.map((item: number) => item, [1, 2])
      const lock = new Lock()
      const block = sharedHeap().allocate(KIND)
      await Promise.all([
        pool.apply(count, [lock, block.base, 500]),
        pool.apply(countAsync, [lock, block.base, 500]),
      ])
      assert.equal(sharedHeap().words[block.base], 1000)
      await pool.map(async () => {
        const held = await lock.guard()
        held.release()
      }, [1, 2, 3])
      block.release()
    })

    test('two children with two threads each count to 20,000 under a lock, and lose none', async () => {
      const lock = new Lock()
      const block = sharedHeap().allocate(KIND)
      const children = [0, 1].map(() => start(method, countInFour, lock, block.base, 5000))
      for (const child of children) await child.result()
      for (const child of children) await child.join()
      assert.equal(sharedHeap().words[block.base], 20_000)
      block.release()
    })

    test('a lock that a child made and returned is shared with it', async () => {
      const made = start(method, () => new Lock())
      const lock = await made.result()
      await made.join()
      assert.ok(lock instanceof Lock)
      assert.equal(await lock.acquire(), true)
      assert.equal(await call(method, (there: Lock) => there.acquireSync({ timeout: 0 }), lock), false)
    })
  })
}
