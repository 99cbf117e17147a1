/** SyncManager: the types that every manager of `Manager()` has. */
import { assertIterable } from '../platform/assert-iterable.ts'
import type { ElementOf, ElementType } from '../memory/element-types.ts'
import type { PoolOptions } from '../pool/pool-options.ts'
import type { QueueOptions } from '../queue/queue.ts'
import type { BarrierOptions } from '../sync/barrier.ts'
import type { LockProxy, SemaphoreProxy } from './acquirer.ts'
import { BaseManager, type ManagerOptions, typesOf } from './base-manager.ts'
import { BaseProxy } from './base-proxy.ts'
import { SYNC_TYPES } from './built-in-types.ts'
import type { DictEntries, DictProxy } from './dict.ts'
import type { ListProxy } from './list.ts'
import type { PoolProxy } from './managed-pool.ts'
import type { JoinableQueueProxy, QueueProxy } from './managed-queue.ts'
import type { NamespaceProxy } from './namespace.ts'
import type { SetProxy } from './set.ts'
import type { BarrierProxy, ConditionProxy, EventProxy } from './signalling.ts'
import type { ArrayProxy, ValueProxy } from './value.ts'

/**
 * A manager with the containers, locks and queues of Python's `SyncManager`. Each method makes an object in the server,
 * and gives a proxy, which may be passed to children, through queues, and into other objects of the manager.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.managers.SyncManager
 *
 * @example
 * ```ts
 * import { SyncManager } from 'multiproc'
 *
 * await using manager = new SyncManager()
 * await manager.start()
 * const inner = await manager.list([1, 2])
 * const outer = await manager.dict({ inner })
 * await inner.append(3)
 * console.log(await (await outer.get('inner'))!.copy()) // [ 1, 2, 3 ]
 * ```
 */
export class SyncManager extends BaseManager {
  /**
   * A dict: see {@link DictProxy}.
   *
   * @param entries - a Map, pairs, or an object, whose names are text: what Python writes as `{1: 'a'}` is
   * `new Map([[1, 'a']])`
   */
  dict<V>(entries: Readonly<Record<string, V>>): Promise<DictProxy<string, V>>
  dict<K = string, V = unknown>(entries?: DictEntries<K, V>): Promise<DictProxy<K, V>>
  async dict<K, V>(entries?: DictEntries<K, V>): Promise<DictProxy<K, V>> {
    if (entries !== undefined && (typeof entries !== 'object' || entries === null)) {
      assertIterable('Cannot make a dict of these entries', entries)
    }
    const given = isIterableOfEntries(entries) ? new Map(entries as Iterable<[K, V]>) : entries
    return this.#make('dict', given === undefined ? [] : [given])
  }

  /** A list: see {@link ListProxy}. */
  async list<T = unknown>(items?: Iterable<T> | ListProxy<T>): Promise<ListProxy<T>> {
    return this.#make('list', items === undefined ? [] : [sendable('list', items, all => Array.from(all))])
  }

  /** A set: see {@link SetProxy}. */
  async set<T = unknown>(values?: Iterable<T> | SetProxy<T>): Promise<SetProxy<T>> {
    return this.#make('set', values === undefined ? [] : [sendable('set', values, all => new Set(all))])
  }

  /** Named values: see {@link NamespaceProxy}. */
  Namespace<T extends object = Record<string, unknown>>(values?: Partial<T>): Promise<NamespaceProxy<T>> {
    return this.#make('Namespace', values === undefined ? [] : [values])
  }

  /**
   * One value: see {@link ValueProxy}.
   *
   * @param first - the value; or as in Python a type code, which says nothing here, and the value behind it
   */
  Value<T>(...first: [value: T] | [typeCode: string, value: T]): Promise<ValueProxy<T>> {
    return this.#make('Value', [first.at(-1)])
  }

  /** Numbers of one type: see {@link ArrayProxy}. */
  Array<Type extends ElementType>(
    type: Type,
    elements: number | Iterable<ElementOf<Type>>,
  ): Promise<ArrayProxy<Type>> {
    return this.#make('Array', [type, typeof elements === 'number' ? elements : Array.from(elements)])
  }

  /** A lock: see {@link LockProxy}. */
  Lock(): Promise<LockProxy> {
    return this.#make('Lock', [])
  }

  /** A recursive lock, which belongs to a process or thread: see {@link LockProxy}. */
  RLock(): Promise<LockProxy> {
    return this.#make('RLock', [])
  }

  /** A semaphore with so many permits (1): see {@link SemaphoreProxy}. */
  Semaphore(permits?: number): Promise<SemaphoreProxy> {
    return this.#make('Semaphore', permits === undefined ? [] : [permits])
  }

  /** A semaphore that never has more permits than at first. */
  BoundedSemaphore(permits?: number): Promise<SemaphoreProxy> {
    return this.#make('BoundedSemaphore', permits === undefined ? [] : [permits])
  }

  /** A condition with a lock of its own, or a lock of this manager: see {@link ConditionProxy}. */
  Condition(lock?: LockProxy): Promise<ConditionProxy> {
    return this.#make('Condition', lock === undefined ? [] : [lock])
  }

  /** An event: see {@link EventProxy}. */
  Event(): Promise<EventProxy> {
    return this.#make('Event', [])
  }

  /** A barrier: see {@link BarrierProxy}. The action runs in the manager. */
  Barrier(parties: number, options?: BarrierOptions): Promise<BarrierProxy> {
    return this.#make('Barrier', options === undefined ? [parties] : [parties, options])
  }

  /** A queue: see {@link QueueProxy}. */
  Queue<T = unknown>(options?: number | QueueOptions): Promise<QueueProxy<T>> {
    return this.#make('Queue', options === undefined ? [] : [options])
  }

  /** A joinable queue: see {@link JoinableQueueProxy}. */
  JoinableQueue<T = unknown>(options?: number | QueueOptions): Promise<JoinableQueueProxy<T>> {
    return this.#make('JoinableQueue', options === undefined ? [] : [options])
  }

  /** A pool whose workers are children of the manager's process: see {@link PoolProxy}. */
  Pool(options?: number | Omit<PoolOptions, 'signal'>): Promise<PoolProxy> {
    return this.#make('Pool', options === undefined ? [] : [options])
  }

  #make<P extends BaseProxy>(typeId: string, args: unknown[]): Promise<P> {
    return this.create(typeId, ...args) as Promise<P>
  }
}

for (const type of SYNC_TYPES) typesOf(SyncManager).set(type.typeId, type)

function isIterableOfEntries(value: unknown): boolean {
  return typeof (value as { [Symbol.iterator]?: unknown } | undefined)?.[Symbol.iterator] === 'function'
}

/** An array, a Set or a proxy can be sent as it is. */
function sendable<T>(
  type: string,
  items: Iterable<T> | BaseProxy,
  collect: (items: Iterable<T>) => unknown,
): unknown {
  if (Array.isArray(items) || items instanceof Set || items instanceof BaseProxy) return items
  assertIterable(`Cannot make a ${type} of these items`, items)
  return collect(items)
}

/**
 * Starts a manager: a process with dicts, lists, locks, queues and so on that others use through proxies, as Python's
 * `multiprocessing.Manager()`. It ends with this program, and with `shutdown()`.
 *
 * @throws as `BaseManager.start()`.
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Manager
 *
 * @example
 * ```ts
 * import { Manager, Process } from 'multiproc'
 *
 * await using manager = await Manager()
 * const ages = await manager.dict<string, number>()
 * const child = new Process({ target: () => ages.set('bob', 42) })
 * child.start()
 * await child.join()
 * console.log(await ages.get('bob')) // 42
 * ```
 */
export async function Manager(options?: ManagerOptions): Promise<SyncManager> {
  const manager = new SyncManager(options)
  await manager.start()
  return manager
}
