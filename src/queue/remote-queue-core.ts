/**
 * A queue whose memory is in another process. Items are encoded and decoded here and travel as bytes; the home has a
 * real queue of this thread's member, which takes and puts them, and waits. See `broker/README.md`.
 */
import {
  abortCalls,
  callLater,
  callNow,
  forgetRemote,
  replaceRemote,
  withoutSignal,
} from '../broker/shareable.ts'
import { QueueEmptyError, QueueFullError } from '../errors.ts'
import { type QueueWaitMessage, queueChannel } from '../insights/channels.ts'
import { type FollowedWait, followBlocking, followWait, isWaitFollowed } from '../insights/followed-wait.ts'
import { type WaitOptions, assertTimeout, assertWaitOptions, isLookOnly } from '../platform/bounded-wait.ts'
import { assertNothingToLoad, decodeItem, decodeItems, encodeItem } from './item-codec.ts'
import { type QueueAction, type QueueForm, assertClosedBeforeJoin, queueClosed } from './queue-core.ts'
import { queueWait } from './queue-wait.ts'
import type { Readiness } from './waitable.ts'

/** What `take` gives to a thread that is blocked and may not be able to decode the item: it has not been taken yet. */
export interface Offer {
  offer: Uint8Array
}

export class RemoteQueueCore implements QueueForm {
  readonly maxSize: number
  readonly #queue: object
  readonly #typeName: string
  /** Taken together with one that could not be decoded, and not given to anybody yet. */
  #left: Uint8Array[] = []
  #isClosed = false
  #wasUsed = false
  #wasEmpty = false
  #gaveUpWriters = false
  readonly #puts = new Set<Promise<unknown>>()
  #drained: Promise<void> = Promise.resolve()

  constructor(queue: object, { typeName, maxSize }: { typeName: string; maxSize: number }) {
    this.#queue = queue
    this.#typeName = typeName
    this.maxSize = maxSize
  }

  // ---- Put ----

  put(_owner: object, value: unknown, options: WaitOptions): Promise<void> {
    return this.putAll(this.#queue, [value], options)
  }

  async putAll(_owner: object, values: readonly unknown[], options: WaitOptions): Promise<void> {
    assertWaitOptions(options)
    this.assertOpen('put')
    const items = this.#encodeAll(values)
    const { signal } = withoutSignal(options)
    const putting = this.#put(items, options.timeout, signal)
    this.#puts.add(putting)
    try {
      await putting
    } finally {
      this.#puts.delete(putting)
    }
  }

  async #put(
    items: Uint8Array[],
    timeout: number | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const put = (ms: number | undefined): Promise<unknown> =>
      callLater(this.#queue, 'put', [items, ms], signal)
    if (!this.#mayHaveToWait('put', timeout, items.length)) await put(timeout)
    else await put(0).catch(fullOrEmpty(() => followWait(this.#waitOf('put', false), () => put(timeout))))
  }

  putAllSync(values: readonly unknown[], timeout: number | undefined): void {
    assertTimeout(timeout)
    this.assertOpen('put')
    const items = this.#encodeAll(values)
    const put = (ms: number | undefined): unknown => callNow(this.#queue, 'put', [items, ms])
    if (!this.#mayHaveToWait('put', timeout, items.length)) put(timeout)
    else
      try {
        put(0)
      } catch (error) {
        fullOrEmpty(() => followBlocking(this.#waitOf('put', true), () => put(timeout)))(error)
      }
  }

  /**
   * Whether somebody looks on what may be a wait: then it is asked first whether it goes at once, because only a wait is
   * told of. (Of several items some may go at once, so those are not asked for, nor told of.)
   */
  #mayHaveToWait(operation: 'put' | 'get', timeout: number | undefined, count = 1): boolean {
    if (isLookOnly(timeout) || count > 1 || (operation === 'put' && this.maxSize === 0)) return false
    return isWaitFollowed(queueChannel())
  }

  #waitOf(operation: 'put' | 'get', isBlocking: boolean): FollowedWait<QueueWaitMessage> {
    return queueWait(this.#queue, { type: this.#typeName, operation, isBlocking })
  }

  #encodeAll(values: readonly unknown[]): Uint8Array[] {
    this.#wasUsed = true
    return values.map((value, index) => encodeItem(value, values.length === 1 ? 'item' : `item ${index}`))
  }

  // ---- Get ----

  async get(_owner: object, options: WaitOptions): Promise<unknown> {
    const [bytes] = await this.#take(1, options)
    return decodeItem(bytes!)
  }

  async getMany(_owner: object, max: number, options: WaitOptions): Promise<unknown[]> {
    const taken = await this.#take(max, options)
    return await decodeItems(taken, left => this.#left.unshift(...left))
  }

  async #take(max: number, options: WaitOptions): Promise<Uint8Array[]> {
    assertWaitOptions(options)
    const { timeout, signal } = options
    this.assertOpen('get')
    signal?.throwIfAborted()
    if (this.#left.length > 0) return this.#left.splice(0, max)
    const take = (ms: number | undefined): Promise<Uint8Array[]> =>
      callLater(this.#queue, 'take', [max, ms], signal) as Promise<Uint8Array[]>
    if (!this.#mayHaveToWait('get', timeout)) return await take(timeout)
    return await take(0).catch(fullOrEmpty(() => followWait(this.#waitOf('get', false), () => take(timeout))))
  }

  getSync(timeout: number | undefined): unknown {
    assertTimeout(timeout)
    this.assertOpen('get')
    const [first] = this.#left
    if (first !== undefined) {
      assertNothingToLoad(first)
      return decodeItem(this.#left.shift()!)
    }
    if (!this.#mayHaveToWait('get', timeout)) return this.#takeNow(timeout)
    try {
      return this.#takeNow(0)
    } catch (error) {
      return fullOrEmpty(() => followBlocking(this.#waitOf('get', true), () => this.#takeNow(timeout)))(error)
    }
  }

  #takeNow(timeout: number | undefined): unknown {
    const until = performance.now() + (timeout ?? Infinity)
    let approved: Uint8Array | undefined
    for (;;) {
      const left = timeout === undefined ? undefined : Math.max(0, until - performance.now())
      const taken = callNow(this.#queue, 'takeKnown', [left, approved]) as Uint8Array[] | Offer
      if (Array.isArray(taken)) return decodeItem(taken[0]!)
      const { offer } = taken
      // Throws when it could not be decoded here: it stays in the queue.
      assertNothingToLoad(offer)
      approved = offer
    }
  }

  isReady(): boolean {
    return this.#isClosed || this.#left.length > 0 || (callNow(this.#queue, 'isReady') as boolean)
  }

  readiness(): Readiness {
    return {
      isReady: () => this.isReady(),
      changed: (onChange, stop) => {
        callLater(this.#queue, 'whenReady', [], stop).then(onChange, onChange)
      },
    }
  }

  get size(): number {
    this.assertOpen('use')
    return this.#left.length + (callNow(this.#queue, 'size') as number)
  }

  isEmpty(): boolean {
    if (this.#isClosed && !this.#wasUsed) return this.#wasEmpty
    return this.size === 0
  }

  isFull(): boolean {
    return this.maxSize > 0 && this.size >= this.maxSize
  }

  // ---- taskDone and join ----

  taskDone(): void {
    this.assertOpen('use')
    callNow(this.#queue, 'taskDone')
  }

  async join(_owner: object, options: WaitOptions): Promise<void> {
    assertWaitOptions(options)
    const { timeout, signal } = options
    this.assertOpen('use')
    await callLater(this.#queue, 'join', [timeout], signal)
  }

  joinSync(timeout: number | undefined): void {
    assertTimeout(timeout)
    this.assertOpen('use')
    callNow(this.#queue, 'join', [timeout])
  }

  // ---- Close ----

  get isShutDown(): boolean {
    return this.#isClosed ? false : (callNow(this.#queue, 'isShutDown') as boolean)
  }

  shutDown(isImmediate: boolean): void {
    this.assertOpen('use')
    callNow(this.#queue, 'shutDown', [isImmediate])
    if (isImmediate) for (const _ of this.#left.splice(0)) callNow(this.#queue, 'taskDone')
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  close(queue: object): void {
    if (this.#isClosed) return
    try {
      this.#wasEmpty = this.size === 0
      // Calls that wait get what those of the real one get: an item that was taken already still comes here.
      callNow(queue, 'close')
    } catch {
      // Its home has ended, and so has the queue.
      this.#wasEmpty = true
    }
    this.#isClosed = true
    replaceRemote(queue)
    if (this.#gaveUpWriters) this.cancelJoinThread()
    if (this.#puts.size === 0) forgetRemote(queue)
    else this.#drained = this.#drain()
  }

  async #drain(): Promise<void> {
    await Promise.allSettled(this.#puts)
    forgetRemote(this.#queue)
  }

  async joinThread(): Promise<void> {
    assertClosedBeforeJoin(this.#isClosed)
    await this.#drained
  }

  cancelJoinThread(): void {
    this.#gaveUpWriters = true
    if (this.#isClosed) abortCalls(this.#queue, ['put'], queueClosed(this.#typeName, 'put'))
  }

  assertOpen(action: QueueAction): void {
    if (this.#isClosed) throw queueClosed(this.#typeName, action)
  }
}

/** It did not go at once: then `wait`. */
function fullOrEmpty<T>(wait: () => T): (error: unknown) => T {
  return error => {
    if (error instanceof QueueFullError || error instanceof QueueEmptyError) return wait()
    throw error
  }
}
