/**
 * Locks and semaphores whose memory is in another process: each method is a call of the real one there, made by a member
 * that stands for this thread. See `broker/README.md`.
 */
import { type Operations, callLater, callNow, remoteToString, withoutSignal } from '../broker/shareable.ts'
import {
  ACQUIRE_FOR_BLOCKED,
  type Acquirable,
  type AcquireOptions,
  type AcquireSyncOptions,
} from './acquirable.ts'
import { Held } from './held.ts'
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
    const { rest, signal } = withoutSignal(options)
    return callLater(this, 'acquire', [rest], signal) as Promise<boolean>
  },
  acquireSync(options: AcquireSyncOptions = {}): boolean {
    return callNow(this, 'acquireSync', [withoutSignal(options).rest]) as boolean
  },
  async guard(options?: AcquireOptions): Promise<Held> {
    const { rest, signal } = withoutSignal(options)
    const ownerDied = (await callLater(this, 'guard', [rest], signal)) as boolean
    return new Held(ownerDied, () => this.release())
  },
  guardSync(options: AcquireSyncOptions = {}): Held {
    return new Held(callNow(this, 'guardSync', [withoutSignal(options).rest]) as boolean, () =>
      this.release(),
    )
  },
  release(): void {
    callNow(this, 'release')
  },
  toString(): string {
    return remoteToString(this)
  },
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
