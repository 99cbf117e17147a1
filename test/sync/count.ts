/** Counting in shared memory by plain loads and stores, which only a lock makes right. */
import { type Lock, Process } from 'multiproc'
import { sharedHeap } from '#src/platform/shared-heap.js'

export function count(lock: Lock, index: number, times: number): void {
  const { words } = sharedHeap()
  for (let time = 0; time < times; time++) {
    lock.acquireSync()
    const before = words[index]!
    words[index] = before + 1
    lock.release()
  }
}

export async function countAsync(lock: Lock, index: number, times: number): Promise<void> {
  const { words } = sharedHeap()
  for (let time = 0; time < times; time++) {
    await lock.acquire()
    const before = words[index]!
    words[index] = before + 1
    lock.release()
  }
}

/** In this child and in a thread of it. */
export async function countInFour(lock: Lock, index: number, times: number): Promise<void> {
  const thread = new Process({ target: count, args: [lock, index, times], context: 'thread' })
  thread.start()
  count(lock, index, times)
  await thread.result()
  await thread.join()
}
