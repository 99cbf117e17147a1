/** What a home lets go of when a client does not use it any more: at once, and not before. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Condition, Event, Lock, Pipe, Queue, SharedArray } from 'multiproc'
import { handleOf } from '#src/platform/heap-objects.js'
import { type HeldBlock, sharedHeap } from '#src/platform/shared-heap.js'
import { encode } from '#src/serialize/codec.js'
import { checkLeaks } from '../leak-check.js'
import { type Client, client, endOf } from './client.js'

checkLeaks()

const FIRST = 1
const SECOND = 2

function open({ say }: Client, object: number, value: object): void {
  say({ kind: 'open', object, bytes: encode(value) })
}

/** Whether this thread is the only one that has an object, and no handle of it is on its way. */
function isOnlyHere(object: object): boolean {
  return sharedHeap().isOnlyHeldHere({ handle: handleOf(object) } as HeldBlock)
}

async function leave({ socket }: Client): Promise<void> {
  socket.destroy()
  await endOf(socket)
}

describe('without shared memory, what a client has closed', { skip: sharedHeap().isNative }, () => {
  test('is let go at once, and can be had again', async () => {
    const its = await client()
    const objects = [new Lock(), new Event(), new SharedArray('int8', 3)]
    for (const object of objects) {
      for (let round = 0; round < 2; round++) {
        open(its, FIRST, object)
        assert.equal((await its.call(1, FIRST, 'toString')).kind, 'answer')
        assert.equal(isOnlyHere(object), false)
        its.say({ kind: 'close', object: FIRST })
        await its.isDone()
        assert.equal(isOnlyHere(object), true)
      }
    }
    await leave(its)
  })

  test('stays as long as another of its numbers means it', async () => {
    const its = await client()
    const lock = new Lock()
    open(its, FIRST, lock)
    open(its, SECOND, lock)
    // Once more: at home it is the same.
    open(its, SECOND, lock)
    its.say({ kind: 'close', object: FIRST })
    await its.isDone()
    assert.equal(isOnlyHere(lock), false)
    its.say({ kind: 'close', object: SECOND })
    await its.isDone()
    assert.equal(isOnlyHere(lock), true)
    await leave(its)
  })

  test('stays as long as a call of it waits', async () => {
    const its = await client()
    const lock = new Lock()
    await lock.acquire()
    open(its, FIRST, lock)
    const answer = its.call(1, FIRST, 'acquire', {})
    its.say({ kind: 'close', object: FIRST })
    await its.isDone()
    assert.equal(isOnlyHere(lock), false)
    its.say({ kind: 'abort', call: 1 })
    assert.equal((await answer).kind, 'aborted')
    await its.isDone()
    assert.equal(isOnlyHere(lock), true)
    lock.release()
    await leave(its)
  })

  test('stays as long as something that is made of it is open', async () => {
    const its = await client()
    for (const whole of [new Condition(), new SharedArray('int8', 1)]) {
      const lock = whole instanceof Condition ? whole.lock : whole.getLock()
      open(its, FIRST, lock)
      open(its, SECOND, whole)
      its.say({ kind: 'close', object: FIRST })
      await its.isDone()
      assert.equal(isOnlyHere(lock), false)
      its.say({ kind: 'close', object: SECOND })
      await its.isDone()
      assert.equal(isOnlyHere(lock), true)
      assert.equal(isOnlyHere(whole), true)
    }
    await leave(its)
  })

  test('is closed at home, too, when it is an end of a pipe', async () => {
    const its = await client()
    const [here, there] = Pipe<string>()
    open(its, FIRST, there)
    await its.isDone()
    there.close()
    const received = here.recv()
    its.say({ kind: 'close', object: FIRST })
    await assert.rejects(received, { code: 'ERR_CLOSED', message: /^EOF/ })
    here.close()
    await leave(its)
  })

  test('still takes in what was put before, when it is a queue', async () => {
    const its = await client()
    using queue = new Queue<string>(1)
    await queue.put('first')
    open(its, FIRST, queue)
    const answer = its.call(1, FIRST, 'put', [encode('second')], undefined)
    its.say({ kind: 'close', object: FIRST })
    await its.isDone()
    assert.equal(await queue.get(), 'first')
    assert.equal(await queue.get(), 'second')
    assert.equal((await answer).kind, 'answer')
    await leave(its)
  })
})
