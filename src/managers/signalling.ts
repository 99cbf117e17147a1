/** `manager.Condition()`, `manager.Event()` and `manager.Barrier()`: the real ones lie in the server. */
import type { Operations } from '../broker/shareable.ts'
import { invalidArgument } from '../errors.ts'
import { type WaitOptions, assertWaitOptions } from '../platform/bounded-wait.ts'
import { Barrier, type BarrierOptions } from '../sync/barrier.ts'
import { Condition, type ConditionWaitOptions, deadlineOf, waitUntilTrue } from '../sync/condition.ts'
import { Event } from '../sync/event.ts'
import type { Lock } from '../sync/lock.ts'
import { OWNABLE_OPERATIONS } from '../sync/remote-acquirable.ts'
import type { RLock } from '../sync/rlock.ts'
import { LockProxy, callWaiting } from './acquirer.ts'
import { BaseProxy, addProxyType, factsOf } from './base-proxy.ts'
import { referentOf } from './referents.ts'
import type { ServedType } from './served-type.ts'

const CONDITION_OPTIONS = ['timeout', 'signal', 'recover']

/**
 * A condition of a manager: see {@link Condition}. Its lock is a Lock of its own, or a lock of the same manager.
 */
export class ConditionProxy extends LockProxy {
  /**
   * Gives the lock back, waits for a notification, and acquires the lock again.
   *
   * @returns true, or false when the timeout came before a notification. The lock is held in either case.
   * @throws as `Condition.wait()`; ClosedError when the manager ends.
   */
  wait(options: ConditionWaitOptions = {}): Promise<boolean> {
    return callWaiting(this, 'wait', options) as Promise<boolean>
  }

  /**
   * Waits until the predicate, which is called here with the lock held, returns something true.
   *
   * @returns what the predicate returned last, which is false in some way when the timeout came first
   */
  async waitFor<T>(predicate: () => T | PromiseLike<T>, options: ConditionWaitOptions = {}): Promise<T> {
    assertWaitOptions(options, CONDITION_OPTIONS)
    await this.callMethod('assertHeld', ['wait'])
    return await waitUntilTrue(predicate, deadlineOf(options), timeout => this.wait({ ...options, timeout }))
  }

  /** Wakes up to `count` of those who wait. @throws ProcessError `ERR_INVALID_STATE` when the lock is not held. */
  notify(count = 1): Promise<void> {
    return this.callMethod('notify', [count]) as Promise<void>
  }

  /** Wakes all who wait. */
  notifyAll(): Promise<void> {
    return this.notify(Infinity)
  }
}

/** An event of a manager: see {@link Event}. */
export class EventProxy extends BaseProxy {
  isSet(): Promise<boolean> {
    return this.callMethod('isSet') as Promise<boolean>
  }

  set(): Promise<void> {
    return this.callMethod('set') as Promise<void>
  }

  clear(): Promise<void> {
    return this.callMethod('clear') as Promise<void>
  }

  /** Waits until it is set. @returns true, or false when the timeout came first. */
  wait(options: WaitOptions = {}): Promise<boolean> {
    return callWaiting(this, 'wait', options) as Promise<boolean>
  }
}

/** A barrier of a manager: see {@link Barrier}. Its action runs in the manager, as Python's does. */
export class BarrierProxy extends BaseProxy {
  /** How many have to come. */
  get parties(): number {
    return (factsOf(this) as { parties: number }).parties
  }

  /**
   * Waits until all parties have come.
   *
   * @returns a number from 0 to `parties - 1`, another one for each of them
   * @throws BrokenBarrierError when the barrier is broken, or breaks, or is reset; what the action throws; the reason of
   * the signal, which breaks the barrier.
   */
  wait(options: WaitOptions = {}): Promise<number> {
    return callWaiting(this, 'wait', options) as Promise<number>
  }

  /** How many have come and wait for the others. */
  nWaiting(): Promise<number> {
    return this.callMethod('nWaiting') as Promise<number>
  }

  isBroken(): Promise<boolean> {
    return this.callMethod('isBroken') as Promise<boolean>
  }

  /** Empties the barrier, and mends it. Those who wait get a BrokenBarrierError. */
  reset(): Promise<void> {
    return this.callMethod('reset') as Promise<void>
  }

  /** Breaks the barrier, until `reset()`. */
  abort(): Promise<void> {
    return this.callMethod('abort') as Promise<void>
  }
}

addProxyType('Condition', ConditionProxy)
addProxyType('Event', EventProxy)
addProxyType('Barrier', BarrierProxy)

const CONDITION_OPERATIONS: Operations<Condition> = {
  acquire: ({ lock }, args, signal) => OWNABLE_OPERATIONS['acquire']!(lock, args, signal),
  guard: ({ lock }, args, signal) => OWNABLE_OPERATIONS['guard']!(lock, args, signal),
  release: condition => condition.release(),
  locked: ({ lock }) => lock.locked(),
  assertHeld: (condition, [what]) => condition.assertHeld(what as string),
  wait: (condition, [options], signal) => condition.wait({ ...options, signal }),
  notify: (condition, [count]) => condition.notify(count as number),
}

function lockGiven(lock: unknown): Lock | RLock | undefined {
  const real = referentOf(lock)
  if (real === undefined || !(real instanceof BaseProxy)) return real as Lock | RLock | undefined
  throw invalidArgument(
    TypeError,
    'Cannot make a Condition: the lock is one of another manager\nTo fix: pass a lock of the same manager, or none',
  )
}

/** @internal */
export const CONDITION: ServedType = {
  typeId: 'Condition',
  isBuiltIn: true,
  make: (lock?: unknown) => new Condition(lockGiven(lock)),
  operations: CONDITION_OPERATIONS as Operations<object>,
}

const EVENT_OPERATIONS: Operations<Event> = {
  isSet: event => event.isSet(),
  set: event => event.set(),
  clear: event => event.clear(),
  wait: (event, [options], signal) => event.wait({ ...options, signal }),
}

/** @internal */
export const EVENT: ServedType = {
  typeId: 'Event',
  isBuiltIn: true,
  make: () => new Event(),
  operations: EVENT_OPERATIONS as Operations<object>,
}

/** The action of each barrier of the server: it stays out of the object that clients get a copy of. */
const actions = new WeakMap<object, BarrierOptions['action']>()

const BARRIER_OPERATIONS: Operations<Barrier> = {
  wait: (barrier, [options], signal) => barrier.wait({ ...options, signal }),
  nWaiting: barrier => barrier.nWaiting,
  isBroken: barrier => barrier.isBroken,
  reset: barrier => barrier.reset(),
  abort: barrier => barrier.abort(),
}

/** @internal */
export const BARRIER: ServedType = {
  typeId: 'Barrier',
  isBuiltIn: true,
  make: (parties: number, { action, ...options }: BarrierOptions = {}) => {
    if (action !== undefined && typeof action !== 'function') {
      throw invalidArgument(
        TypeError,
        'Cannot make a Barrier: "action" must be a function\nTo fix: pass a function',
      )
    }
    const barrier = new Barrier(parties, options)
    actions.set(barrier, action)
    return barrier
  },
  operations: BARRIER_OPERATIONS as Operations<object>,
  opened: (real, made) => {
    const action = actions.get(made)
    if (action !== undefined) (real as Barrier).options.action = action
  },
  factsOf: barrier => ({ parties: (barrier as Barrier).parties }),
}
