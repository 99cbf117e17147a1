/** ClusterQueue: items from programs on any machines to programs on any others. See "Queues" in README.md. */
import { ClosedError, QueueEmptyError, QueueFullError } from '../errors.ts'
import type { Msg } from '@nats-io/transport-node'
import { type WaitOptions, assertTimeout } from '../platform/bounded-wait.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { onAbort } from '../platform/on-abort.ts'
import { checkCount } from '../pool/option-checks.ts'
import { decodeItem } from '../queue/item-codec.ts'
import { iterateItems } from '../queue/iterate-items.ts'
import { encode } from '../serialize/codec.ts'
import { encodeForCluster } from './cluster-dict.ts'
import { ClusterObject } from './cluster-object.ts'
import { open, seal } from './sealed-message.ts'
import { type StateStore, isStoreFull, newNonce, wrongKey } from './state-store.ts'
import { openQueueStream, takeMsMax } from './state-streams.ts'
import { Turns } from './turns.ts'

/** Options of {@link ClusterState.Queue}. */
export interface ClusterQueueOptions {
  /**
   * Most items in the queue at a time; `put()` waits while there are as many. Whoever makes the queue first decides.
   * Default 0: a million.
   */
  maxSize?: number | undefined
}

const CALL_OPTIONS = ['timeout', 'signal']
/** The most items that `getMany()` returns when it is not told. */
const many = 1024
const answerMs = 2000

/**
 * A queue of several machines, with the methods of `Queue`. What is in it stays there when all programs have ended.
 *
 * An item is given to one `get()` at most: it is taken out before `get()` gives it, so that of a program that is killed
 * the items that it had taken are gone with it. The items of one producer stay in order.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Queue
 *
 * @example
 * ```ts
 * import { connectState } from 'multiproc/cluster'
 *
 * await using state = await connectState({ cluster: 'nats://queue.example:4222', name: 'render' })
 * const frames = state.Queue<{ frame: number }>('frames', { maxSize: 1000 })
 * await frames.put({ frame: 1 })
 * console.log(await frames.get({ timeout: 5000 })) // { frame: 1 }
 * ```
 */
export class ClusterQueue<T = unknown> extends ClusterObject implements AsyncIterable<T> {
  /** The most items that it holds at a time, if this program makes it; 0 for a million. */
  readonly maxSize: number
  readonly #stream: string
  readonly #subject: string
  readonly #items: string
  readonly #room: string
  readonly #putting: Turns
  readonly #getting: Turns
  readonly #calls = new Set<AbortController>()
  /** Taken out for a call that had ended when they came: for the next one. */
  readonly #kept: Uint8Array[] = []
  #opened: Promise<number> | undefined
  #closed: ClosedError | undefined

  /** @internal Made by {@link ClusterState.Queue}. */
  constructor(store: StateStore, name: string, options: number | ClusterQueueOptions) {
    super(store, name)
    if (typeof options === 'object') assertKnownOptions('Queue', options, ['maxSize'])
    const maxSize = typeof options === 'number' ? options : options.maxSize
    this.maxSize = checkCount('Queue.maxSize', maxSize, { min: 0, max: 2 ** 31 }) ?? 0
    this.#stream = store.names.queueStream(name)
    this.#subject = store.names.queueItems(name)
    this.#items = `items.${name}`
    this.#room = `room.${name}`
    this.#putting = new Turns(store.waits)
    this.#getting = new Turns(store.waits)
  }

  /** Whether `close()` was called here. */
  get isClosed(): boolean {
    return this.#closed !== undefined || this.store.waits.isClosed
  }

  /** How many items are in it now. Others may put and get at the same time. */
  async size(): Promise<number> {
    await this.#open()
    const { state } = await this.store.request(() => this.store.nats.manager.streams.info(this.#stream))
    return state.messages + this.#kept.length
  }

  /** How many items are in it now, as `size()`. */
  qsize(): Promise<number> {
    return this.size()
  }

  /** Whether nothing is in it now. */
  async empty(): Promise<boolean> {
    return (await this.size()) === 0
  }

  /** Whether it has as many items as it takes. */
  async full(): Promise<boolean> {
    const sizeMax = await this.#open()
    return (await this.size()) >= sizeMax
  }

  /**
   * Puts an item at the end. The promise fulfils when the server has it.
   *
   * @throws SerializeError when the item cannot be sent; ProcessError `ERR_LIMIT` when it is too long for the server;
   * QueueFullError when the timeout passes; ClosedError after `close()`; ClusterError when the server is away for too
   * long; the signal's reason.
   */
  async put(item: T, options: WaitOptions = {}): Promise<void> {
    await this.putMany([item], options)
  }

  /** `put()` that does not wait: `{ timeout: 0 }`. */
  async putNoWait(item: T): Promise<void> {
    await this.putMany([item], { timeout: 0 })
  }

  /**
   * Puts several items in order. When one of them cannot be sent, none is put.
   *
   * @throws as `put()`; when the timeout passes, those that were put stay, and the message says how many.
   */
  async putMany(items: Iterable<T>, options: WaitOptions = {}): Promise<void> {
    const messages = Array.from(items, item => this.#sealed(item))
    await this.#call('put', options, async left => {
      if (!(await this.#putting.enter(left()))) throw this.#isFull(0, messages.length)
      try {
        await this.#open()
        for (const [count, message] of messages.entries()) {
          const sequence = await this.store.waits.until(
            this.#room,
            cut => this.#publish(message, cut),
            left(),
            late => this.store.nats.manager.streams.deleteMessage(this.#stream, late, false).catch(() => {}),
          )
          if (sequence === undefined) throw this.#isFull(count, messages.length)
          this.store.poke(this.#items)
        }
      } finally {
        this.#putting.leave()
      }
    })
  }

  /**
   * Takes the first item, as soon as there is one. Several calls are served in their order.
   *
   * @throws QueueEmptyError when the timeout passes; ClosedError after `close()`; SerializeError when the item cannot be
   * rebuilt here; AuthenticationError for one that was put with another key, which is gone then; ClusterError when the
   * server is away for too long; the signal's reason.
   */
  async get(options: WaitOptions = {}): Promise<T> {
    const [item] = await this.getMany({ ...options, max: 1 })
    return item as T
  }

  /** `get()` that does not wait: `{ timeout: 0 }`. */
  getNoWait(): Promise<T> {
    return this.get({ timeout: 0 })
  }

  /** Waits for an item, and takes as many as there are, up to `max` (1024). */
  async getMany({ max = many, ...options }: WaitOptions & { max?: number } = {}): Promise<T[]> {
    const countMax = checkCount('getMany.max', max) ?? many
    const taken = await this.#call('get', options, async left => {
      if (!(await this.#getting.enter(left()))) throw this.#isEmpty()
      try {
        await this.#open()
        return await this.#takeUpTo(countMax, left)
      } finally {
        this.#getting.leave()
      }
    })
    const items: T[] = []
    for (const [index, bytes] of taken.entries()) {
      try {
        items.push((await decodeItem(bytes)) as T)
      } catch (error) {
        // One that cannot be rebuilt fails the call that it comes first in.
        this.#kept.unshift(...taken.slice(index === 0 ? 1 : index))
        if (index === 0) throw error
        break
      }
    }
    return items
  }

  /** This program does not use the queue any more; others do. Calls that wait are rejected. Twice is fine. */
  close(): void {
    if (this.#closed) return
    this.#closed = new ClosedError(
      `The queue "${this.name}" was closed here\nTo fix: close it when nothing uses it any more`,
    )
    for (const call of this.#calls) call.abort(this.#closed)
  }

  /** The items as they come, until the queue or the state is closed here. */
  [Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    return iterateItems(
      () => this.get(),
      () => this.isClosed,
    )
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Tells `act` at any time how long it may still wait, and rejects what it waits for when the queue is closed. */
  async #call<R>(
    method: string,
    { signal, ...options }: WaitOptions,
    act: (left: () => WaitOptions) => Promise<R>,
  ): Promise<R> {
    assertKnownOptions(`Queue.${method}()`, options, CALL_OPTIONS)
    const { timeout = Infinity } = options
    assertTimeout(timeout)
    if (this.#closed) throw this.#closed
    this.store.waits.assertOpen()
    signal?.throwIfAborted()
    const untilMs = performance.now() + timeout
    const call = new AbortController()
    const abort = (): void => call.abort(signal!.reason)
    if (signal) onAbort(signal, abort)
    this.#calls.add(call)
    try {
      return await act(() => ({ timeout: Math.max(0, untilMs - performance.now()), signal: call.signal }))
    } finally {
      this.#calls.delete(call)
      signal?.removeEventListener('abort', abort)
    }
  }

  #open(): Promise<number> {
    const opening = (this.#opened ??= openQueueStream(this.store, this.name, { maxSize: this.maxSize }))
    opening.catch(() => {
      // The next call tries again.
      if (this.#opened === opening) this.#opened = undefined
    })
    return opening
  }

  #sealed(item: T): { nonce: string; bytes: Buffer } {
    const nonce = newNonce()
    const frames = [encode({ nonce }), encodeForCluster(item, 'item')]
    const bytes = seal(this.store.settings.key, this.#subject, frames)
    this.store.assertLength(bytes)
    return { nonce, bytes }
  }

  /** One that the server has already, and whose answer was lost, is recognised by its nonce. */
  async #publish(
    { nonce, bytes }: { nonce: string; bytes: Buffer },
    cut: AbortSignal,
  ): Promise<number | undefined> {
    try {
      const publish = () => this.store.nats.publisher.publish(this.#subject, bytes, { msgID: nonce })
      return (await this.store.request(publish, cut)).seq
    } catch (error) {
      if (isStoreFull(error)) return undefined
      throw error
    }
  }

  async #takeUpTo(countMax: number, left: () => WaitOptions): Promise<Uint8Array[]> {
    const taken = this.#kept.splice(0, countMax)
    if (taken.length === 0) {
      const first = await this.store.waits.until(
        this.#items,
        cut => this.#take(cut),
        left(),
        late => this.#kept.push(late),
      )
      if (!first) throw this.#isEmpty()
      taken.push(first)
    }
    try {
      while (taken.length < countMax) {
        const next = await this.#take()
        if (!next) break
        taken.push(next)
      }
    } catch (error) {
      // What was taken is not lost with what comes behind it.
      this.#kept.unshift(...taken)
      throw error
    }
    return taken
  }

  /** One attempt to take an item out. */
  async #take(cut?: AbortSignal): Promise<Uint8Array | undefined> {
    const askedMs = performance.now()
    const message = await this.store.request(() => this.#next(), cut)
    if (!message) return undefined
    // This program was stopped meanwhile, and somebody else may have been given it.
    const leftMs = askedMs + takeMsMax - performance.now()
    if (leftMs <= 0) return undefined
    if (cut?.aborted) {
      message.respond(Buffer.from('-NAK'))
      return undefined
    }
    // Only who hears in time that it is out of the queue has it.
    const end = new AbortController()
    const timer = setTimeout(() => end.abort(), leftMs)
    try {
      const { connection } = this.store.nats
      const taking = () => connection.request(message.reply!, '+ACK', { timeout: answerMs })
      await this.store.request(taking, end.signal)
      if (performance.now() - askedMs > takeMsMax) return undefined
    } catch (error) {
      if (end.signal.aborted) return undefined
      throw error
    } finally {
      clearTimeout(timer)
    }
    this.store.poke(this.#room)
    const [, item] = open(this.store.settings.key, this.#subject, message.data) ?? []
    if (!item) throw wrongKey(this.store.names.state)
    return item
  }

  async #next(): Promise<Msg | undefined> {
    const { connection } = this.store.nats
    const message = await connection.request(
      `$JS.API.CONSUMER.MSG.NEXT.${this.#stream}.takers`,
      JSON.stringify({ batch: 1, no_wait: true }),
      // An item keeps the subject under which it was put, by which a common inbox would not find who asked.
      { noMux: true, timeout: answerMs },
    )
    // Nothing is there, or the server cannot say now.
    return (message.headers?.code ?? 0) === 0 ? message : undefined
  }

  #isFull(count: number, total: number): QueueFullError {
    return new QueueFullError(
      `The queue "${this.name}" is full${total > 1 ? `: ${count} of ${total} items were put` : ''}\nTo fix: give put() a longer "timeout", or the queue more consumers`,
    )
  }

  #isEmpty(): QueueEmptyError {
    return new QueueEmptyError(
      `Nothing came into the queue "${this.name}" in time\nTo fix: give get() a longer "timeout", or find out why nobody puts anything`,
    )
  }
}
