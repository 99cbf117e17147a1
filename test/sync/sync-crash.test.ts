/** What happens when a process or thread is killed: as the holder of something, and while it waits. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore } from 'multiproc'
import { sharedHeap } from '#src/platform/shared-heap.js'
import { Latches, passLatch } from '../latch.js'
import { checkLeaks, eventually } from '../leak-check.js'
import { call, killed, sharingMethods, start } from './heap-children.js'
import {
  acquireAndTell,
  acquireSyncAndTell,
  failAtBarrier,
  failAtBarrierSync,
  holdUntilReleased,
  waitForEvent,
  waitForEventSync,
  waitOnce,
  waitOnceSync,
} from './tasks.js'

checkLeaks()

const OWNER_DIED = { code: 'ERR_OWNER_DIED' }
const BROKEN = 'ERR_BROKEN_BARRIER'
const kinds = {
  Lock: () => new Lock(),
  RLock: () => new RLock(),
  'Semaphore(1)': () => new Semaphore(),
  'BoundedSemaphore(1)': () => new BoundedSemaphore(),
}

for (const method of sharingMethods) {
  describe(method, () => {
    for (const [name, make] of Object.entries(kinds)) {
      test(`${name}: when the holder is killed, all who wait get it, and the first is told`, async () => {
        await using latches = await Latches.open()
        const lock = make()
        const holder = start(method, holdUntilReleased, lock, latches.address, 'held')
        await latches.arrival('held')
        const ready = [new Event(), new Event()]
        const children = [
          start(method, acquireAndTell, lock, ready[0]),
          start(method, acquireSyncAndTell, lock, ready[1]),
        ]
        for (const event of ready) await event.wait()
        const here = acquireAndTell(lock)
        await killed(holder)
        const ways = [await here]
        for (const child of children) ways.push(await child.result())
        assert.deepEqual(ways.toSorted(), ['ERR_OWNER_DIED', 'free', 'free'])
        for (const child of children) await child.join()
        assert.equal(await lock.acquire({ timeout: 0 }), true)
      })

      test(`${name}: guard() tells everybody that a holder was killed, until one takes it over`, async () => {
        await using latches = await Latches.open()
        const lock = make()
        const holder = start(method, holdUntilReleased, lock, latches.address, 'held')
        await latches.arrival('held')
        await killed(holder)
        await assert.rejects(lock.guard(), OWNER_DIED)
        assert.throws(() => lock.guardSync(), OWNER_DIED)
        {
          using held = await lock.guard({ recover: true })
          assert.equal(held.ownerDied, true)
          assert.equal(await call(method, acquireOnceWith, lock), false)
        }
        using again = lock.guardSync()
        assert.equal(again.ownerDied, false)
      })

      test(`${name}: with "recover", acquire() takes over in silence; without, the error comes with it held`, async () => {
        await using latches = await Latches.open()
        const lock = make()
        for (const recover of [true, false]) {
          const latch = `recover ${recover}`
          const holder = start(method, holdUntilReleased, lock, latches.address, latch)
          await latches.arrival(latch)
          await killed(holder)
          if (recover) assert.equal(await lock.acquire({ recover }), true)
          else assert.throws(() => lock.acquireSync(), OWNER_DIED)
          assert.equal(await call(method, acquireOnceWith, lock), false)
          lock.release()
          assert.equal(await call(method, acquireOnceWith, lock), true)
        }
      })

      // Elsewhere the end of a thread is seen in the event loop alone, when there is no addon.
      const isTold = process.platform === 'linux' || sharedHeap().isNative
      test(
        `${name}: who is blocked is told that the holder is killed meanwhile`,
        { skip: !isTold },
        async () => {
          await using latches = await Latches.open()
          const lock = make()
          const holder = start(method, holdUntilReleased, lock, latches.address, 'held')
          await latches.arrival('held')
          holder.kill()
          assert.throws(() => lock.acquireSync({ timeout: 30_000 }), OWNER_DIED)
          lock.release()
          await killed(holder)
        },
      )

      for (const [form, task] of [
        ['async', acquireAndTell],
        ['blocking', acquireSyncAndTell],
      ] as const) {
        test(`${name}: a waiter that is killed is skipped (${form})`, async () => {
          const lock = make()
          await lock.acquire()
          const isReady = new Event()
          const victim = start<Parameters<typeof task>, unknown>(method, task, lock, isReady)
          await isReady.wait()
          isReady.clear()
          const other = start(method, acquireAndTell, lock, isReady)
          await isReady.wait()
          await killed(victim)
          lock.release()
          assert.equal(await other.result(), 'free')
          await other.join()
          assert.equal(await lock.acquire(), true)
        })
      }
    }

    test('the permits of a killed holder come back, those of others do not', async () => {
      await using latches = await Latches.open()
      const semaphore = new BoundedSemaphore(5)
      const holders = ['first', 'second'].map(name =>
        start(method, holdTwoPermits, semaphore, latches.address, name),
      )
      await latches.arrival('first')
      await latches.arrival('second')
      assert.equal(semaphore.getValue(), 1)
      await killed(holders[0]!)
      assert.equal(semaphore.getValue(), 3)
      latches.release('second')
      await holders[1]!.join()
      assert.equal(semaphore.getValue(), 5)
      assert.throws(() => semaphore.release(), { code: 'ERR_INVALID_STATE' })
    })

    test('a permit that another process gives back is not given back again when its holder is killed', async () => {
      await using latches = await Latches.open()
      const semaphore = new Semaphore(2)
      const holder = start(method, holdUntilReleased, semaphore, latches.address, 'held')
      await latches.arrival('held')
      semaphore.release()
      assert.equal(semaphore.getValue(), 2)
      await killed(holder)
      assert.equal(semaphore.getValue(), 2)
      semaphore.release()
      assert.equal(semaphore.getValue(), 3)
    })

    for (const [form, task] of [
      ['async', waitOnce],
      ['blocking', waitOnceSync],
    ] as const) {
      test(`a killed waiter of a condition is no longer notified (${form})`, async () => {
        const condition = new Condition()
        const [sleeping, woken] = [new Semaphore(0), new Semaphore(0)]
        const [victim, other] = [0, 1].map(() =>
          start<Parameters<typeof task>, unknown>(method, task, condition, sleeping, woken),
        ) as [ReturnType<typeof start>, ReturnType<typeof start>]
        await sleeping.acquire()
        await sleeping.acquire()
        // They say so with the lock in hand, and give it back when they wait.
        await condition.acquire()
        condition.release()
        await killed(victim)
        const held = await condition.guard()
        assert.match(String(condition), / 1 waiting/)
        condition.notify()
        held.release()
        assert.equal(await other.result(), true)
        await other.join()
        assert.match(String(condition), / 0 waiting/)
      })
    }

    // In another process without shared memory, a blocked thread does not keep its wait from taking the notification.
    const isByBroker = method === 'spawn' && !sharedHeap().isNative
    test(
      'a notification that a killed waiter did not take passes to another one',
      { skip: isByBroker },
      async () => {
        const condition = new Condition()
        const never = new Lock()
        await never.acquire()
        const isWaiting = new Event()
        const victim = start(method, waitAndBlock, condition, never, isWaiting)
        await isWaiting.wait()
        const held = await condition.guard()
        // Ours begins later, so that the first notification goes to the victim, which cannot take it.
        condition.notify()
        const here = condition.wait()
        await eventually(() => !condition.lock.locked())
        await killed(victim)
        assert.equal(await here, true)
        held.release()
        assert.match(String(condition), / 0 waiting/)
      },
    )

    test('when the holder of the lock of a condition is killed, its waiter is told', async () => {
      await using latches = await Latches.open()
      const condition = new Condition()
      await condition.acquire()
      const child = start(method, notifyAndHold, condition, latches.address)
      const told = assert.rejects(condition.wait(), OWNER_DIED)
      await latches.arrival('notified')
      await killed(child)
      await told
      condition.release()
    })

    for (const [form, task] of [
      ['async', waitForEvent],
      ['blocking', waitForEventSync],
    ] as const) {
      test(`a killed waiter of an event holds nobody up (${form})`, async () => {
        const event = new Event()
        const victim = start<[Event], unknown>(method, task, event)
        const other = start<[Event], unknown>(method, task, event)
        const here = event.wait()
        await killed(victim)
        event.set()
        assert.equal(await here, true)
        assert.equal(await other.result(), true)
        await other.join()
      })
    }

    for (const [form, task] of [
      ['async', failAtBarrier],
      ['blocking', failAtBarrierSync],
    ] as const) {
      test(`a barrier breaks when a party is killed that waits at it (${form})`, async () => {
        const barrier = new Barrier(4)
        const [victim, other] = [0, 1].map(() => start<[Barrier], unknown>(method, task, barrier)) as [
          ReturnType<typeof start>,
          ReturnType<typeof start>,
        ]
        const here = failAtBarrier(barrier)
        await eventually(() => barrier.nWaiting === 3)
        await killed(victim)
        assert.equal(await here, BROKEN)
        assert.equal(await other.result(), BROKEN)
        await other.join()
        assert.ok(barrier.isBroken)
        barrier.reset()
        assert.equal(barrier.nWaiting, 0)
      })
    }

    test('a barrier breaks when the party is killed that runs the action', async () => {
      await using latches = await Latches.open()
      const { address } = latches
      const barrier = new Barrier(2, { action: () => passLatch(address, 'acting') })
      const here = failAtBarrier(barrier)
      const child = start(method, failAtBarrier, barrier)
      await latches.arrival('acting')
      await killed(child)
      assert.equal(await here, BROKEN)
    })
  })
}

async function acquireOnceWith(lock: Lock | RLock | Semaphore): Promise<boolean> {
  const isAcquired = await lock.acquire({ timeout: 0 })
  if (isAcquired) lock.release()
  return isAcquired
}

async function holdTwoPermits(semaphore: Semaphore, address: string, name: string): Promise<void> {
  await semaphore.acquire()
  await semaphore.acquire()
  await passLatch(address, name)
  semaphore.release()
  semaphore.release()
}

/** Waits for the condition, and blocks its thread, so that it cannot take a notification. */
async function waitAndBlock(condition: Condition, never: Lock, isWaiting: Event): Promise<void> {
  await condition.acquire()
  void condition.wait()
  isWaiting.set()
  never.acquireSync()
}

async function notifyAndHold(condition: Condition, address: string): Promise<void> {
  await condition.acquire()
  condition.notify()
  await passLatch(address, 'notified')
}
