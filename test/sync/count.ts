/** Counting in shared memory by plain loads and stores, which only a lock makes right. */
import { type Lock, Process, type RawValue } from 'multiproc'

export function count(lock: Lock, number: RawValue<'int32'>, times: number): void {
  for (let time = 0; time < times; time++) {
    lock.acquireSync()
    const before = number.value
    number.value = before + 1
    lock.release()
  }
}

export async function countAsync(lock: Lock, number: RawValue<'int32'>, times: number): Promise<void> {
  for (let time = 0; time < times; time++) {
    await lock.acquire()
    const before = number.value
    number.value = before + 1
    lock.release()
  }
}

/** In this child and in a thread of it. */
export async function countInFour(lock: Lock, number: RawValue<'int32'>, times: number): Promise<void> {
  const thread = new Process({ target: count, args: [lock, number, times], context: 'thread' })
  thread.start()
  count(lock, number, times)
  await thread.result()
  await thread.join()
}
