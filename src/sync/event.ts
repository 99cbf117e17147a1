/** Event: a flag that tasks of all processes and threads wait for. */
import { inspect } from 'node:util'
import { type BlockingOptions, type WaitOptions, assertTimeout } from '../platform/bounded-wait.ts'
import {
  type Operations,
  addShareable,
  callLater,
  callNow,
  handleToSend,
  remoteForm,
  remoteToString,
  withoutSignal,
} from '../broker/shareable.ts'
import { objectFor, openBlock } from '../platform/heap-objects.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { BLOCK_KINDS } from './block-kinds.ts'
import { EventState } from './event-state.ts'
import { LocalWaiters } from './local-waiters.ts'
import { type SyncHeap, waitBlocking } from './waiting.ts'

const OPTIONS = ['timeout', 'signal']

/**
 * A flag that is not set at first, as Python's `multiprocessing.Event`. `set()` lets all go who wait for it, also
 * when it is cleared right afterwards.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Event
 *
 * @example
 * ```ts
 * import { Event, Process } from 'multiproc'
 *
 * const isReady = new Event()
 * const child = new Process({ target: () => isReady.set() })
 * child.start()
 * console.log(await isReady.wait({ timeout: 10_000 })) // true
 * await child.join()
 * ```
 */
export class Event {
  readonly #heap: SyncHeap
  readonly #state: EventState
  #waiters: LocalWaiters<true> | undefined

  /** Not set at first. */
  constructor() {
    const { heap, blocks } = openBlock(this, BLOCK_KINDS.event)
    this.#heap = heap
    this.#state = new EventState(heap, blocks[0].base)
  }

  /** Whether it is set. */
  isSet(): boolean {
    return this.#state.isSet
  }

  /** Sets it, and lets all go who wait for it. */
  set(): void {
    this.#state.set()
    this.#waiters?.poke()
  }

  /** Makes it unset again. */
  clear(): void {
    this.#state.clear()
  }

  /**
   * Waits until it is set.
   *
   * @returns true, or false when the timeout came first
   * @throws the reason of the signal.
   */
  async wait(options: WaitOptions = {}): Promise<boolean> {
    assertKnownOptions('Event.wait()', options, OPTIONS)
    assertTimeout(options.timeout)
    options.signal?.throwIfAborted()
    if (this.isSet()) return true
    const { count } = this.#state
    this.#waiters ??= new LocalWaiters(this.#heap)
    return (await this.#waiters.wait(sleep => this.#state.attempt(sleep, count), options)) ?? false
  }

  /** The same as `wait()`, blocking this thread. */
  waitSync(options: BlockingOptions = {}): boolean {
    assertKnownOptions('Event.waitSync()', options, OPTIONS)
    assertTimeout(options.timeout)
    const { count } = this.#state
    return waitBlocking(this.#heap, sleep => this.#state.attempt(sleep, count), options) ?? false
  }

  toString(): string {
    return `<Event ${this.isSet() ? 'set' : 'unset'}>`
  }

  /** @internal */
  [inspect.custom](): string {
    return this.toString()
  }
}

const OPERATIONS_AT_HOME: Operations<Event> = {
  isSet: event => event.isSet(),
  set: event => event.set(),
  clear: event => event.clear(),
  wait: (event, [options], signal) => event.wait({ ...options, signal }),
}

/** Of an event whose memory is in another process. */
const REMOTE_EVENT: object & ThisType<Event> = {
  isSet(): boolean {
    return callNow(this, 'isSet') as boolean
  },
  set(): void {
    callNow(this, 'set')
  },
  clear(): void {
    callNow(this, 'clear')
  },
  async wait(options?: WaitOptions): Promise<boolean> {
    const { rest, signal } = withoutSignal(options)
    return (await callLater(this, 'wait', [rest], signal)) as boolean
  },
  waitSync(options: BlockingOptions = {}): boolean {
    return callNow(this, 'wait', [withoutSignal(options).rest]) as boolean
  },
  toString(): string {
    return remoteToString(this)
  },
}

const REMOTE = remoteForm(Event, REMOTE_EVENT)

addShareable<Event>({
  type: Event,
  name: 'multiproc.Event',
  module: import.meta.url,
  encode: handleToSend,
  decode: handle => objectFor(handle, BLOCK_KINDS.event, () => new Event()),
  makeRemote: () => Object.create(REMOTE) as Event,
  operations: OPERATIONS_AT_HOME,
})
