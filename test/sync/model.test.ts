/** Every primitive in all orders of a few actors: nobody is forgotten, and a kill anywhere harms nobody else. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BarrierState } from '#src/sync/barrier-state.js'
import { ConditionState } from '#src/sync/condition-state.js'
import { EventState } from '#src/sync/event-state.js'
import { LockWord } from '#src/sync/lock-word.js'
import { SemaphoreState } from '#src/sync/semaphore-state.js'
import { runInAllOrders, type Scenario, until, type World } from './model.js'

const SEED = Number(process.env['SEED'] ?? 1)

/** Declares a test without kills, and one in which the actor `a` may be killed anywhere. */
function inAllOrders(name: string, scenario: Scenario['set'], preemptions = 1): void {
  test(`${name}, in all orders`, context => {
    const orders = runInAllOrders({ preemptions, set: scenario }, SEED)
    context.diagnostic(`${orders} orders`)
  })
  test(`${name}, when one is killed anywhere`, context => {
    const orders = runInAllOrders({ preemptions, victim: 'a', set: scenario }, SEED)
    context.diagnostic(`${orders} orders`)
  })
}

function assertAllEnded(world: World): void {
  assert.deepEqual(
    world.actors.filter(({ state }) => state !== 'done' && state !== 'dead').map(({ name }) => name),
    [],
  )
}

for (const count of [2, 3]) {
  inAllOrders(
    `a lock is held by one of ${count} and had by all`,
    world => {
      const { base } = world.newBlock()
      let holder: string | undefined
      let abandoned = 0
      for (const name of ['a', 'b', 'c'].slice(0, count)) {
        world.add(name, function* (heap) {
          const lock = new LockWord(heap, base)
          const acquired = yield* until(heap, sleep => lock.attempt(sleep))
          if (acquired === 'abandoned') abandoned++
          assert.ok(holder === undefined || holder === world.victim?.name)
          holder = name
          yield undefined
          assert.equal(holder, name)
          holder = undefined
          lock.release()
        })
      }
      return () => {
        assertAllEnded(world)
        assert.ok(abandoned <= (world.victim ? 1 : 0))
      }
    },
    count === 2 ? 3 : 1,
  )
}

inAllOrders('a guard that finds an ended owner leaves the sign for the next one', world => {
  const { base } = world.newBlock()
  const found: string[] = []
  for (const name of ['a', 'b', 'c']) {
    world.add(name, function* (heap) {
      const lock = new LockWord(heap, base)
      const acquired = yield* until(heap, sleep => lock.attempt(sleep))
      yield undefined
      found.push(acquired)
      if (acquired === 'abandoned' && name === 'b') lock.abandon()
      else lock.release()
    })
  }
  return () => {
    assertAllEnded(world)
    // If b was told and left it at that, so is c, unless it was there before.
    assert.ok(found.length >= (world.victim ? 2 : 3))
  }
})

for (const permits of [1, 2]) {
  inAllOrders(`a semaphore of ${permits} lets so many of three in, and has all permits in the end`, world => {
    const block = world.newBlock()
    const control = world.heap(7)
    const semaphore = new SemaphoreState(control, [block], permits)
    const inside = new Set<string>()
    for (const name of ['a', 'b', 'c']) {
      world.add(name, function* (heap) {
        const own = new SemaphoreState(heap, [block])
        yield* until(heap, sleep => own.attempt(sleep))
        if (world.victim) inside.delete(world.victim.name)
        inside.add(name)
        assert.ok(inside.size <= permits)
        yield undefined
        inside.delete(name)
        assert.notEqual(own.release({ canGrow: false }), 'notHeld')
      })
    }
    return () => {
      assertAllEnded(world)
      assert.equal(semaphore.value, permits)
    }
  })
}

inAllOrders('permits that one side adds and the other takes are all taken', world => {
  const block = world.newBlock()
  const semaphore = new SemaphoreState(world.heap(7), [block], 0)
  let added = 0
  let taken = 0
  world.add('a', function* (heap) {
    const own = new SemaphoreState(heap, [block])
    for (let time = 0; time < 2; time++) {
      own.release({ canGrow: true })
      added++
      yield undefined
    }
  })
  for (const name of ['b', 'c']) {
    world.add(name, function* (heap) {
      const own = new SemaphoreState(heap, [block])
      yield* until(heap, sleep => own.attempt(sleep))
      taken++
    })
  }
  return () => {
    if (!world.victim) assertAllEnded(world)
    // Who adds may be killed after the permit was there and before it has said so.
    assert.ok(taken >= added && taken <= 2)
    assert.equal(semaphore.value, 0)
  }
})

inAllOrders('everybody who waits for a condition is told when it is so', world => {
  const { base } = world.newBlock()
  const block = world.newBlock()
  const facts = { isSo: false }
  for (const name of ['a', 'b']) {
    world.add(name, function* (heap) {
      const lock = new LockWord(heap, base)
      const condition = new ConditionState(heap, [block])
      yield* until(heap, sleep => lock.attempt(sleep))
      while (!facts.isSo) {
        condition.join()
        lock.release()
        yield* until(heap, sleep => condition.attempt(sleep))
        yield* until(heap, sleep => lock.attempt(sleep))
      }
      lock.release()
    })
  }
  world.add('c', function* (heap) {
    const lock = new LockWord(heap, base)
    const condition = new ConditionState(heap, [block])
    yield* until(heap, sleep => lock.attempt(sleep))
    facts.isSo = true
    condition.notify(Infinity)
    lock.release()
  })
  return () => {
    assertAllEnded(world)
    assert.equal(new ConditionState(world.heap(7), [block]).waiting, 0)
  }
})

inAllOrders('one notification wakes one of two, and passes to the other when the first is killed', world => {
  const block = world.newBlock()
  const woken: string[] = []
  let notified = 0
  let waiting = 0
  for (const name of ['a', 'b']) {
    world.add(name, function* (heap) {
      const condition = new ConditionState(heap, [block])
      condition.join()
      waiting++
      yield* until(heap, sleep => condition.attempt(sleep))
      woken.push(name)
    })
  }
  world.add('c', function* (heap) {
    const condition = new ConditionState(heap, [block])
    yield undefined
    notified = condition.notify(1)
  })
  return () => {
    const died = world.victim !== undefined
    // The victim may be killed after it has taken its notification and before it has said so.
    assert.ok(woken.length <= notified)
    if (!died) assert.equal(woken.length, notified)
    const { waiting: left } = new ConditionState(world.heap(7), [block])
    const alive = world.actors.filter(({ state }) => state === 'asleep').length
    assert.equal(left, alive)
    assert.ok(waiting <= 2)
  }
})

inAllOrders('who gives up either has a notification or leaves it to another', world => {
  const block = world.newBlock()
  let notified = 0
  let taken = 0
  world.add('a', function* (heap) {
    const condition = new ConditionState(heap, [block])
    condition.join()
    yield undefined
    if (condition.leave({ isPassedOn: false })) taken++
  })
  world.add('b', function* (heap) {
    const condition = new ConditionState(heap, [block])
    condition.join()
    yield* until(heap, sleep => condition.attempt(sleep))
    taken++
  })
  world.add('c', function* (heap) {
    const condition = new ConditionState(heap, [block])
    yield undefined
    notified += condition.notify(1)
    yield undefined
    notified += condition.notify(1)
  })
  return () => {
    if (!world.victim) assert.equal(taken, notified)
    const { waiting } = new ConditionState(world.heap(7), [block])
    assert.equal(waiting, world.actors.filter(({ state }) => state === 'asleep').length)
  }
})

inAllOrders('who waits for an event goes on, also when it is set and cleared at once', world => {
  const { base } = world.newBlock()
  // All begin to wait before it is set, and look at it at any time afterwards.
  const { count } = new EventState(world.heap(7), base)
  for (const name of ['a', 'b']) {
    world.add(name, function* (heap) {
      const event = new EventState(heap, base)
      yield* until(heap, sleep => event.attempt(sleep, count))
    })
  }
  world.add('c', function* (heap) {
    const event = new EventState(heap, base)
    yield undefined
    event.set()
    event.clear()
  })
  return () => assertAllEnded(world)
})

inAllOrders('three parties pass a barrier together, twice', world => {
  const block = world.newBlock()
  const barrier = new BarrierState(world.heap(7), [block], 3)
  const rounds: number[][] = [[], []]
  const begun = [0, 0]
  const codes: string[] = []
  for (const name of ['a', 'b', 'c']) {
    world.add(name, function* (heap) {
      const own = new BarrierState(heap, [block])
      for (const [round, indexes] of rounds.entries()) {
        begun[round]!++
        const index = yield* until(heap, sleep => own.enter(sleep, { hasAction: false }))
        if (index === 'broken') {
          codes.push(name)
          return
        }
        indexes.push(index)
        const end = yield* until(heap, sleep => own.leave(sleep))
        if (end === 'broken') {
          codes.push(name)
          return
        }
        assert.equal(begun[round], 3)
      }
    })
  }
  return () => {
    if (!world.victim) {
      assertAllEnded(world)
      assert.deepEqual(codes, [])
      for (const indexes of rounds)
        assert.deepEqual(
          indexes.toSorted((x, y) => x - y),
          [0, 1, 2],
        )
      assert.equal(barrier.waiting, 0)
      return
    }
    // The others wait only for one that was killed outside.
    const asleep = world.actors.filter(({ state }) => state === 'asleep').length
    if (asleep > 0) assert.equal(barrier.waiting, asleep)
    assert.ok(asleep === 0 || codes.length === 0)
  }
})

inAllOrders('the action is run once, by one of two, before both go on', world => {
  const block = world.newBlock()
  const barrier = new BarrierState(world.heap(7), [block], 2)
  let actions = 0
  const ends: string[] = []
  for (const name of ['a', 'b']) {
    world.add(name, function* (heap) {
      const own = new BarrierState(heap, [block])
      const index = yield* until(heap, sleep => own.enter(sleep, { hasAction: true }))
      if (index === 'broken') ends.push(index)
      else if (index === 1) {
        yield undefined
        actions++
        ends.push(own.endAction({ isDone: true }) ? 'passed' : 'broken')
      } else {
        const end = yield* until(heap, sleep => own.leave(sleep))
        if (end === 'passed') assert.equal(actions, 1)
        ends.push(end)
      }
    })
  }
  return () => {
    if (!world.victim) assert.deepEqual(ends, ['passed', 'passed'])
    const asleep = world.actors.filter(({ state }) => state === 'asleep').length
    assert.equal(barrier.waiting, asleep)
  }
})

test('a ledger has room for more members than one block', () => {
  const set = (world: World): (() => void) => {
    const block = world.newBlock()
    const states = Array.from(
      { length: 100 },
      (_, member) => new SemaphoreState(world.heap(member + 10), [block]),
    )
    const semaphore = new SemaphoreState(world.heap(7), [block], 100)
    return () => {
      const sleep = { index: 0, expected: 0, isOwnDoing: false, hasSlept: false }
      for (const [member, state] of states.entries()) {
        assert.equal(state.attempt(sleep), 'free')
        assert.equal(semaphore.value, 99 - member)
      }
      assert.equal(states[50]!.attempt(sleep), undefined)
      for (const state of states) state.release({ canGrow: false })
      assert.equal(semaphore.value, 100)
    }
  }
  runInAllOrders({ set }, SEED)
})
