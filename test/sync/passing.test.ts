/** How locks and the like reach other processes: as arguments, in functions, in results, in tasks of a running pool. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  Barrier,
  BoundedSemaphore,
  Condition,
  Event,
  Lock,
  Pool,
  RawValue,
  RLock,
  Semaphore,
} from 'multiproc'
import { nativeAddon } from '#src/platform/native-addon.js'
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

/** Without the addon each step of a process is a message. */
const TIMES = nativeAddon() === undefined ? 200 : 5000
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
      const number = new RawValue('int32')
      await Promise.all([pool.apply(count, [lock, number, 500]), pool.apply(countAsync, [lock, number, 500])])
      assert.equal(number.value, 1000)
      await pool.map(async () => {
        const held = await lock.guard()
        held.release()
      }, [1, 2, 3])
    })

    test('two children with two threads each count under a lock, and lose none', async () => {
      const lock = new Lock()
      const number = new RawValue('int32')
      const children = [0, 1].map(() => start(method, countInFour, lock, number, TIMES))
      for (const child of children) await child.result()
      for (const child of children) await child.join()
      assert.equal(number.value, 4 * TIMES)
    })

    test('a lock that a child made and returned is shared with it', async () => {
      const made = start(method, () => new Lock())
      const lock = await made.result()
      await made.join()
      assert.ok(lock instanceof Lock)
      if (method === 'spawn' && nativeAddon() === undefined) {
        // Its memory was the child's.
        await assert.rejects(lock.acquire(), { code: 'ERR_CLOSED', message: /has ended|cannot be reached/ })
        return
      }
      assert.equal(await lock.acquire(), true)
      assert.equal(await call(method, (there: Lock) => there.acquireSync({ timeout: 0 }), lock), false)
    })
  })
}
