/** Children that use everything at once while others of them are killed at random: the survivors go on, nothing leaks. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BoundedSemaphore, Condition, Event, Lock, RLock } from 'multiproc'
import { sharedHeap } from '#src/platform/shared-heap.js'
import { checkLeaks } from '../leak-check.js'
import { killed, sharingMethods, start } from './heap-children.js'

checkLeaks()

const KILLS = 12
const CHILDREN = 3
const PERMITS = 2
const KIND = 99

interface Shared {
  lock: Lock
  rlock: RLock
  permits: BoundedSemaphore
  condition: Condition
  stop: Event
  /** Of the word that counts rounds. */
  progress: number
}

async function useEverything(shared: Shared, hasBegun: Event): Promise<void> {
  const { lock, rlock, permits, condition, stop, progress } = shared
  hasBegun.set()
  const recover = true
  const heap = sharedHeap()
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
    Atomics.add(heap.words, progress, 1)
    heap.wake(progress)
  }
}

for (const method of sharingMethods) {
  describe(method, () => {
    test('survivors of random kills go on, and everything is free in the end', async () => {
      const heap = sharedHeap()
      const block = heap.allocate(KIND)
      const shared: Shared = {
        lock: new Lock(),
        rlock: new RLock(),
        permits: new BoundedSemaphore(PERMITS),
        condition: new Condition(),
        stop: new Event(),
        progress: block.base,
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
        const goal = Atomics.load(heap.words, block.base) + 1 + ((random >>> 8) % 20)
        for (;;) {
          const seen = Atomics.load(heap.words, block.base)
          if (seen >= goal) break
          await heap.waitAsync(block.base, seen, Infinity, heap.ends).outcome
        }
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
      block.release()
    })
  })
}
