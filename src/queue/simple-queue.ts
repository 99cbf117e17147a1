/** SimpleQueue: a queue with nothing but put and get. */
import { inspect } from 'node:util'
import { addShareable } from '../broker/shareable.ts'
import { invalidArgument } from '../errors.ts'
import { type BlockingOptions, type WaitOptions, assertBlockingOptions } from '../platform/bounded-wait.ts'
import { sharedHeap } from '../platform/shared-heap.ts'
import type { Channel, ChannelHandle } from './channel.ts'
import { attachChannel, hasChannelMemory } from './channel-handle.ts'
import { iterateItems } from './iterate-items.ts'
import { QueueCore, type QueueForm, openQueue } from './queue-core.ts'
import { showQueue } from './queue-table.ts'
import { queueOperations } from './queue-operations.ts'
import { RemoteQueueCore } from './remote-queue-core.ts'
import { type Readiness, readiness } from './waitable.ts'

const cores = new WeakMap<object, QueueForm>()
/** Set while an object is made for a handle that arrived. */
let arriving: Channel | 'remote' | undefined

function coreOf(queue: object): QueueForm {
  const core = cores.get(queue)
  if (core !== undefined) return core
  throw invalidArgument(TypeError, 'This is not a SimpleQueue\nTo fix: call the method on a SimpleQueue')
}

/**
 * A queue without a limit that has only `put()` and `get()`, as Python's `multiprocessing.SimpleQueue`. Unlike
 * Python's it never makes `put()` wait.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.SimpleQueue
 *
 * @example
 * ```ts
 * import { Process, SimpleQueue } from 'multiproc'
 *
 * const squares = new SimpleQueue<number>()
 * const child = new Process({ target: () => squares.put(7 * 7) })
 * child.start()
 * console.log(await squares.get()) // 49
 * ```
 */
export class SimpleQueue<T = unknown> implements AsyncIterable<T> {
  constructor() {
    const arrived = arriving
    arriving = undefined
    const typeName = 'SimpleQueue'
    if (arrived === 'remote') {
      cores.set(this, new RemoteQueueCore(this, { typeName, maxSize: 0 }))
      return
    }
    const core = arrived === undefined ? QueueCore.create(typeName, 0) : new QueueCore(arrived, typeName)
    cores.set(this, core)
    core.register(this)
    if (arrived === undefined) showQueue(core)
  }

  /** Whether `close()` was called here. */
  get isClosed(): boolean {
    return coreOf(this).isClosed
  }

  /**
   * Whether nothing is in it now.
   *
   * @throws ClosedError after `close()`.
   */
  empty(): boolean {
    return coreOf(this).size === 0
  }

  /**
   * Puts an item at the end.
   *
   * @throws SerializeError when the item cannot be sent; ClosedError after `close()`.
   */
  put(item: T): Promise<void> {
    return coreOf(this).put(this, item, {})
  }

  /** `put()` in one step, without a promise. */
  putSync(item: T): void {
    coreOf(this).putAllSync([item], undefined)
  }

  /**
   * Takes the first item, as soon as there is one.
   *
   * @throws QueueEmptyError when the timeout passes; ClosedError after `close()`; the signal's reason.
   */
  get(options: WaitOptions = {}): Promise<T> {
    return coreOf(this).get(this, options) as Promise<T>
  }

  /** `get()` that blocks this thread. */
  getSync(options: BlockingOptions = {}): T {
    assertBlockingOptions(options)
    return coreOf(this).getSync(options.timeout) as T
  }

  /** This process or thread does not use the queue any more; others do. Twice is fine. */
  close(): void {
    coreOf(this).close(this)
  }

  /** The items as they come, until the queue is closed here. */
  [Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    return iterateItems(
      () => this.get(),
      () => this.isClosed,
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
    return this.isClosed ? '<SimpleQueue closed>' : `<SimpleQueue size=${coreOf(this).size}>`
  }
}

addShareable<SimpleQueue>({
  type: SimpleQueue,
  name: 'multiproc.SimpleQueue',
  module: import.meta.url,
  encode: (queue, receiver) => {
    coreOf(queue).assertOpen('send')
    return (coreOf(queue) as QueueCore).handleToSend(receiver)
  },
  handleIn: data => (data as ChannelHandle).block,
  isWhole: data =>
    hasChannelMemory(data as ChannelHandle) || openQueue((data as ChannelHandle).block) !== undefined,
  decode: data => {
    const { block } = data as ChannelHandle
    const known = openQueue(block)
    if (known === undefined) arriving = attachChannel(data as ChannelHandle)
    sharedHeap().noteArrived(block)
    return known === undefined ? new SimpleQueue() : (known as SimpleQueue)
  },
  makeRemote: () => {
    arriving = 'remote'
    return new SimpleQueue()
  },
  letGo: queue => coreOf(queue).close(queue),
  operations: queueOperations(queue => coreOf(queue) as QueueCore),
})
