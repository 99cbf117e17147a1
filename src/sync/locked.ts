/** What SharedValue and SharedArray have in common: the lock that goes with what is in shared memory. */
import { inspect } from 'node:util'
import { invalidArgument } from '../errors.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { Indexed } from '../memory/indexed.ts'
import type { AcquireOptions, AcquireSyncOptions } from './acquirable.ts'
import type { Held } from './held.ts'
import { Lock } from './lock.ts'
import { RLock } from './rlock.ts'

/** Options of {@link SharedValue} and {@link SharedArray}. */
export interface SharedOptions {
  /** The lock that goes with it, perhaps with others as well. Default: an RLock of its own. */
  lock?: Lock | RLock | true | undefined
}

/** Base of SharedValue and SharedArray. */
export abstract class Locked extends Indexed {
  readonly #lock: Lock | RLock

  protected constructor(lock: Lock | RLock) {
    super()
    this.#lock = lock
  }

  /** The lock that every access takes. */
  getLock(): Lock | RLock {
    return this.#lock
  }

  /** Waits for the lock, and takes it; see `RLock.acquire()`. */
  acquire(options?: AcquireOptions): Promise<boolean> {
    return this.#lock.acquire(options)
  }

  /** The same, blocking this thread. */
  acquireSync(options?: AcquireSyncOptions): boolean {
    return this.#lock.acquireSync(options)
  }

  /** Gives the lock back. */
  release(): void {
    this.#lock.release()
  }

  /** Takes the lock until the end of a block: `using held = await shared.guard()`. */
  guard(options?: AcquireOptions): Promise<Held> {
    return this.#lock.guard(options)
  }

  /** The same, blocking this thread. */
  guardSync(options?: AcquireSyncOptions): Held {
    return this.#lock.guardSync(options)
  }

  /** Does something with the lock held. Who died with it is told by an OwnerDiedError. @internal */
  protected whileLocked<T>(action: () => T): T {
    const held = this.#lock.guardSync()
    try {
      return action()
    } finally {
      held.release()
    }
  }
}

/** The lock that options ask for. */
export function lockOf(of: 'SharedValue' | 'SharedArray', options: SharedOptions): Lock | RLock {
  assertKnownOptions(of, options, ['lock'])
  const { lock = true } = options
  if (lock === true) return new RLock()
  if (lock instanceof Lock || lock instanceof RLock) return lock
  const raw = of === 'SharedValue' ? 'RawValue' : 'rawArray'
  throw invalidArgument(
    TypeError,
    `${of} needs "lock" to be a Lock, an RLock or true, and got ${inspect(lock, { depth: 0 })}\n` +
      `To fix: leave it out; without a lock, use ${raw}`,
  )
}
