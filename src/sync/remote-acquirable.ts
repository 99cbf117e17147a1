/**
 * Locks and semaphores whose memory is in another process: each method is a call of the real one there, made by a member
 * that stands for this thread. See `broker/README.md`.
 */
import { isLookOnly } from '../platform/bounded-wait.ts'
import { type Operations, callLater, callNow, remoteToString, withoutSignal } from '../broker/shareable.ts'
import { TimeoutError } from '../errors.ts'
import { lockChannel } from '../insights/channels.ts'
import { followBlocking, followWait, isWaitFollowed } from '../insights/followed-wait.ts'
import {
  ACQUIRE_FOR_BLOCKED,
  type Acquirable,
  type AcquireOptions,
  type AcquireSyncOptions,
} from './acquirable.ts'
import { Held } from './held.ts'
import { lockWait } from './lock-wait.ts'
import { LEVELS, type Ownable } from './ownable.ts'

/** What the home does for the methods below. */
export const ACQUIRABLE_OPERATIONS: Operations<Acquirable> = {
  acquire: (it, [options], signal) => it.acquire({ ...options, signal }),
  acquireSync: (it, [options], signal) => it[ACQUIRE_FOR_BLOCKED](options, { signal, isGuard: false }),
  guard: async (it, [options], signal) => (await it.guard({ ...options, signal })).ownerDied,
  guardSync: async (it, [options], signal) =>
    ((await it[ACQUIRE_FOR_BLOCKED](options, { signal, isGuard: true })) as Held).ownerDied,
  release: it => it.release(),
}

export const OWNABLE_OPERATIONS: Operations<Acquirable & Ownable & { locked(): boolean }> = {
  ...(ACQUIRABLE_OPERATIONS as Operations<Acquirable & Ownable & { locked(): boolean }>),
  locked: it => it.locked(),
  getLevels: it => it[LEVELS],
  setLevels: (it, [levels]) => {
    it[LEVELS] = levels as number
  },
}

export const REMOTE_ACQUIRABLE: object & ThisType<Acquirable> = {
  acquire(options?: AcquireOptions): Promise<boolean> {
    return takeLater(this, 'acquire', options) as Promise<boolean>
  },
  acquireSync(options: AcquireSyncOptions = {}): boolean {
    return takeNow(this, 'acquireSync', options) as boolean
  },
  async guard(options?: AcquireOptions): Promise<Held> {
    const ownerDied = (await takeLater(this, 'guard', options)) as boolean
    return new Held(ownerDied, () => this.release())
  },
  guardSync(options: AcquireSyncOptions = {}): Held {
    return new Held(takeNow(this, 'guardSync', options) as boolean, () => this.release())
  },
  release(): void {
    callNow(this, 'release')
  },
  toString(): string {
    return remoteToString(this)
  },
}

/** While somebody looks on, it is asked first whether it can be had at once: only a wait is told of. */
async function takeLater(
  object: Acquirable,
  operation: 'acquire' | 'guard',
  options: AcquireOptions | undefined,
): Promise<unknown> {
  const { rest, signal } = withoutSignal(options)
  const take = (given: object): Promise<unknown> => callLater(object, operation, [given], signal)
  if (!isTold(options)) return await take(rest)
  const taken = await take({ ...rest, timeout: 0 }).catch(unlessTooLate)
  if (taken === true || (taken === false && operation === 'guard')) return taken
  return await followWait(lockWait(object, { isBlocking: false }), () => take(rest))
}

function takeNow(
  object: Acquirable,
  operation: 'acquireSync' | 'guardSync',
  options: AcquireSyncOptions,
): unknown {
  const { rest } = withoutSignal(options)
  const take = (given: object): unknown => callNow(object, operation, [given])
  if (!isTold(options)) return take(rest)
  let taken: unknown
  try {
    taken = take({ ...rest, timeout: 0 })
  } catch (error) {
    unlessTooLate(error)
  }
  if (taken === true || (taken === false && operation === 'guardSync')) return taken
  return followBlocking(lockWait(object, { isBlocking: true }), () => take(rest))
}

function isTold(options: AcquireSyncOptions | undefined): boolean {
  return !isLookOnly(options?.timeout) && isWaitFollowed(lockChannel())
}

/** `guard()` throws what `acquire()` says with `false`: it could not be had at once. */
function unlessTooLate(error: unknown): undefined {
  if (!(error instanceof TimeoutError)) throw error
  return undefined
}

export const REMOTE_OWNABLE: object & ThisType<Acquirable & Ownable> = {
  locked(): boolean {
    return callNow(this, 'locked') as boolean
  },
  get [LEVELS](): number {
    return callNow(this, 'getLevels') as number
  },
  set [LEVELS](levels: number) {
    callNow(this, 'setLevels', [levels])
  },
}
