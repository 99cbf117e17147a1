/** `manager.Lock()` and its kin: the real lock or semaphore lies in the server, where each client is a member. */
import { type Operations, withoutSignal } from '../broker/shareable.ts'
import type { WaitOptions } from '../platform/bounded-wait.ts'
import type { Acquirable, AcquireOptions } from '../sync/acquirable.ts'
import { BoundedSemaphore } from '../sync/bounded-semaphore.ts'
import { Lock } from '../sync/lock.ts'
import { OWNABLE_OPERATIONS } from '../sync/remote-acquirable.ts'
import { RLock } from '../sync/rlock.ts'
import { SEMAPHORE_OPERATIONS, Semaphore } from '../sync/semaphore.ts'
import { BaseProxy, addProxyType } from './base-proxy.ts'
import type { ServedType } from './served-type.ts'

/** Calls a method that waits. Its abort is a message, and the answer decides. */
export async function callWaiting(
  proxy: BaseProxy,
  method: string,
  options: WaitOptions | undefined,
): Promise<unknown> {
  const { rest, signal } = withoutSignal(options)
  return await proxy.callMethod(method, [rest], signal)
}

/**
 * Something of a manager that is held until it is disposed of, once: what `guard()` gives. `using` gives it back without
 * waiting for the answer of the manager, which does what one client asks in order; `await using` waits.
 */
export class ManagedHeld implements Disposable, AsyncDisposable {
  /** Whether the last holder ended without giving it back; only with the option `recover`. */
  readonly ownerDied: boolean
  #release: (() => Promise<void>) | undefined

  /** @internal */
  constructor(ownerDied: boolean, release: () => Promise<void>) {
    this.ownerDied = ownerDied
    this.#release = release
  }

  /** Gives it back. The second call does nothing. */
  async release(): Promise<void> {
    const release = this.#release
    this.#release = undefined
    await release?.()
  }

  [Symbol.dispose](): void {
    // It fails only when the manager has ended, which gives back everything.
    this.release().catch(() => {})
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release()
  }
}

/** What the locks and semaphores of a manager have in common, as Python's `AcquirerProxy`. */
export class AcquirerProxy<T = unknown> extends BaseProxy<T> {
  /**
   * Waits until it can be had, and takes it.
   *
   * @returns true, or false when the timeout came first. With `{ timeout: 0 }` it does not wait.
   * @throws OwnerDiedError when the last holder ended without giving it back. Then you have it, and give it back after
   * putting things in order. ClosedError when the manager ends. The reason of the signal.
   */
  acquire(options?: AcquireOptions): Promise<boolean> {
    return callWaiting(this, 'acquire', options) as Promise<boolean>
  }

  /**
   * Takes it, to be given back at the end of a block: `await using held = await lock.guard()`.
   *
   * @throws TimeoutError when the timeout came first; OwnerDiedError when the last holder ended without giving it back.
   * Nothing is held then, and the next one is told as well; `guard({ recover: true })` takes it over.
   */
  async guard(options?: AcquireOptions): Promise<ManagedHeld> {
    const ownerDied = (await callWaiting(this, 'guard', options)) as boolean
    return new ManagedHeld(ownerDied, () => this.release())
  }

  /**
   * Gives it back, whoever acquired it.
   *
   * @throws ProcessError `ERR_INVALID_STATE` when it is not held; of an RLock, when it is not held here.
   */
  release(): Promise<void> {
    return this.callMethod('release') as Promise<void>
  }
}

/** A lock of a manager: see {@link Lock} and {@link RLock}. Each process and thread that has a proxy is a holder. */
export class LockProxy extends AcquirerProxy {
  /** Whether anybody holds it. */
  locked(): Promise<boolean> {
    return this.callMethod('locked') as Promise<boolean>
  }
}

/** A semaphore of a manager: see {@link Semaphore} and {@link BoundedSemaphore}. */
export class SemaphoreProxy extends AcquirerProxy<number> {
  /** How many permits there are. */
  override getValue(): Promise<number> {
    return this.callMethod('getValue') as Promise<number>
  }
}

addProxyType('Lock', LockProxy)
addProxyType('RLock', LockProxy)
addProxyType('Semaphore', SemaphoreProxy)
addProxyType('BoundedSemaphore', SemaphoreProxy)

function acquirer(typeId: string, make: (...args: never[]) => Acquirable, operations: object): ServedType {
  return { typeId, isBuiltIn: true, make, operations: operations as Operations<object> }
}

/** @internal */
export const ACQUIRERS: readonly ServedType[] = [
  acquirer('Lock', () => new Lock(), OWNABLE_OPERATIONS),
  acquirer('RLock', () => new RLock(), OWNABLE_OPERATIONS),
  acquirer('Semaphore', (permits?: number) => new Semaphore(permits), SEMAPHORE_OPERATIONS),
  acquirer('BoundedSemaphore', (permits?: number) => new BoundedSemaphore(permits), SEMAPHORE_OPERATIONS),
]
