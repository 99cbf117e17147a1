/** `manager.Queue()` and `manager.JoinableQueue()`: the real queue lies in the server; items are bytes to it. */
import { assertIterable } from '../platform/assert-iterable.ts'
import type { Operations } from '../broker/shareable.ts'
import { type WaitOptions, assertWaitOptions } from '../platform/bounded-wait.ts'
import { decodeItem, decodeItems, encodeItem } from '../queue/item-codec.ts'
import { iterateItems } from '../queue/iterate-items.ts'
import type { QueueCore } from '../queue/queue-core.ts'
import { queueOperations } from '../queue/queue-operations.ts'
import {
  GET_MANY_OPTIONS,
  JoinableQueue,
  Queue,
  type QueueOptions,
  type ShutdownQueueOptions,
  coreOf,
  isImmediate,
} from '../queue/queue.ts'
import { BaseProxy, addProxyType, factsOf } from './base-proxy.ts'
import type { ServedType } from './served-type.ts'

/** The most items that `getMany()` gives when it is not told. As that of Queue. */
const MANY = 1024

/**
 * A queue of a manager: see {@link Queue}. It can be joined in any case, as Python's, which is a `queue.Queue`. Items
 * travel as bytes and are rebuilt by who takes them. A proxy in it keeps its object for 5 minutes: keep another one
 * elsewhere.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.managers.SyncManager.Queue
 */
export class QueueProxy<T = unknown> extends BaseProxy implements AsyncIterable<T> {
  /** Taken together with one that could not be rebuilt, and not given to anybody yet. */
  #left: Uint8Array[] = []

  /** The most items that it holds at a time; 0 without a limit. */
  get maxSize(): number {
    return (factsOf(this) as { maxSize: number }).maxSize
  }

  /** @throws as `Queue.put()`; ClosedError when the manager ends. */
  put(item: T, options: WaitOptions = {}): Promise<void> {
    return this.#put([item], options)
  }

  /** `put()` that does not wait: `{ timeout: 0 }`. */
  putNoWait(item: T): Promise<void> {
    return this.#put([item], { timeout: 0 })
  }

  /** Puts several items in order; much faster than one by one. */
  async putMany(items: Iterable<T>, options: WaitOptions = {}): Promise<void> {
    assertIterable('Cannot put these items', items)
    await this.#put(Array.from(items), options)
  }

  async #put(values: readonly T[], options: WaitOptions): Promise<void> {
    assertWaitOptions(options)
    const { timeout, signal } = options
    const items = values.map((value, index) =>
      encodeItem(value, values.length === 1 ? 'item' : `item ${index}`),
    )
    await this.callMethod('put', [items, timeout], signal)
  }

  /** @throws as `Queue.get()`; ClosedError when the manager ends. */
  async get(options: WaitOptions = {}): Promise<T> {
    const [bytes] = await this.#take(1, options)
    return (await decodeItem(bytes!)) as T
  }

  /** `get()` that does not wait: `{ timeout: 0 }`. */
  getNoWait(): Promise<T> {
    return this.get({ timeout: 0 })
  }

  /** Waits for an item, and takes as many as there are, up to `max` (1024). */
  async getMany(options: WaitOptions & { max?: number } = {}): Promise<T[]> {
    assertWaitOptions(options, GET_MANY_OPTIONS)
    const { max = MANY, ...wait } = options
    const taken = await this.#take(max, wait)
    return (await decodeItems(taken, left => this.#left.unshift(...left))) as T[]
  }

  async #take(max: number, options: WaitOptions): Promise<Uint8Array[]> {
    assertWaitOptions(options)
    const { timeout, signal } = options
    if (this.#left.length > 0) return this.#left.splice(0, max)
    return (await this.callMethod('take', [max, timeout], signal)) as Uint8Array[]
  }

  /** How many items are in it now. */
  async qsize(): Promise<number> {
    return this.#left.length + ((await this.callMethod('size')) as number)
  }

  async empty(): Promise<boolean> {
    return (await this.qsize()) === 0
  }

  async full(): Promise<boolean> {
    return this.maxSize > 0 && (await this.qsize()) >= this.maxSize
  }

  /**
   * Nobody puts any more: `put()` rejects from now on, `get()` does once nothing is left, and `for await` ends.
   *
   * @param options - with `immediate`, what is in the queue is dropped, and counts as done for `join()`
   */
  async shutdown(options: ShutdownQueueOptions = {}): Promise<void> {
    const isAtOnce = isImmediate(options)
    await this.callMethod('shutDown', [isAtOnce])
    // What was taken and is here counts as done as well.
    if (isAtOnce) for (const _ of this.#left.splice(0)) await this.callMethod('taskDone')
  }

  /** @throws ProcessError `ERR_INVALID_STATE` when it is called more often than items were put. */
  taskDone(): Promise<void> {
    return this.callMethod('taskDone') as Promise<void>
  }

  /** Waits until `taskDone()` has been called for every item. @throws TimeoutError; the signal's reason. */
  async join(options: WaitOptions = {}): Promise<void> {
    assertWaitOptions(options)
    await this.callMethod('join', [options.timeout], options.signal)
  }

  /** The items as they come, until the queue is shut down and empty. */
  [Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    let isShutDown = false
    const next = async (): Promise<T> => {
      try {
        return await this.get()
      } catch (error) {
        isShutDown = (await this.callMethod('isShutDown').catch(() => false)) as boolean
        throw error
      }
    }
    return iterateItems(next, () => isShutDown)
  }
}

/** A queue of `manager.JoinableQueue()`: see {@link JoinableQueue}. */
export class JoinableQueueProxy<T = unknown> extends QueueProxy<T> {}

addProxyType('Queue', QueueProxy)
addProxyType('JoinableQueue', JoinableQueueProxy)

function queue(typeId: string, make: (options?: number | QueueOptions) => Queue): ServedType {
  return {
    typeId,
    isBuiltIn: true,
    make,
    operations: queueOperations<Queue>(of => coreOf(of) as QueueCore) as Operations<object>,
    factsOf: object => ({ maxSize: (object as Queue).maxSize }),
  }
}

/** @internal */
export const QUEUES: readonly ServedType[] = [
  queue('Queue', options => new Queue(options)),
  queue('JoinableQueue', options => new JoinableQueue(options)),
]
