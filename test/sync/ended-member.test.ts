/** What becomes of those who wait for a client of another process, without shared memory, when that has ended. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Condition, RLock } from 'multiproc'
import { actAs, sharedHeap } from '#src/platform/shared-heap.js'
import { decode, encode } from '#src/serialize/codec.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

test(
  'who was notified, and ended while it waited for the lock, does not get it',
  { skip: sharedHeap().isNative },
  async () => {
    for (const condition of [new Condition(), new Condition(new RLock())]) {
      const bytes = encode(condition)
      const member = sharedHeap().anotherMember()
      // As the broker does it for a client.
      const theirs = actAs(member, () => decode(bytes) as Condition)
      await actAs(member, () => theirs.acquire())
      const waiting = actAs(member, () => theirs.wait())
      await condition.acquire()
      condition.notify()
      // It has seen the notification when nobody waits for one any more, and waits for the lock then.
      while (/1 waiting/.test(String(condition))) await new Promise(resolve => setImmediate(resolve))
      member.end()
      sharedHeap().reap()
      condition.release()
      await assert.rejects(waiting, { code: 'ERR_CLOSED' })
      assert.equal(await condition.acquire(), true)
      condition.release()
    }
  },
)
