/** What the children of these tests do. They are imported there, so that a child of a test is as any other. */
import type { Barrier, Condition, Event, Lock, RLock, Semaphore } from 'multiproc'
import { passLatch } from '../latch.js'

/** Something that is acquired and released. */
export type AnyLock = Lock | RLock | Semaphore

/** Acquires, says so, and keeps it until it is killed or told to go on. */
export async function holdUntilReleased(lock: AnyLock, address: string, name: string): Promise<void> {
  await lock.acquire()
  await passLatch(address, name)
  lock.release()
}

/** Acquires with OwnerDiedError or without, and says which; then gives it back. */
export async function acquireAndTell(lock: AnyLock, isReady?: Event): Promise<string> {
  const acquired = lock.acquire()
  isReady?.set()
  let how = 'free'
  try {
    await acquired
  } catch (error) {
    how = (error as { code: string }).code
  }
  lock.release()
  return how
}

export function acquireSyncAndTell(lock: AnyLock, isReady?: Event): string {
  let how = 'free'
  isReady?.set()
  try {
    lock.acquireSync()
  } catch (error) {
    how = (error as { code: string }).code
  }
  lock.release()
  return how
}

export function lockedInChild(lock: Lock | RLock): boolean {
  return lock.locked()
}

/** As CPython's f(): says that it waits, waits, says that it has been woken. */
export async function waitOnce(
  condition: Condition,
  sleeping: Semaphore,
  woken: Semaphore,
  timeout?: number,
): Promise<boolean> {
  await condition.acquire()
  sleeping.release()
  const result = await condition.wait({ timeout })
  woken.release()
  condition.release()
  return result
}

export function waitOnceSync(
  condition: Condition,
  sleeping: Semaphore,
  woken: Semaphore,
  timeout?: number,
): boolean {
  condition.acquireSync()
  sleeping.release()
  const result = condition.waitSync({ timeout })
  woken.release()
  condition.release()
  return result
}

/** Passes the barrier several times. */
export async function passBarrier(barrier: Barrier, times: number): Promise<number[]> {
  const indexes: number[] = []
  for (let time = 0; time < times; time++) indexes.push(await barrier.wait())
  return indexes
}

export function passBarrierSync(barrier: Barrier, times: number): number[] {
  const indexes: number[] = []
  for (let time = 0; time < times; time++) indexes.push(barrier.waitSync())
  return indexes
}

/** Waits at the barrier, and gives the code of the error. */
export async function failAtBarrier(barrier: Barrier, timeout?: number): Promise<string> {
  try {
    await barrier.wait({ timeout })
    return 'passed'
  } catch (error) {
    return (error as { code: string }).code
  }
}

export function failAtBarrierSync(barrier: Barrier): string {
  try {
    barrier.waitSync()
    return 'passed'
  } catch (error) {
    return (error as { code: string }).code
  }
}

export async function waitForEvent(event: Event, timeout?: number): Promise<boolean> {
  return await event.wait({ timeout })
}

export function waitForEventSync(event: Event): boolean {
  return event.waitSync()
}

export function setEvent(event: Event): void {
  event.set()
}
