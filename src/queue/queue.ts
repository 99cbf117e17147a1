/** Queue: items from any number of processes and threads to any number of others, first in, first out. */
import { inspect } from 'node:util'
import { assertIterable } from '../platform/assert-iterable.ts'
import { addShareable } from '../broker/shareable.ts'
import { invalidArgument } from '../errors.ts'
import {
  type BlockingOptions,
  type WaitOptions,
  assertBlockingOptions,
  assertWaitOptions,
} from '../platform/bounded-wait.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { sharedHeap } from '../platform/shared-heap.ts'
import { Channel, type ChannelHandle } from './channel.ts'
import { attachChannel, hasChannelMemory } from './channel-handle.ts'
import { iterateItems } from './iterate-items.ts'
import { QueueCore, type QueueForm, openQueue } from './queue-core.ts'
import { showQueue } from './queue-table.ts'
import { queueOperations } from './queue-operations.ts'
import { RemoteQueueCore } from './remote-queue-core.ts'
import { type Readiness, readiness } from './waitable.ts'

/** Options of {@link Queue} and {@link JoinableQueue}. */
export interface QueueOptions {
  /** Most items in the queue at a time; `put()` waits while there are as many. Default 0: no limit. */
  maxSize?: number | undefined
}

/** Options of {@link Queue.shutdown}. */
export interface ShutdownQueueOptions {
  /** Drop what is in the queue, as Python does. Default: it can still be taken. */
  immediate?: boolean | undefined
}

/** @internal */
export const GET_MANY_OPTIONS = ['max', 'timeout', 'signal']

/** The most items that `getMany()` returns when it is not told. */
const MANY = 1024

/** Of each queue object, `JoinableQueue` included: what is not for its users. */
const cores = new WeakMap<object, QueueForm>()
/** Set while an object is made for a handle that arrived: its channel, or how many items it takes elsewhere. */
let arriving: Channel | { maxSize: number } | undefined

/** What a queue of this module hides. */
export function coreOf(queue: object): QueueForm {
  const core = cores.get(queue)
  if (core !== undefined) return core
  throw invalidArgument(TypeError, 'This is not a queue\nTo fix: call the method on a queue')
}

/**
 * A queue that processes and threads share, as Python's `multiprocessing.Queue`.
 *
 * Pass it to a child in any way: as an argument, in a captured variable, through another queue; also to a child that is
 * already running. The items of one producer stay in order. `put()` turns the item into bytes at once, so an item that
 * cannot be sent rejects that call and nothing else. A queue without `maxSize` takes items until memory is used up, so
 * a process can end, and be joined, before what it put has been taken.
 *
 * When a process is killed, items that it had taken are gone with it; nothing else is.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Queue
 *
 * @example
 * ```ts
 * import { Process, Queue } from 'multiproc'
 *
 * const queue = new Queue<string>()
 * const child = new Process({ target: () => queue.put('hello from the child') })
 * child.start()
 * console.log(await queue.get())
 * await child.join()
 * ```
 */
export class Queue<T = unknown> implements AsyncIterable<T> {
  /**
   * @param options - or `maxSize` itself
   * @throws RangeError for a `maxSize` that is no whole number. ProcessError `ERR_LIMIT` without memory.
   */
  constructor(options: number | QueueOptions = {}) {
    const arrived = arriving
    arriving = undefined
    const typeName = new.target.name
    if (arrived !== undefined && !(arrived instanceof Channel)) {
      cores.set(this, new RemoteQueueCore(this, { typeName, maxSize: arrived.maxSize }))
      return
    }
    const core = arrived === undefined ? newCore(typeName, options) : new QueueCore(arrived, typeName)
    cores.set(this, core)
    core.register(this)
    if (arrived === undefined) showQueue(core)
  }

  /** The most items that it holds at a time; 0 without a limit. */
  get maxSize(): number {
    return coreOf(this).maxSize
  }

  /** How many items are in it now. Others may put and get at the same time. */
  get size(): number {
    return coreOf(this).size
  }

  /** Whether `close()` was called here. */
  get isClosed(): boolean {
    return coreOf(this).isClosed
  }

  /** How many items are in it now, as `size`. */
  qsize(): number {
    return coreOf(this).size
  }

  /** Whether nothing is in it now. What a finished `put()` put is seen by everybody. */
  empty(): boolean {
    return coreOf(this).isEmpty()
  }

  /** Whether it has as many items as `maxSize` allows. */
  full(): boolean {
    return coreOf(this).isFull()
  }

  /**
   * Puts an item at the end. The promise fulfils when the item is in the queue: at once, unless the queue is full.
   *
   * @throws SerializeError when the item cannot be sent; QueueFullError when the timeout passes; ClosedError after
   * `close()` or `shutdown()`; the signal's reason.
   */
  put(item: T, options: WaitOptions = {}): Promise<void> {
    return coreOf(this).put(this, item, options)
  }

  /** `put()` that does not wait: `{ timeout: 0 }`. */
  putNoWait(item: T): Promise<void> {
    return coreOf(this).put(this, item, { timeout: 0 })
  }

  /** `put()` that blocks this thread. */
  putSync(item: T, options: BlockingOptions = {}): void {
    assertBlockingOptions(options)
    coreOf(this).putAllSync([item], options.timeout)
  }

  /**
   * Puts several items in order; much faster than one by one. When one of them cannot be sent, none is put.
   *
   * @throws as `put()`; when the timeout passes, those that were put stay, and the message says how many.
   */
  async putMany(items: Iterable<T>, options: WaitOptions = {}): Promise<void> {
    assertIterable('Cannot put these items', items)
    await coreOf(this).putAll(this, Array.from(items), options)
  }

  /** `putMany()` that blocks this thread. */
  putManySync(items: Iterable<T>, options: BlockingOptions = {}): void {
    assertBlockingOptions(options)
    assertIterable('Cannot put these items', items)
    coreOf(this).putAllSync(Array.from(items), options.timeout)
  }

  /**
   * Takes the first item, as soon as there is one. Several calls are served in their order.
   *
   * @throws QueueEmptyError when the timeout passes; ClosedError after `close()`, or when the queue was shut down and
   * nothing is left; SerializeError when the item cannot be rebuilt here; the signal's reason.
   */
  get(options: WaitOptions = {}): Promise<T> {
    return coreOf(this).get(this, options) as Promise<T>
  }

  /** `get()` that does not wait: `{ timeout: 0 }`. */
  getNoWait(): Promise<T> {
    return coreOf(this).get(this, { timeout: 0 }) as Promise<T>
  }

  /**
   * `get()` that blocks this thread.
   *
   * @throws as `get()`; ProcessError `ERR_NOT_SUPPORTED` when the item needs a module that is not loaded here, which a
   * blocked thread cannot do. The item stays in the queue.
   */
  getSync(options: BlockingOptions = {}): T {
    assertBlockingOptions(options)
    return coreOf(this).getSync(options.timeout) as T
  }

  /** Waits for an item, and takes as many as there are, up to `max` (1024). */
  getMany(options: WaitOptions & { max?: number } = {}): Promise<T[]> {
    assertWaitOptions(options, GET_MANY_OPTIONS)
    const { max = MANY, ...wait } = options
    if (!Number.isInteger(max) || max < 1) {
      throw invalidArgument(
        RangeError,
        `Cannot get items: "max" must be a whole number from 1 on, got ${String(max)}\nTo fix: pass such a number`,
      )
    }
    return coreOf(this).getMany(this, max, wait) as Promise<T[]>
  }

  /**
   * Nobody puts any more, here or elsewhere: `put()` rejects from now on, `get()` does once nothing is left, and
   * `for await` ends. As Python's `queue.Queue.shutdown()`.
   *
   * @param options - with `immediate`, what is in the queue is dropped, and counts as done for `join()`
   */
  shutdown(options: ShutdownQueueOptions = {}): void {
    coreOf(this).shutDown(isImmediate(options))
  }

  /**
   * This process or thread does not use the queue any more; others do. Calls of `get()` that wait are rejected; calls
   * of `put()` that wait are still carried out, see `joinThread()`. Twice is fine; so is not calling it.
   */
  close(): void {
    coreOf(this).close(this)
  }

  /**
   * After `close()`: waits until the items of all calls of `put()` are in the queue. There is no thread as in Python;
   * only a full queue makes it wait. A process that ends by itself does so when its puts are done, too.
   *
   * @throws ProcessError `ERR_INVALID_STATE` before `close()`.
   */
  joinThread(): Promise<void> {
    return coreOf(this).joinThread()
  }

  /** Has `close()` reject the calls of `put()` that wait, instead of carrying them out. */
  cancelJoinThread(): void {
    coreOf(this).cancelJoinThread()
  }

  /** The items as they come, until the queue is closed here, or shut down and empty. */
  [Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    const core = coreOf(this)
    return iterateItems(
      () => this.get(),
      () => core.isClosed || (core.isShutDown && core.isEmpty()),
    )
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** For `wait()`: ready when `get()` would not wait. */
  [readiness](): Readiness {
    return coreOf(this).readiness()
  }

  /** What the console shows, as Python's `str()`. */
  toString(): string {
    return this[inspect.custom]()
  }

  [inspect.custom](): string {
    const core = coreOf(this)
    const name = this.constructor.name
    return core.isClosed ? `<${name} closed>` : `<${name} size=${core.size} maxSize=${this.maxSize}>`
  }
}

/** @internal */
export function isImmediate(options: ShutdownQueueOptions): boolean {
  assertKnownOptions('Queue.shutdown()', options, ['immediate'])
  return options.immediate === true
}

function newCore(typeName: string, options: number | QueueOptions): QueueCore {
  if (typeof options !== 'number') assertKnownOptions(typeName, options, ['maxSize'])
  const maxSize = typeof options === 'number' ? options : (options.maxSize ?? 0)
  if (!Number.isInteger(maxSize) || maxSize >= 2 ** 31) {
    throw invalidArgument(
      typeof maxSize === 'number' ? RangeError : TypeError,
      `Cannot make a ${typeName}: "maxSize" must be a whole number below 2^31, got ${String(maxSize)}\n` +
        'To fix: pass such a number, or 0 for no limit',
    )
  }
  return QueueCore.create(typeName, Math.max(0, maxSize))
}

/**
 * A queue that also counts which of its items have been dealt with, as Python's `multiprocessing.JoinableQueue`: who
 * gets an item calls `taskDone()` after its work, and `join()` waits until that was done for all that were put.
 *
 * An item that a killed process had taken is never reported as done: give `join()` a timeout or a signal where
 * consumers may be killed.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.JoinableQueue
 */
export class JoinableQueue<T = unknown> extends Queue<T> {
  /**
   * One of the items that were taken has been dealt with.
   *
   * @throws ProcessError `ERR_INVALID_STATE` when it is called more often than items were put.
   */
  taskDone(): void {
    coreOf(this).taskDone()
  }

  /**
   * Waits until `taskDone()` has been called for every item that was put.
   *
   * @throws TimeoutError when the timeout passes; ClosedError after `close()`; the signal's reason.
   */
  join(options: WaitOptions = {}): Promise<void> {
    return coreOf(this).join(this, options)
  }

  /** `join()` that blocks this thread. */
  joinSync(options: BlockingOptions = {}): void {
    assertBlockingOptions(options)
    coreOf(this).joinSync(options.timeout)
  }
}

/** What travels; a queue of another process does not ask it how many items it takes. */
interface QueueHandle extends ChannelHandle {
  maxSize: number
}

function share(type: typeof Queue, name: string): void {
  addShareable<Queue>({
    type,
    name,
    module: import.meta.url,
    encode: (queue, receiver): QueueHandle => {
      coreOf(queue).assertOpen('send')
      const core = coreOf(queue) as QueueCore
      return { ...core.handleToSend(receiver), maxSize: core.maxSize }
    },
    handleIn: data => (data as QueueHandle).block,
    isWhole: data =>
      hasChannelMemory(data as QueueHandle) || openQueue((data as QueueHandle).block) !== undefined,
    decode: data => {
      const { block } = data as QueueHandle
      const known = openQueue(block)
      if (known === undefined) arriving = attachChannel(data as QueueHandle)
      sharedHeap().noteArrived(block)
      return known === undefined ? new type() : (known as Queue)
    },
    makeRemote: data => {
      arriving = { maxSize: (data as QueueHandle).maxSize }
      return new type()
    },
    letGo: queue => coreOf(queue).close(queue),
    operations: queueOperations(queue => coreOf(queue) as QueueCore),
  })
}
share(Queue, 'multiproc.Queue')
share(JoinableQueue, 'multiproc.JoinableQueue')
