/** Condition: waiting, with a lock in hand, for something that another task will do under the same lock. */
import { inspect } from 'node:util'
import { ProcessError, invalidArgument, invalidState } from '../errors.ts'
import {
  type BlockingOptions,
  type WaitOptions,
  assertTimeout,
  isLookOnly,
} from '../platform/bounded-wait.ts'
import {
  type Operations,
  addShareable,
  callLater,
  callNow,
  handleToSend,
  isRemote,
  remoteForm,
  remoteToString,
  withoutSignal,
} from '../broker/shareable.ts'
import { objectFor, openBlock } from '../platform/heap-objects.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import type { BlockHandle } from '../platform/shared-heap.ts'
import type { AcquireOptions, AcquireSyncOptions, RecoverOptions } from './acquirable.ts'
import { BLOCK_KINDS } from './block-kinds.ts'
import { ConditionState } from './condition-state.ts'
import type { Held } from './held.ts'
import { type GiveUp, LocalWaiters } from './local-waiters.ts'
import { Lock } from './lock.ts'
import { LEVELS } from './ownable.ts'
import type { RLock } from './rlock.ts'
import { type SyncHeap, waitBlocking } from './waiting.ts'

/** Options of `Condition.wait()` and `waitFor()`. */
export interface ConditionWaitOptions extends WaitOptions, RecoverOptions {}

/** Options of `Condition.waitSync()` and `waitForSync()`. */
export interface ConditionWaitSyncOptions extends BlockingOptions, RecoverOptions {}

const OPTIONS = ['timeout', 'signal', 'recover']

/**
 * A condition variable, as Python's `multiprocessing.Condition`: `wait()` gives the lock back, waits until another
 * task calls `notify()`, and acquires the lock again.
 *
 * Its lock is a {@link Lock} of its own, unless one is given (Python's is an RLock; ours would not keep two tasks of
 * one thread apart). A task that is killed while it waits is no longer notified, and its notification passes to
 * another.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Condition
 *
 * @example
 * ```ts
 * import { Condition, Process } from 'multiproc'
 *
 * const condition = new Condition()
 * const target = async () => {
 *   using held = await condition.guard()
 *   condition.notify()
 * }
 * {
 *   using held = await condition.guard()
 *   new Process({ target }).start()
 *   console.log(await condition.wait()) // true
 * }
 * ```
 */
export class Condition {
  readonly #lock: Lock | RLock
  readonly #heap: SyncHeap
  readonly #state: ConditionState
  #waiters: LocalWaiters<true> | undefined

  /**
   * @param lock - the lock that goes with it; several conditions may share one. Default: a new Lock
   * @throws TypeError when it is neither a Lock nor an RLock.
   */
  constructor(lock: Lock | RLock = new Lock()) {
    if (!(typeof lock === 'object' && lock !== null && LEVELS in lock)) {
      throw invalidArgument(
        TypeError,
        'Cannot make a Condition: "lock" must be a Lock or an RLock\nTo fix: pass one, or leave it out',
      )
    }
    const { heap, blocks } = openBlock(this, BLOCK_KINDS.condition)
    this.#lock = lock
    this.#heap = heap
    this.#state = new ConditionState(heap, blocks)
  }

  /** The lock that goes with it. */
  get lock(): Lock | RLock {
    return this.#lock
  }

  /** Acquires the lock; see {@link Lock.acquire}. */
  acquire(options?: AcquireOptions): Promise<boolean> {
    return this.#lock.acquire(options)
  }

  /** Acquires the lock, blocking this thread; see {@link Lock.acquireSync}. */
  acquireSync(options?: AcquireSyncOptions): boolean {
    return this.#lock.acquireSync(options)
  }

  /** Acquires the lock for a `using` declaration; see {@link Lock.guard}. */
  guard(options?: AcquireOptions): Promise<Held> {
    return this.#lock.guard(options)
  }

  /** The same, blocking this thread; see {@link Lock.guardSync}. */
  guardSync(options?: AcquireSyncOptions): Held {
    return this.#lock.guardSync(options)
  }

  /** Gives the lock back; see {@link Lock.release}. */
  release(): void {
    this.#lock.release()
  }

  /**
   * Gives the lock back, waits for a notification, and acquires the lock again, however long that takes.
   *
   * @returns true, or false when the timeout came before a notification. The lock is held in either case.
   * @throws ProcessError `ERR_INVALID_STATE` when the lock is not held; OwnerDiedError when another holder of the
   * lock ended; the reason of the signal. The lock is held in the last two cases.
   */
  async wait(options: ConditionWaitOptions = {}): Promise<boolean> {
    const levels = this.#begin('wait', options)
    const { timeout, signal, recover } = options
    try {
      if (signal?.aborted) {
        this.#state.leave({ isPassedOn: true })
        throw signal.reason
      }
      this.#waiters ??= new LocalWaiters(this.#heap)
      const leave = (why: GiveUp): true | undefined =>
        this.#state.leave({ isPassedOn: why === 'abort' }) || undefined
      const attempt = this.#state.attempt.bind(this.#state)
      return (await this.#waiters.wait(attempt, { timeout, signal }, leave)) ?? false
    } finally {
      // The client of another process for which this is done may have ended: then nobody wants the lock.
      if (!this.#heap.hasEnded) {
        try {
          await this.#lock.acquire({ recover })
        } finally {
          // It may also have ended while it waited for the lock, and has not got it then.
          if (!this.#heap.hasEnded) this.#lock[LEVELS] = levels
        }
      }
    }
  }

  /** The same as `wait()`, blocking this thread. */
  waitSync(options: ConditionWaitSyncOptions = {}): boolean {
    const levels = this.#begin('waitSync', options)
    const { timeout, recover } = options
    try {
      const isNotified = waitBlocking(this.#heap, sleep => this.#state.attempt(sleep), { timeout })
      return isNotified ?? this.#state.leave({ isPassedOn: false })
    } finally {
      try {
        this.#lock.acquireSync({ recover })
      } finally {
        this.#lock[LEVELS] = levels
      }
    }
  }

  /** Begins to wait, and gives the lock back: in this order, so that no notification falls in between. */
  #begin(method: string, options: ConditionWaitOptions): number {
    assertKnownOptions(`Condition.${method}()`, options, OPTIONS)
    assertTimeout(options.timeout)
    const levels = this.assertHeld('wait')
    if (!this.#state.join()) {
      throw new ProcessError(
        'ERR_LIMIT',
        'Cannot wait: 32767 tasks of this thread wait for the Condition already\n' +
          'To fix: let one task wait, and hand the work to the others',
      )
    }
    this.#lock[LEVELS] = 0
    return levels
  }

  /**
   * Waits until the predicate returns something true. It is called with the lock held, now and after each
   * notification.
   *
   * @returns what the predicate returned last, which is false in some way when the timeout came first
   * @throws what `wait()` and the predicate throw.
   */
  async waitFor<T>(predicate: () => T | PromiseLike<T>, options: ConditionWaitOptions = {}): Promise<T> {
    assertKnownOptions('Condition.waitFor()', options, OPTIONS)
    this.assertHeld('wait')
    return await waitUntilTrue(predicate, deadlineOf(options), timeout => this.wait({ ...options, timeout }))
  }

  /** The same as `waitFor()`, blocking this thread. */
  waitForSync<T>(predicate: () => T, options: ConditionWaitSyncOptions = {}): T {
    assertKnownOptions('Condition.waitForSync()', options, OPTIONS)
    this.assertHeld('wait')
    const until = deadlineOf(options)
    let result = predicate()
    while (!result) {
      const timeout = Math.max(0, until - performance.now())
      if (isLookOnly(timeout)) break
      this.waitSync({ ...options, timeout })
      result = predicate()
    }
    return result
  }

  /**
   * Wakes up to `count` of the tasks that wait. They go on when they have the lock. Later ones are not affected.
   *
   * @param count - 0 wakes nobody, and so does less, as of the places that are left when there are none
   * @throws ProcessError `ERR_INVALID_STATE` when the lock is not held; RangeError for a count that is no whole number.
   */
  notify(count = 1): void {
    if (!Number.isInteger(count) && count !== Infinity) {
      throw invalidArgument(
        RangeError,
        `Cannot notify: "count" must be a whole number, got ${String(count)}\nTo fix: pass such a number, or call notifyAll()`,
      )
    }
    this.assertHeld('notify')
    if (count <= 0) return
    if (this.#state.notify(count) > 0) this.#waiters?.poke()
  }

  /** Wakes all tasks that wait. */
  notifyAll(): void {
    this.notify(Infinity)
  }

  /**
   * How many levels of the lock this thread holds.
   *
   * @internal
   */
  assertHeld(what: string): number {
    const levels = this.#lock[LEVELS]
    if (levels > 0) return levels
    throw invalidState(
      `Cannot ${what}: the lock of the Condition is not held here\n` +
        `To fix: using held = await condition.guard(), and ${what} inside the same block`,
    )
  }

  toString(): string {
    return `<Condition ${String(this.#lock)}, ${this.#state.waiting} waiting>`
  }

  /** @internal */
  [inspect.custom](): string {
    return this.toString()
  }
}

/** Waits again and again, until the predicate returns something true or the time has come. */
export async function waitUntilTrue<T>(
  predicate: () => T | PromiseLike<T>,
  until: number,
  wait: (timeout: number) => Promise<unknown>,
): Promise<T> {
  let result = await predicate()
  while (!result) {
    const timeout = Math.max(0, until - performance.now())
    if (isLookOnly(timeout)) break
    await wait(timeout)
    result = await predicate()
  }
  return result
}

export function deadlineOf({ timeout }: BlockingOptions): number {
  assertTimeout(timeout)
  return performance.now() + (timeout ?? Infinity)
}

const OPERATIONS_AT_HOME: Operations<Condition> = {
  assertHeld: (condition, [what]) => condition.assertHeld(what as string),
  wait: (condition, [options], signal) => condition.wait({ ...options, signal }),
  notify: (condition, [count]) => condition.notify(count as number),
}

/** Of a condition whose memory is in another process. Its lock is there, too. */
const REMOTE_CONDITION: object & ThisType<Condition> = {
  assertHeld(what: string): number {
    return callNow(this, 'assertHeld', [what]) as number
  },
  acquire(options?: AcquireOptions): Promise<boolean> {
    return this.lock.acquire(options)
  },
  acquireSync(options?: AcquireSyncOptions): boolean {
    return this.lock.acquireSync(options)
  },
  guard(options?: AcquireOptions): Promise<Held> {
    return this.lock.guard(options)
  },
  guardSync(options?: AcquireSyncOptions): Held {
    return this.lock.guardSync(options)
  },
  release(): void {
    this.lock.release()
  },
  async wait(options?: ConditionWaitOptions): Promise<boolean> {
    const { rest, signal } = withoutSignal(options)
    return (await callLater(this, 'wait', [rest], signal)) as boolean
  },
  waitSync(options: ConditionWaitSyncOptions = {}): boolean {
    return callNow(this, 'wait', [withoutSignal(options).rest]) as boolean
  },
  notify(count = 1): void {
    callNow(this, 'notify', [count])
  },
  toString(): string {
    return remoteToString(this)
  },
}

const REMOTE = remoteForm(Condition, REMOTE_CONDITION)

/** Whoever waits is a member of one heap, and has the lock as that member. */
function lockElsewhere(): ProcessError {
  return new ProcessError(
    'ERR_NOT_SUPPORTED',
    'Cannot send a Condition: its lock was made in another process than the Condition, and there is no shared memory\n' +
      'To fix: make both in the same process, or install multiproc where its native addon loads ' +
      '("multiproc doctor" tells why it does not)',
  )
}

interface Parts {
  handle: BlockHandle
  lock: Lock | RLock
}

addShareable<Condition>({
  type: Condition,
  name: 'multiproc.Condition',
  module: import.meta.url,
  encode: (condition, receiver): Parts => {
    const { lock } = condition
    if (isRemote(lock) && !receiver.isSameProcess) throw lockElsewhere()
    return { handle: handleToSend(condition, receiver), lock }
  },
  handleIn: data => (data as Parts).handle,
  decode: data => {
    const { handle, lock } = data as Parts
    return objectFor(handle, BLOCK_KINDS.condition, () => new Condition(lock))
  },
  partsOf: condition => [condition.lock],
  makeRemote: data => Object.create(REMOTE, { lock: { value: (data as Parts).lock } }) as Condition,
  operations: OPERATIONS_AT_HOME,
})
