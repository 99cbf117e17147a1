/** What becomes of clients, and of what they held, when the thread dies that serves them. The last act of its process. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Event, Lock, Process, Queue } from 'multiproc'
import { brokerServes, stopBroker } from '#src/broker/home.js'
import { sharedHeap } from '#src/platform/shared-heap.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

test(
  'when the broker dies, its clients are told, and what they held is given back',
  { skip: sharedHeap().isNative },
  async () => {
    const [held, asked] = [new Lock(), new Lock()]
    const isHeld = new Event()
    await asked.acquire()
    const codeOf = async (action: () => unknown): Promise<unknown> => {
      try {
        return await action()
      } catch (error) {
        return (error as { code: string }).code
      }
    }
    const args = [held, asked, isHeld, codeOf] as const
    const children = [true, false].map(
      isBlocking =>
        new Process({
          target: async (...[mine, other, hasBegun, outcomeOf]: typeof args) => {
            if (!isBlocking) await mine.acquire()
            // The broker may die between setting it and saying so.
            await outcomeOf(() => hasBegun.set())
            return [
              await outcomeOf(() => (isBlocking ? other.acquireSync() : other.acquire())),
              await outcomeOf(() => mine.locked()),
            ]
          },
          args,
          context: 'spawn',
        }),
    )
    for (const child of children) {
      isHeld.clear()
      child.start()
      await isHeld.wait()
    }
    await stopBroker()
    for (const child of children) assert.deepEqual(await child.result(), ['ERR_CLOSED', 'ERR_CLOSED'])
    for (const child of children) assert.equal(await child.join(), 0)
    await assert.rejects(held.acquire(), { code: 'ERR_OWNER_DIED' })
    const late = new Process({ target: (queue: Queue) => queue.size, args: [new Queue()], context: 'spawn' })
    assert.throws(() => late.start(), { code: 'ERR_START_FAILED' })
    await assert.rejects(brokerServes(), { code: 'ERR_START_FAILED' })
  },
)
