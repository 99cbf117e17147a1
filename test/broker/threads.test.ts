/** Threads that send on what another thread has made: a process has one broker, and an object is one object elsewhere. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Condition, Event, Lock, Process, Queue } from 'multiproc'
import { sharedHeap } from '#src/platform/shared-heap.js'
import { checkLeaks } from '../leak-check.js'

checkLeaks()

const skip = sharedHeap().isNative ? 'with the addon there is no broker' : false

/** Runs in a process: says whether what comes out of the queue is what it has, and uses both. */
export async function compare(own: Lock, incoming: Queue<Lock>): Promise<boolean> {
  const other = await incoming.get()
  await own.acquire()
  if (own === other) other.release()
  return own === other
}

/** Runs in a process: releases by a condition what it has acquired by the lock that came before. */
export async function useTogether(lock: Lock, incoming: Queue<Condition>): Promise<boolean> {
  await lock.acquire()
  const condition = await incoming.get()
  condition.notify()
  condition.release()
  return true
}

/** Runs in a thread. */
export async function sendOn(value: unknown, to: Queue): Promise<void> {
  await to.put(value)
}

/** Runs in a thread: starts the process itself. */
export async function startComparing(own: Lock, incoming: Queue<Lock>): Promise<boolean> {
  const child = new Process<[Lock, Queue<Lock>], Promise<boolean>>({
    context: 'spawn',
    target: compare,
    args: [own, incoming],
  })
  child.start()
  return await child.result()
}

export async function putInto(queue: Queue<string>): Promise<void> {
  await queue.put('from a process')
}

/** Runs in a thread: has a process use what this thread has made. */
export async function shareOwn(): Promise<string> {
  const queue = new Queue<string>()
  const child = new Process({ context: 'spawn', target: putInto, args: [queue] })
  child.start()
  const item = await queue.get()
  await child.join()
  queue.close()
  return item
}

export async function holdForEver(lock: Lock, isHeld: Event): Promise<void> {
  await lock.acquire()
  isHeld.set()
  // Sleep: until it is killed.
  await new Promise(resolve => setTimeout(resolve, 10_000_000))
}

/** Runs in a thread: kills a process that has the lock, and looks whether it is free as soon as that is joined. */
export async function killHolder(lock: Lock): Promise<boolean> {
  const isHeld = new Event()
  const child = new Process({ context: 'spawn', target: holdForEver, args: [lock, isHeld] })
  child.start()
  await isHeld.wait()
  child.kill()
  await child.join()
  const { ownerDied } = lock.guardSync({ recover: true, timeout: 0 })
  lock.release()
  return ownerDied
}

/** Runs in a process, whose main thread has sent nothing yet. */
export async function haveThreadSendFirst(): Promise<boolean> {
  const lock = new Lock()
  const queue = new Queue<Lock>()
  const compared = inThread(startComparing, lock, queue)
  await queue.put(lock)
  return await compared
}

/** Runs in a thread. */
export async function tell(isDone: Event): Promise<string> {
  const item = await shareOwn()
  isDone.set()
  return item
}

/** Runs in a process, whose main thread has sent nothing yet either. */
export async function blockWhileThreadSends(): Promise<string> {
  const isDone = new Event()
  const thread = new Process<[Event], Promise<string>>({ context: 'thread', target: tell, args: [isDone] })
  thread.start()
  isDone.waitSync()
  return await thread.result()
}

async function inThread<A extends unknown[], R>(target: (...args: A) => R, ...args: A): Promise<Awaited<R>> {
  const child = new Process<A, R>({ context: 'thread', target, args })
  child.start()
  return await child.result()
}

describe('threads and the broker', { skip }, () => {
  test('a thread that is the first to send anything has the main thread start the broker', async () => {
    const child = new Process({ context: 'spawn', target: haveThreadSendFirst, args: [] })
    child.start()
    assert.equal(await child.result(), true)
  })

  test('what the main thread and another one send is one object for who receives both', async () => {
    const lock = new Lock()
    using queue = new Queue<Lock>()
    const child = new Process<[Lock, Queue<Lock>], Promise<boolean>>({
      context: 'spawn',
      target: compare,
      args: [lock, queue],
    })
    child.start()
    await inThread(sendOn, lock, queue)
    assert.equal(await child.result(), true)
  })

  test('a condition that a thread sends on works with its lock that came from the main thread', async () => {
    const lock = new Lock()
    const condition = new Condition(lock)
    using queue = new Queue<Condition>()
    const child = new Process<[Lock, Queue<Condition>], Promise<boolean>>({
      context: 'spawn',
      target: useTogether,
      args: [lock, queue],
    })
    child.start()
    await inThread(sendOn, condition, queue)
    assert.equal(await child.result(), true)
    assert.equal(lock.acquireSync({ timeout: 0 }), true)
    lock.release()
  })

  test('what a thread has made can be used by its processes, with memory that lies outside of the heap', async () => {
    assert.equal(await inThread(shareOwn), 'from a process')
  })

  test('a thread that joins a killed process knows that its locks are free', async () => {
    assert.equal(await inThread(killHolder, new Lock()), true)
  })

  test('a thread whose main thread is blocked sends all the same', async () => {
    const child = new Process({ context: 'spawn', target: blockWhileThreadSends, args: [] })
    child.start()
    assert.equal(await child.result(), 'from a process')
  })
})
