/** `manager.Pool()`: a pool whose workers belong to the server's process, and its proxy. */
import { type BlockingOptions, assertBlockingOptions } from '../platform/bounded-wait.ts'
import type { AsyncResult } from '../pool/async-result.ts'
import type { ImapIterator } from '../pool/imap-iterator.ts'
import type { Input } from '../pool/input-reader.ts'
import { Pool } from '../pool/pool.ts'
import type { ImapOptions, MapOptions, PoolOptions } from '../pool/pool-options.ts'
import type { TaskOptions } from '../pool/task-limits.ts'
import { BaseProxy, addProxyType } from './base-proxy.ts'
import type { ServedType } from './served-type.ts'

type AnyFunction = (...args: never[]) => unknown
/** What can be given over a socket: a signal cannot. */
type Sendable<Options> = Omit<Options, 'signal' | 'onProgress' | 'transfer'>

/** In the server: what a proxy keeps there must not be a promise, which would be awaited. */
class ManagedResult {
  readonly #result: AsyncResult<unknown>

  constructor(result: AsyncResult<unknown>) {
    this.#result = result
    // Who asks is told.
    result.catch(() => {})
  }

  get(timeout?: number): Promise<unknown> {
    return this.#result.get({ timeout })
  }

  wait(timeout?: number): Promise<void> {
    return this.#result.wait({ timeout })
  }

  ready(): boolean {
    return this.#result.ready()
  }

  successful(): boolean {
    return this.#result.successful()
  }

  cancel(reason?: unknown): boolean {
    return this.#result.cancel(reason)
  }
}

/** In the server. */
class ManagedIterator {
  readonly iterator: ImapIterator<unknown>

  constructor(iterator: ImapIterator<unknown>) {
    this.iterator = iterator
  }

  next(timeout?: number): Promise<IteratorResult<unknown, undefined>> {
    return this.iterator.next({ timeout })
  }
}

/** In the server. */
class ManagedPool {
  readonly pool: Pool

  constructor(options?: number | PoolOptions) {
    this.pool = new Pool(options)
  }

  apply(fn: AnyFunction, args?: never[], options?: TaskOptions): AsyncResult<unknown> {
    return this.pool.apply(fn, args, options)
  }

  applyAsync(fn: AnyFunction, args?: never[], options?: TaskOptions): ManagedResult {
    return new ManagedResult(this.pool.apply(fn, args, options))
  }

  map(fn: (item: unknown) => unknown, items: unknown[], options?: MapOptions): AsyncResult<unknown> {
    return this.pool.map(fn, items, options)
  }

  mapAsync(fn: (item: unknown) => unknown, items: unknown[], options?: MapOptions): ManagedResult {
    return new ManagedResult(this.pool.map(fn, items, options))
  }

  starmap(fn: AnyFunction, items: never[][], options?: MapOptions): AsyncResult<unknown> {
    return this.pool.starmap(fn, items, options)
  }

  starmapAsync(fn: AnyFunction, items: never[][], options?: MapOptions): ManagedResult {
    return new ManagedResult(this.pool.starmap(fn, items, options))
  }

  imap(fn: (item: unknown) => unknown, items: unknown[], options?: ImapOptions): ManagedIterator {
    return new ManagedIterator(this.pool.imap(fn, items, options))
  }

  imapUnordered(fn: (item: unknown) => unknown, items: unknown[], options?: ImapOptions): ManagedIterator {
    return new ManagedIterator(this.pool.imapUnordered(fn, items, options))
  }

  close(): void {
    this.pool.close()
  }

  terminate(): Promise<void> {
    return this.pool.terminate()
  }

  join(): Promise<void> {
    return this.pool.join()
  }
}

/** A result of a pool in a manager that may not be there yet: see {@link AsyncResult}. */
export class AsyncResultProxy<T = unknown> extends BaseProxy {
  /** @throws what the task threw; TimeoutError after the timeout. */
  async get(options: BlockingOptions = {}): Promise<T> {
    assertBlockingOptions(options)
    return (await this.callMethod('get', [options.timeout])) as T
  }

  /** Waits until it is there, or for the timeout. */
  async wait(options: BlockingOptions = {}): Promise<void> {
    assertBlockingOptions(options)
    await this.callMethod('wait', [options.timeout])
  }

  ready(): Promise<boolean> {
    return this.callMethod('ready') as Promise<boolean>
  }

  /** @throws ProcessError `ERR_INVALID_STATE` before it is there. */
  successful(): Promise<boolean> {
    return this.callMethod('successful') as Promise<boolean>
  }

  /** Calls the task off; whether that came in time. */
  cancel(reason?: unknown): Promise<boolean> {
    return this.callMethod('cancel', reason === undefined ? [] : [reason]) as Promise<boolean>
  }
}

/** Results of a pool in a manager, one after the other. */
export class IteratorProxy<T = unknown> extends BaseProxy implements AsyncIterableIterator<T, undefined> {
  async next(options: BlockingOptions = {}): Promise<IteratorResult<T, undefined>> {
    assertBlockingOptions(options)
    return (await this.callMethod('next', [options.timeout])) as IteratorResult<T, undefined>
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

/**
 * A pool of a manager: see {@link Pool}. Its workers are children of the manager's process, and work for all who have a
 * proxy. Functions, arguments and results travel twice.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.managers.SyncManager
 *
 * @example
 * ```ts
 * import { Manager } from 'multiproc'
 *
 * await using manager = await Manager()
 * const pool = await manager.Pool(2)
 * console.log(await pool.map((n: number) => n * n, [1, 2, 3])) // [ 1, 4, 9 ]
 * await pool.terminate()
 * ```
 */
export class PoolProxy extends BaseProxy implements AsyncDisposable {
  /** Runs `fn(...args)` in a worker, and gives its result. */
  apply<A extends unknown[], R>(
    fn: (...args: A) => R,
    args?: Readonly<A>,
    options?: Sendable<TaskOptions>,
  ): Promise<Awaited<R>> {
    return this.callMethod('apply', [fn, args, options]) as Promise<Awaited<R>>
  }

  /** The same, for who does not want to wait now. */
  applyAsync<A extends unknown[], R>(
    fn: (...args: A) => R,
    args?: Readonly<A>,
    options?: Sendable<TaskOptions>,
  ): Promise<AsyncResultProxy<Awaited<R>>> {
    return this.callMethod('applyAsync', [fn, args, options]) as Promise<AsyncResultProxy<Awaited<R>>>
  }

  /** Calls `fn(item)` for every item; all results in the order of the items. */
  map<T, R>(fn: (item: T) => R, items: Input<T>, options?: Sendable<MapOptions>): Promise<Awaited<R>[]> {
    return this.#overItems('map', fn, items, options) as Promise<Awaited<R>[]>
  }

  mapAsync<T, R>(
    fn: (item: T) => R,
    items: Input<T>,
    options?: Sendable<MapOptions>,
  ): Promise<AsyncResultProxy<Awaited<R>[]>> {
    return this.#overItems('mapAsync', fn, items, options) as Promise<AsyncResultProxy<Awaited<R>[]>>
  }

  /** As `map`, for functions of several parameters: each item is an array of arguments. */
  starmap<A extends unknown[], R>(
    fn: (...args: A) => R,
    items: Input<Readonly<A>>,
    options?: Sendable<MapOptions>,
  ): Promise<Awaited<R>[]> {
    return this.#overItems('starmap', fn, items, options) as Promise<Awaited<R>[]>
  }

  starmapAsync<A extends unknown[], R>(
    fn: (...args: A) => R,
    items: Input<Readonly<A>>,
    options?: Sendable<MapOptions>,
  ): Promise<AsyncResultProxy<Awaited<R>[]>> {
    return this.#overItems('starmapAsync', fn, items, options) as Promise<AsyncResultProxy<Awaited<R>[]>>
  }

  /** As `map`, but gives each result as soon as it and those before it are there. All items are sent before. */
  imap<T, R>(
    fn: (item: T) => R,
    items: Input<T>,
    options?: Sendable<ImapOptions>,
  ): Promise<IteratorProxy<Awaited<R>>> {
    return this.#overItems('imap', fn, items, options) as Promise<IteratorProxy<Awaited<R>>>
  }

  /** As `imap`, in the order in which results arrive. */
  imapUnordered<T, R>(
    fn: (item: T) => R,
    items: Input<T>,
    options?: Sendable<ImapOptions>,
  ): Promise<IteratorProxy<Awaited<R>>> {
    return this.#overItems('imapUnordered', fn, items, options) as Promise<IteratorProxy<Awaited<R>>>
  }

  async #overItems(method: string, fn: unknown, items: Input<unknown>, options: unknown): Promise<unknown> {
    const all: unknown[] = []
    for await (const item of items as AsyncIterable<unknown>) all.push(item)
    return await this.callMethod(method, [fn, all, options])
  }

  /** Accepts no more work. */
  close(): Promise<void> {
    return this.callMethod('close') as Promise<void>
  }

  /** Stops the workers without finishing their work. */
  terminate(): Promise<void> {
    return this.callMethod('terminate') as Promise<void>
  }

  /** Waits until the workers have ended. @throws ProcessError `ERR_INVALID_STATE` before `close()` or `terminate()`. */
  join(): Promise<void> {
    return this.callMethod('join') as Promise<void>
  }

  /** Closes the pool and waits until all submitted work is done. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
    await this.join()
  }
}

addProxyType('Pool', PoolProxy)
addProxyType('AsyncResult', AsyncResultProxy)
addProxyType('Iterator', IteratorProxy)

/** @internal */
export const POOL_TYPES: readonly ServedType[] = [
  {
    typeId: 'Pool',
    isBuiltIn: true,
    make: (options?: number | PoolOptions) => new ManagedPool(options),
    methodToTypeId: {
      applyAsync: 'AsyncResult',
      mapAsync: 'AsyncResult',
      starmapAsync: 'AsyncResult',
      imap: 'Iterator',
      imapUnordered: 'Iterator',
    },
    snapshot: object => (object as ManagedPool).pool.name,
    // No proxy is left: nobody could ask for a result.
    end: object => void (object as ManagedPool).pool.terminate(),
  },
  { typeId: 'AsyncResult', isBuiltIn: true, snapshot: () => 'a result' },
  { typeId: 'Iterator', isBuiltIn: true, snapshot: () => 'results' },
]
