/** Children that use everything at once while others of them are killed at random: the survivors go on, nothing leaks. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore } from 'multiproc'
import { checkLeaks } from '../leak-check.js'
import { killed, sharingMethods, start } from './heap-children.js'

checkLeaks()

const KILLS = 12
const CHILDREN = 3
const PERMITS = 2

interface Shared {
  lock: Lock
  rlock: RLock
  permits: BoundedSemaphore
  condition: Condition
  stop: Event
  /** A permit for each round. */
  progress: Semaphore
}

async function useEverything(shared: Shared, hasBegun: Event): Promise<void> {
  const { lock, rlock, permits, condition, stop, progress } = shared
  hasBegun.set()
  const recover = true
  while (!stop.isSet()) {
    using permit = await permits.guard({ recover })
    lock.acquireSync({ recover })
    lock.release()
    {
      using outer = rlock.guardSync({ recover })
      using inner = await rlock.guard({ recover })
      assert.ok(outer && inner)
    }
    using held = await condition.guard({ recover })
    condition.notify()
    await condition.wait({ timeout: 1, recover })
    condition.notifyAll()
    assert.ok(permit && held)
    progress.release()
  }
}

for (const method of sharingMethods) {
  describe(method, () => {
    test('survivors of random kills go on, and everything is free in the end', async () => {
      const shared: Shared = {
        lock: new Lock(),
        rlock: new RLock(),
        permits: new BoundedSemaphore(PERMITS),
        condition: new Condition(),
        stop: new Event(),
        progress: new Semaphore(0),
      }
      const begin = (): { child: ReturnType<typeof start>; hasBegun: Event } => {
        const hasBegun = new Event()
        return { child: start<[Shared, Event], unknown>(method, useEverything, shared, hasBegun), hasBegun }
      }
      const children = Array.from({ length: CHILDREN }, begin)
      let random = Number(process.env['SEED'] ?? 1) >>> 0
      for (let kill = 0; kill < KILLS; kill++) {
        random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0
        // The survivors have come a random number of rounds further: none of them waits for the dead.
        for (let rounds = 1 + ((random >>> 8) % 20); rounds > 0; rounds--) await shared.progress.acquire()
        const at = (random >>> 16) % CHILDREN
        const { child, hasBegun } = children[at]!
        // A thread that is terminated while it loads its modules leaks descriptors, in Node.js itself.
        await hasBegun.wait()
        await killed(child)
        children[at] = begin()
      }
      shared.stop.set()
      for (const { child } of children) await child.result()
      for (const { child } of children) await child.join()
      assert.equal(shared.permits.getValue(), PERMITS)
      for (const lock of [shared.lock, shared.rlock, shared.condition]) {
        assert.equal(lock.acquireSync({ timeout: 0, recover: true }), true)
        lock.release()
      }
      assert.match(String(shared.condition), / 0 waiting/)
    })
  })
}
