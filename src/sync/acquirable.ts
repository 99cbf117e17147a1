/**
 * What locks and semaphores have in common: acquiring in four forms (async, blocking, each with and without a guard),
 * and what happens when a holder has ended. Their own files say how one attempt works.
 */
import { inspect } from 'node:util'
import { OwnerDiedError, TimeoutError, invalidState } from '../errors.ts'
import { lockChannel } from '../insights/channels.ts'
import { followBlocking, followWait, isWaitFollowed } from '../insights/followed-wait.ts'
import {
  type BlockingOptions,
  type WaitOptions,
  assertTimeout,
  isLookOnly,
} from '../platform/bounded-wait.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { Held } from './held.ts'
import { LocalWaiters } from './local-waiters.ts'
import { lockWait } from './lock-wait.ts'
import type { Acquired } from './lock-word.ts'
import { newSleep, type Sleep, type SyncHeap, waitBlocking } from './waiting.ts'

/** Options of the blocking forms. There is no signal: nothing could abort it while the thread is blocked. */
/** What to do about a holder that ended, by `kill -9` or otherwise, without giving back what it held. */
export interface RecoverOptions {
  /** Take over in silence instead of failing with `OwnerDiedError`. Default: false. */
  recover?: boolean | undefined
}

/** Options of `acquire()` and `guard()`. */
export interface AcquireOptions extends WaitOptions, RecoverOptions {}

/** Options of `acquireSync()` and `guardSync()`. */
export interface AcquireSyncOptions extends BlockingOptions, RecoverOptions {}

const OPTIONS = ['timeout', 'signal', 'recover']
const NO_OPTIONS: AcquireOptions = Object.freeze({})
const TRUE = Promise.resolve(true)

/** Acquires for a thread of another process, which is blocked until it has an answer; see `remote-acquirable.ts`. */
export const ACQUIRE_FOR_BLOCKED: unique symbol = Symbol('acquireForBlocked')

/** Base of Lock, RLock, Semaphore and BoundedSemaphore. */
export abstract class Acquirable {
  #waiters: LocalWaiters<Acquired> | undefined

  /** @internal */
  protected abstract readonly heap: SyncHeap
  /** One look, without waiting. @internal */
  protected abstract attempt(sleep: Sleep): Acquired | undefined
  /** Gives back, so that the next one is told of the ended holder, too. @internal */
  protected abstract abandon(): void

  /**
   * Waits until it can be had, and takes it.
   *
   * @returns true, or false when the timeout came first. With `{ timeout: 0 }` it does not wait.
   * @throws OwnerDiedError when the last holder ended without giving it back. Then you have it, and give it back
   * after putting things in order. The reason of the signal.
   */
  acquire(options?: AcquireOptions): Promise<boolean> {
    if (options === undefined && !this.#waiters?.size) {
      const acquired = this.attempt(newSleep())
      if (acquired === 'free') return TRUE
      if (acquired === 'abandoned') return Promise.reject(this.#ownerDied(true))
    }
    return this.#acquireChecked(options)
  }

  async #acquireChecked(options: AcquireOptions = NO_OPTIONS): Promise<boolean> {
    const acquired = await this.#wait(options)
    if (acquired === 'abandoned' && options.recover !== true) throw this.#ownerDied(true)
    return acquired !== undefined
  }

  async #wait(options: AcquireOptions): Promise<Acquired | undefined> {
    checkOptions(this, 'acquire', options)
    const { timeout, signal } = options
    if (signal?.aborted) throw signal.reason
    if (isLookOnly(timeout)) return this.attempt(newSleep())
    const waiters = (this.#waiters ??= new LocalWaiters(this.heap))
    if (!isWaitFollowed(lockChannel()))
      return await waiters.wait(sleep => this.attempt(sleep), { timeout, signal })
    const acquired = waiters.size === 0 ? this.attempt(newSleep()) : undefined
    if (acquired !== undefined) return acquired
    return await followWait(lockWait(this, { isBlocking: false }), () =>
      waiters.wait(sleep => this.attempt(sleep), { timeout, signal }),
    )
  }

  /**
   * Blocks this thread until it can be had, and takes it. Nothing else runs in this thread meanwhile, also nothing
   * that could give it back.
   *
   * @returns true, or false when the timeout came first. With `{ timeout: 0 }` it does not wait.
   * @throws OwnerDiedError as `acquire()`; ProcessError `ERR_INVALID_STATE` instead of waiting without a limit for
   * what this thread itself holds.
   */
  acquireSync(options: AcquireSyncOptions = NO_OPTIONS): boolean {
    const acquired = this.#block(options)
    if (acquired === 'abandoned' && options.recover !== true) throw this.#ownerDied(true)
    return acquired !== undefined
  }

  #block(options: AcquireSyncOptions): Acquired | undefined {
    if (options === NO_OPTIONS) {
      const acquired = this.attempt(newSleep())
      if (acquired !== undefined) return acquired
    }
    checkOptions(this, 'acquireSync', options)
    const { timeout } = options
    const wait = (): Acquired | undefined =>
      waitBlocking(this.heap, sleep => this.attempt(sleep), { timeout, onDeadlock: () => this.#deadlock() })
    if (isLookOnly(timeout) || !isWaitFollowed(lockChannel())) return wait()
    return this.attempt(newSleep()) ?? followBlocking(lockWait(this, { isBlocking: true }), wait)
  }

  /**
   * Takes it as `acquire()` does, to be given back at the end of a block: `using held = await lock.guard()`.
   *
   * @throws TimeoutError when the timeout came first; OwnerDiedError when the last holder ended without giving it
   * back. Nothing is held then, and the next one is told as well; `guard({ recover: true })` takes it over.
   */
  async guard(options: AcquireOptions = NO_OPTIONS): Promise<Held> {
    return this.#held(await this.#wait(options), options)
  }

  /** The same as `guard()`, blocking this thread: `using held = lock.guardSync()`. */
  guardSync(options: AcquireSyncOptions = NO_OPTIONS): Held {
    return this.#held(this.#block(options), options)
  }

  #held(acquired: Acquired | undefined, { timeout, recover }: AcquireSyncOptions): Held {
    if (acquired === undefined) {
      throw new TimeoutError(
        `The ${this.constructor.name} could not be had within ${timeout} ms\n` +
          'To fix: give it a longer "timeout", or find out who holds it for so long',
      )
    }
    if (acquired === 'abandoned' && recover !== true) {
      this.abandon()
      this.pokeWaiters()
      throw this.#ownerDied(false)
    }
    return new Held(acquired === 'abandoned', () => this.release())
  }

  /** @internal */
  async [ACQUIRE_FOR_BLOCKED](
    options: AcquireSyncOptions = NO_OPTIONS,
    { signal, isGuard }: { signal: AbortSignal; isGuard: boolean },
  ): Promise<boolean | Held> {
    checkOptions(this, 'acquireSync', options)
    const { timeout = Infinity, recover } = options
    const sleep = newSleep()
    let acquired = this.attempt(sleep)
    if (acquired === undefined && sleep.isOwnDoing && timeout === Infinity) throw this.#deadlock()
    acquired ??= await this.#wait({ ...options, signal })
    if (isGuard) return this.#held(acquired, options)
    if (acquired === 'abandoned' && recover !== true) throw this.#ownerDied(true)
    return acquired !== undefined
  }

  #deadlock(): Error {
    return invalidState(
      `Cannot wait for the ${this.constructor.name}: this thread holds it, and could not give it back while it is blocked\n` +
        'To fix: await acquire() instead, give a "timeout", or release it first',
    )
  }

  /** Gives it back. */
  abstract release(): void

  /** Lets tasks of this thread try, after it was given back here. @internal */
  protected pokeWaiters(areOthersWaiting = false): void {
    this.#waiters?.poke({ areOthersWaiting })
  }

  #ownerDied(isHeld: boolean): OwnerDiedError {
    return new OwnerDiedError(
      `The process or thread that held the ${this.constructor.name} ended without giving it back; what it protects may be half changed\n` +
        (isHeld
          ? 'To fix: put that in order, then release() it: it is yours now. { recover: true } takes over without this error'
          : 'To fix: take it over with guard({ recover: true }), and put things in order when "ownerDied" is true'),
    )
  }

  /** Its kind and state. */
  abstract toString(): string

  /** @internal */
  [inspect.custom](): string {
    return this.toString()
  }
}

function checkOptions(of: object, method: string, options: AcquireOptions): void {
  if (options === NO_OPTIONS) return
  assertKnownOptions(`${of.constructor.name}.${method}()`, options, OPTIONS)
  assertTimeout(options.timeout)
}
