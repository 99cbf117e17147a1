/**
 * What all queues do: items into a channel and out of it, each now or as soon as possible, in the order of the calls.
 * The public classes add names and options.
 */
import { ClosedError, QueueEmptyError, QueueFullError, TimeoutError, invalidState } from '../errors.ts'
import { type QueueWaitMessage, queueChannel } from '../insights/channels.ts'
import { type FollowedWait, followBlocking, followWait, isWaitFollowed } from '../insights/followed-wait.ts'
import { type WaitOptions, assertTimeout, assertWaitOptions, isLookOnly } from '../platform/bounded-wait.ts'
import { knownObject, standFor, standNoMore } from '../platform/heap-objects.ts'
import { carry } from '../platform/in-flight.ts'
import type { BlockHandle } from '../platform/shared-heap.ts'
import type { Receiver } from '../serialize/codec.ts'
import { CHANNEL, CHANNEL_KIND } from './channel-layout.ts'
import { Channel, type ChannelHandle, type OutgoingItem } from './channel.ts'
import { channelToSend, holdChannel } from './channel-handle.ts'
import { doneWith } from './held-items.ts'
import {
  assertNothingToLoad,
  decodeItem,
  decodeItems,
  encodeOutgoing,
  letGoOf,
  turnNowAndThen,
} from './item-codec.ts'
import { queueWait } from './queue-wait.ts'
import { type Attempt, WaitLine } from './wait-line.ts'
import type { Readiness } from './waitable.ts'

const DONE = Promise.resolve()

/** The memory that an empty queue takes. */
const RING_BYTES = 16 * 1024

/** What the public classes need of a queue, wherever its memory is. */
export interface QueueForm {
  readonly maxSize: number
  readonly size: number
  readonly isClosed: boolean
  readonly isShutDown: boolean
  isReady(): boolean
  isEmpty(): boolean
  isFull(): boolean
  put(owner: object, value: unknown, options: WaitOptions): Promise<void>
  putAll(owner: object, values: readonly unknown[], options: WaitOptions): Promise<void>
  putAllSync(values: readonly unknown[], timeout: number | undefined): void
  get(owner: object, options: WaitOptions): Promise<unknown>
  getMany(owner: object, max: number, options: WaitOptions): Promise<unknown[]>
  getSync(timeout: number | undefined): unknown
  taskDone(): void
  join(owner: object, options: WaitOptions): Promise<void>
  joinSync(timeout: number | undefined): void
  shutDown(isImmediate: boolean): void
  close(queue: object): void
  joinThread(): Promise<void>
  cancelJoinThread(): void
  assertOpen(action: QueueAction): void
  readiness(): Readiness
}

/** So many that others do not wait long for their turn to read. */
const DROPPED_AT_ONCE = 1024

/** What somebody does with a queue. */
export type QueueAction = 'put' | 'get' | 'send' | 'use' | 'wait'

/** For `joinThread()`. */
export function assertClosedBeforeJoin(isClosed: boolean): void {
  if (isClosed) return
  throw invalidState('joinThread() waits for the end of close()\nTo fix: call close() before it')
}

/** For a queue that was closed here. */
export function queueClosed(typeName: string, action: QueueAction): ClosedError {
  const verb = { put: 'put into', get: 'get from', send: 'send', use: 'use', wait: 'wait for' }[action]
  return new ClosedError(
    `Cannot ${verb} this ${typeName}: it is closed here\nTo fix: call close() when nothing here uses it any more`,
  )
}

/** The object for a queue whose memory is here, if there is one. */
export function openQueue(handle: BlockHandle): object | undefined {
  return knownObject(handle, CHANNEL_KIND)
}

export class QueueCore implements QueueForm {
  readonly channel: Channel
  /** Those who wait for items, for room, and for `taskDone()`. */
  readonly readers: WaitLine
  readonly writers: WaitLine
  readonly joiners: WaitLine
  readonly typeName: string
  /** Taken together with one that could not be decoded, and not given to anybody yet. */
  #left: Uint8Array[] = []
  #isClosed = false
  #object: WeakRef<object> | undefined
  #wasUsed = false
  #wasEmpty = false
  #gaveUpWriters = false
  /** Stands for the channel in messages: they may be sent again after `close()`. */
  #hold: object | undefined
  #drained: Promise<void> = Promise.resolve()

  constructor(channel: Channel, typeName: string) {
    const { heap, base } = channel
    this.channel = channel
    this.typeName = typeName
    this.readers = new WaitLine(heap, {
      word: base + CHANNEL.commits,
      counter: base + CHANNEL.readersWaiting,
    })
    this.writers = new WaitLine(heap, { word: base + CHANNEL.takes, counter: base + CHANNEL.writersWaiting })
    this.joiners = new WaitLine(heap, { word: base + CHANNEL.done, counter: base + CHANNEL.doneWaiting })
  }

  static create(typeName: string, maxSize: number): QueueCore {
    return new QueueCore(Channel.create({ maxSize, isGrowing: true, ringBytes: RING_BYTES }), typeName)
  }

  /** `queue` is the object for it, until it is collected or closed. */
  register(queue: object): void {
    const { channel } = this
    this.#object = new WeakRef(queue)
    standFor(queue, CHANNEL_KIND, {
      heap: channel.heap,
      handle: channel.handle.block,
      release: () => channel.release(),
    })
  }

  /** What travels. The message counts the handle until it has arrived, also when the queue has been closed here. */
  handleToSend(receiver: Receiver): ChannelHandle {
    this.assertOpen('send')
    this.#hold ??= holdChannel(this.channel.handle)
    carry(this.#hold, this.channel.handle.block)
    return channelToSend(this.channel.handle, receiver)
  }

  get maxSize(): number {
    return this.channel.maxSize
  }

  get isShutDown(): boolean {
    return this.channel.isShutDown
  }

  shutDown(isImmediate: boolean): void {
    this.assertOpen('use')
    this.channel.shutDown()
    if (isImmediate) this.#dropAll()
    for (const line of [this.readers, this.writers, this.joiners]) line.look()
  }

  /** Ends, whoever else takes items meanwhile: after a shutdown nobody puts any. */
  #dropAll(): void {
    const drop = (): Attempt<{ isEmpty: boolean }> => {
      const taken = this.#left.length > 0 ? this.#left.splice(0) : this.channel.take(DROPPED_AT_ONCE)
      if (taken === 'busy') return 'busy'
      taken.forEach(doneWith)
      // So that join() does not wait for what nobody will ever take.
      for (const _ of taken) this.#countDone()
      return { value: { isEmpty: taken.length === 0 } }
    }
    while (!this.readers.waitSync(drop, undefined, () => ({ isEmpty: true })).isEmpty);
  }

  readiness(): Readiness {
    return { isReady: () => this.isReady(), line: this.readers }
  }

  // ---- Put ----

  /** The usual case, without a wait and with one promise that is there already. */
  put(owner: object, value: unknown, options: WaitOptions): Promise<void> {
    if (this.writers.length > 0 || this.#isClosed || options.signal !== undefined) {
      return this.putAll(owner, [value], options)
    }
    let items: OutgoingItem[] = []
    try {
      assertWaitOptions(options)
      items = this.#encodeAll([value])
      if (this.channel.put(items) === 1) {
        this.readers.look()
        return turnNowAndThen() ?? DONE
      }
    } catch (error) {
      letGo(items, 0)
      return Promise.reject(error)
    }
    return this.#putRest(owner, items, options)
  }

  /** Puts the items in order. Nothing is put when one of them cannot be sent. */
  async putAll(owner: object, values: readonly unknown[], options: WaitOptions): Promise<void> {
    assertWaitOptions(options)
    this.assertOpen('put')
    await this.#putRest(owner, this.#encodeAll(values), options)
  }

  async #putRest(owner: object, items: OutgoingItem[], options: WaitOptions): Promise<void> {
    let done = 0
    const attempt = (): Attempt<void> => {
      const count = this.channel.put(items, done)
      if (count === 'busy') return 'busy'
      done += count
      if (count > 0) this.readers.look()
      return done === items.length ? { value: undefined } : 'wait'
    }
    try {
      options.signal?.throwIfAborted()
      const isDone = this.writers.length === 0 && typeof attempt() === 'object'
      if (!isDone) {
        if (isLookOnly(options.timeout)) throw this.#full(done, items.length)
        const wait = (): Promise<void> =>
          this.writers.wait(owner, attempt, options, () => {
            throw this.#full(done, items.length)
          })
        await (isWaitFollowed(queueChannel()) ? followWait(this.#waitOf('put', owner), wait) : wait())
      }
    } catch (error) {
      letGo(items, done)
      throw error
    }
    await turnNowAndThen()
  }

  /** `putAll()` of items that another process has encoded. */
  async putBytes(owner: object, items: readonly Uint8Array[], options: WaitOptions): Promise<void> {
    assertWaitOptions(options)
    this.assertOpen('put')
    this.#wasUsed = true
    await this.#putRest(
      owner,
      items.map(bytes => this.channel.outgoing(bytes)),
      options,
    )
  }

  putAllSync(values: readonly unknown[], timeout: number | undefined): void {
    assertTimeout(timeout)
    this.assertOpen('put')
    const items = this.#encodeAll(values)
    let done = 0
    const attempt = (): Attempt<void> => {
      // Those who wait with `await` came before.
      this.writers.look()
      if (this.writers.length > 0) return 'wait'
      const count = this.channel.put(items, done)
      if (count === 'busy') return 'busy'
      done += count
      return done === items.length ? { value: undefined } : 'wait'
    }
    const wait = (): void => {
      this.writers.waitSync(attempt, timeout, () => {
        throw this.#full(done, items.length)
      })
    }
    try {
      if (isLookOnly(timeout) || !isWaitFollowed(queueChannel())) wait()
      else this.#waitTold('put', attempt, wait)
    } catch (error) {
      letGo(items, done)
      throw error
    } finally {
      if (done > 0) this.readers.look()
    }
  }

  #encodeAll(values: readonly unknown[]): OutgoingItem[] {
    this.#wasUsed = true
    const items: OutgoingItem[] = []
    try {
      for (const value of values) {
        const bytes = encodeOutgoing(value, values.length === 1 ? 'item' : `item ${items.length}`)
        items.push(this.channel.outgoing(bytes))
      }
    } catch (error) {
      letGo(items, 0)
      throw error
    }
    return items
  }

  // ---- Get ----

  /** The usual case without more promises than one. */
  get(owner: object, options: WaitOptions): Promise<unknown> {
    if (this.#isClosed || this.readers.length > 0 || this.#left.length > 0 || options.signal !== undefined) {
      return this.#getLater(owner, options)
    }
    try {
      assertWaitOptions(options)
      const taken = this.channel.take(1)
      if (typeof taken === 'string' || taken.length === 0) return this.#getLater(owner, options)
      this.writers.look()
      const turn = turnNowAndThen()
      if (turn === undefined) return Promise.resolve(decodeItem(taken[0]!))
      return turn.then(() => decodeItem(taken[0]!))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async #getLater(owner: object, options: WaitOptions): Promise<unknown> {
    const [bytes] = await this.takeBytes(owner, 1, options)
    await turnNowAndThen()
    return decodeItem(bytes!)
  }

  /** At least one item, and as many as there are up to `max`. */
  async getMany(owner: object, max: number, options: WaitOptions): Promise<unknown[]> {
    const taken = await this.takeBytes(owner, max, options)
    await turnNowAndThen()
    return await decodeItems(taken, left => this.#left.unshift(...left))
  }

  getSync(timeout: number | undefined): unknown {
    this.assertOpen('get')
    const attempt = (): Attempt<Uint8Array[]> => this.#tryTake(1, assertNothingToLoad)
    const wait = (): Uint8Array[] => this.readers.waitSync(attempt, timeout, () => this.#emptyNow())
    const isTold = !isLookOnly(timeout) && isWaitFollowed(queueChannel())
    const [bytes] = isTold ? this.#waitTold('get', attempt, wait) : wait()
    this.writers.look()
    return decodeItem(bytes!)
  }

  /**
   * Takes items without decoding them, as soon as there is one.
   *
   * @throws what `accept` throws of the first one, which stays
   */
  async takeBytes(
    owner: object,
    max: number,
    options: WaitOptions,
    accept?: (bytes: Uint8Array) => void,
  ): Promise<Uint8Array[]> {
    assertWaitOptions(options)
    this.assertOpen('get')
    options.signal?.throwIfAborted()
    const attempt = (): Attempt<Uint8Array[]> => this.#tryTake(max, accept)
    const now = this.readers.length === 0 ? attempt() : 'wait'
    if (typeof now === 'object') {
      this.writers.look()
      return now.value
    }
    if (isLookOnly(options.timeout)) return this.#emptyNow()
    const wait = (): Promise<Uint8Array[]> =>
      this.readers.wait(owner, attempt, options, () => this.#emptyNow())
    const taken = await (isWaitFollowed(queueChannel())
      ? followWait(this.#waitOf('get', owner), wait)
      : wait())
    this.writers.look()
    return taken
  }

  /** Only who has to wait is told of. */
  #waitTold<T>(operation: QueueWaitMessage['operation'], attempt: () => Attempt<T>, wait: () => T): T {
    const now = attempt()
    return typeof now === 'object' ? now.value : followBlocking(this.#waitOf(operation), wait)
  }

  /** Of an awaited form with the object that waits. */
  #waitOf(operation: QueueWaitMessage['operation'], owner?: object): FollowedWait<QueueWaitMessage> {
    const isBlocking = owner === undefined
    return queueWait(owner ?? this.object ?? this, { type: this.typeName, operation, isBlocking })
  }

  #tryTake(max: number, accept?: (bytes: Uint8Array) => void): Attempt<Uint8Array[]> {
    if (this.#left.length > 0) {
      accept?.(this.#left[0]!)
      return { value: this.#left.splice(0, max) }
    }
    // Read before it is found empty: what is put before a shutdown is not overlooked.
    const { isShutDown } = this.channel
    const taken = this.channel.take(max, accept)
    if (taken === 'busy') return 'busy'
    if (taken.length > 0) return { value: taken }
    if (!isShutDown) return 'wait'
    throw new ClosedError(
      `Cannot get from this ${this.typeName}: it has been shut down and nothing is left\n` +
        'To fix: iterate with "for await", which ends then',
    )
  }

  /** Whether `get()` would return, or throw, at once. */
  isReady(): boolean {
    return this.#isClosed || this.#left.length > 0 || this.channel.size > 0 || this.channel.isShutDown
  }

  /** Until `get()` would return, or throw, at once. */
  async whenReady(owner: object, signal: AbortSignal): Promise<void> {
    if (this.isReady()) return
    const attempt = (): Attempt<void> => (this.isReady() ? { value: undefined } : 'wait')
    await this.readers.wait(owner, attempt, { signal }, () => {})
  }

  /** The object for it, while there is one. */
  get object(): object | undefined {
    return this.#object?.deref()
  }

  /** Processes and threads, this one included. One that was killed while it waited stays counted. */
  get placesThatWait(): { toGet: number; toPut: number } {
    const { heap, base } = this.channel
    const count = (field: number): number => Atomics.load(heap.words, base + field)
    return { toGet: count(CHANNEL.readersWaiting), toPut: count(CHANNEL.writersWaiting) }
  }

  get size(): number {
    this.assertOpen('use')
    return this.#left.length + this.channel.size
  }

  isEmpty(): boolean {
    // As in Python, a queue that was closed without having been used can still be asked.
    if (this.#isClosed && !this.#wasUsed) return this.#wasEmpty
    return this.size === 0
  }

  isFull(): boolean {
    const { maxSize } = this.channel
    return maxSize > 0 && this.size >= maxSize
  }

  // ---- taskDone and join ----

  taskDone(): void {
    this.assertOpen('use')
    if (this.#countDone()) return
    throw invalidState(
      'taskDone() was called more often than items were put\nTo fix: call it once for each item that get() returned',
    )
  }

  /** Whether one of the items that were put was not done yet, and is now. */
  #countDone(): boolean {
    const { heap, base, puts } = this.channel
    const { words } = heap
    const at = base + CHANNEL.done
    for (;;) {
      const done = Atomics.load(words, at)
      if (done === puts) return false
      if (Atomics.compareExchange(words, at, done, (done + 1) | 0) === done) break
    }
    if (Atomics.load(words, base + CHANNEL.doneWaiting) > 0) heap.wake(at)
    this.joiners.look()
    return true
  }

  get unfinished(): number {
    const { heap, base } = this.channel
    const done = Atomics.load(heap.words, base + CHANNEL.done)
    return Math.max(0, (this.channel.puts - done) | 0)
  }

  async join(owner: object, options: WaitOptions): Promise<void> {
    assertWaitOptions(options)
    this.assertOpen('use')
    options.signal?.throwIfAborted()
    if (this.unfinished === 0) return
    await this.joiners.wait(
      owner,
      () => this.#tryJoin(),
      options,
      () => this.#unfinishedNow(),
    )
  }

  joinSync(timeout: number | undefined): void {
    this.assertOpen('use')
    this.joiners.waitSync(
      () => this.#tryJoin(),
      timeout,
      () => this.#unfinishedNow(),
    )
  }

  #tryJoin(): Attempt<void> {
    return this.unfinished === 0 ? { value: undefined } : 'wait'
  }

  #unfinishedNow(): never {
    throw new TimeoutError(
      `${this.unfinished} items of the queue have not been dealt with in time
To fix: wait longer, or call taskDone() after each item`,
    )
  }

  // ---- Close ----

  get isClosed(): boolean {
    return this.#isClosed
  }

  close(queue: object): void {
    if (this.#isClosed) return
    this.#wasEmpty = this.size === 0
    this.#isClosed = true
    const error = queueClosed(this.typeName, 'wait')
    this.readers.failAll(error)
    this.joiners.failAll(error)
    standNoMore(queue)
    this.#hold = undefined
    if (this.#gaveUpWriters) this.writers.failAll(error)
    if (this.writers.length === 0) this.channel.release()
    else this.#drained = this.writers.idle.finally(() => this.channel.release())
  }

  /** Resolves when everything that this process put has been taken in. */
  async joinThread(): Promise<void> {
    assertClosedBeforeJoin(this.#isClosed)
    await this.#drained
  }

  cancelJoinThread(): void {
    this.#gaveUpWriters = true
    if (this.#isClosed) this.writers.failAll(queueClosed(this.typeName, 'put'))
  }

  assertOpen(action: QueueAction): void {
    if (this.#isClosed) throw queueClosed(this.typeName, action)
  }

  #full(done: number, count: number): QueueFullError {
    const facts = count === 1 ? '' : `: ${done} of ${count} items were put`
    return new QueueFullError(
      `The queue is full${facts}\nTo fix: wait longer, get items faster, or make it larger than ${this.channel.maxSize}`,
    )
  }

  #emptyNow(): never {
    throw new QueueEmptyError('The queue is empty\nTo fix: wait longer, or put items into it')
  }
}

function letGo(items: readonly OutgoingItem[], done: number): void {
  for (const item of items.slice(done)) letGoOf(item)
}
