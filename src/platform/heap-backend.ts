/**
 * The two kinds of memory that a shared heap can be made of, and how one waits for a word of it: memory of the
 * operating system, which processes and threads share (with the addon), or a SharedArrayBuffer, which the threads of
 * one process share.
 */
import { markEndedThreads } from './ended-threads.ts'
import { threadId } from 'node:worker_threads'
import { type NativeAddon, OUTCOME } from './native-addon.ts'

/** How a wait for a word ended. `changed` may come for nothing: look again. */
export type WaitOutcome = 'changed' | 'timedOut' | 'memberEnded'

export interface HeapBackend {
  /** The control part. */
  readonly buffer: ArrayBufferLike
  /** For native memory: the descriptor that children inherit. */
  readonly fd: number | undefined
  /** Blocks this thread until the word is no longer `expected`. `endsSeen`: the count of ends when the caller looked. */
  waitSync(index: number, expected: number, timeoutMs: number, endsSeen: number): WaitOutcome
  /** The same without blocking; keeps the event loop alive. */
  waitAsync(index: number, expected: number, timeoutMs: number, endsSeen: number): PendingWait
  /** Gives the processor away for a moment: whether the word has changed then. Nobody has to wake who does this. */
  yieldSync(index: number, expected: number, endsSeen: number): boolean
  /** Gives how many were woken. */
  wake(index: number, count: number): number
  /** Maps a range behind the control part; the mapping ends when the buffer is collected. */
  map(offset: number, byteLength: number): ArrayBufferLike
  /** Puts empty pages in the place of such a mapping, now. Returns whether this system can. */
  unmap(buffer: ArrayBufferLike): boolean
  /** Has the system provide the memory of a range: 0, or the error number. */
  reserve(offset: number, byteLength: number): number
  /** Gives it back: 0, or the error number of a system that does not take it. */
  discard(offset: number, byteLength: number): number
  /** Copies data to a place in it: 0, or the error number. */
  put(offset: number, data: Uint8Array): number
  /** Fills `target` from a place in it: 0, or the error number. */
  take(offset: number, target: Uint8Array): number
  /** Whether these bytes are at a place in it. */
  matches(offset: number, data: Uint8Array): boolean
  /** Makes the first use of provided memory by `put()` or `take()` cheaper. */
  populate(offset: number, byteLength: number): void
  /**
   * Takes a record, unless its life word is no longer `free`, and sees to it that the end of this thread is marked there:
   * both in one step, or a thread that ends in between would keep the record.
   */
  takeRecord(recordOffset: number, free: number): boolean
  /** Where that word is in a record, in words. */
  readonly lifeWord: number
}

export interface PendingWait {
  readonly outcome: Promise<WaitOutcome>
  /** Ends the wait now, as `timedOut`. */
  cancel(): void
}

/** A sleeper of the portable backend looks around this often, as native/wait.c does. */
const LOOK_AROUND_MS = 10

/** OS_TAKEN in native/os.h. */
const TAKEN = -1

const OUTCOMES: Record<number, WaitOutcome> = {
  [OUTCOME.changed]: 'changed',
  [OUTCOME.timedOut]: 'timedOut',
  [OUTCOME.memberEnded]: 'memberEnded',
  [OUTCOME.cancelled]: 'timedOut',
}

/** A wait that was cancelled leaves V8's list after this time. */
const ARMED_MS_MAX = 1000

/**
 * A thread that is in the addon cannot be terminated, and the end of the process waits for it: so often it comes back
 * to JavaScript, where it can.
 */
const STOPPABLE_MS = 20

/** Before a thread goes to sleep it gives its processor away for so long; a lock is rarely held for longer. */
const YIELD_MICROSECONDS = 30

export class NativeBackend implements HeapBackend {
  readonly buffer: ArrayBufferLike
  readonly fd: number
  readonly lifeWord: number
  readonly #addon: NativeAddon
  readonly #pending = new Map<number, (outcome: WaitOutcome) => void>()
  #isWatching = false

  constructor(addon: NativeAddon, fd: number, controlBytes: number) {
    this.#addon = addon
    this.fd = fd
    this.buffer = addon.map(0, controlBytes)
    this.lifeWord = addon.lifeWordOffset() / 4
  }

  waitSync(index: number, expected: number, timeoutMs: number, endsSeen: number): WaitOutcome {
    const until = timeoutMs > STOPPABLE_MS ? performance.now() + timeoutMs : 0
    let stepMs = Math.min(timeoutMs, STOPPABLE_MS)
    let yieldMicroseconds = YIELD_MICROSECONDS
    for (;;) {
      const outcome = this.#addon.wait(index * 4, expected >>> 0, stepMs, endsSeen >>> 0, yieldMicroseconds)
      if (outcome !== OUTCOME.timedOut || until === 0) return OUTCOMES[outcome]!
      const leftMs = until - performance.now()
      if (leftMs <= 0) return 'timedOut'
      stepMs = Math.min(leftMs, STOPPABLE_MS)
      yieldMicroseconds = 0
    }
  }

  yieldSync(index: number, expected: number, endsSeen: number): boolean {
    return (
      this.#addon.wait(index * 4, expected >>> 0, 0, endsSeen >>> 0, YIELD_MICROSECONDS) === OUTCOME.changed
    )
  }

  waitAsync(index: number, expected: number, timeoutMs: number, endsSeen: number): PendingWait {
    if (!this.#isWatching) {
      this.#isWatching = true
      this.#addon.watch((id, outcome) => {
        this.#pending.get(id)?.(OUTCOMES[outcome]!)
        this.#pending.delete(id)
      })
    }
    const id = this.#addon.startWait(index * 4, expected >>> 0, timeoutMs, endsSeen >>> 0)
    const outcome = new Promise<WaitOutcome>(resolve => this.#pending.set(id, resolve))
    return { outcome, cancel: () => this.#addon.cancelWait(id) }
  }

  wake(index: number, count: number): number {
    return this.#addon.wake(index * 4, count)
  }

  map(offset: number, byteLength: number): ArrayBufferLike {
    return this.#addon.map(offset, byteLength)
  }

  unmap(buffer: ArrayBufferLike): boolean {
    return this.#addon.unmap(new Uint8Array(buffer)) === 0
  }

  reserve(offset: number, byteLength: number): number {
    return this.#addon.reserve(offset, byteLength)
  }

  discard(offset: number, byteLength: number): number {
    return this.#addon.discard(offset, byteLength)
  }

  put(offset: number, data: Uint8Array): number {
    return this.#addon.put(offset, data)
  }

  take(offset: number, target: Uint8Array): number {
    return this.#addon.take(offset, target)
  }

  matches(offset: number, data: Uint8Array): boolean {
    return this.#addon.matches(offset, data)
  }

  populate(offset: number, byteLength: number): void {
    this.#addon.populate(offset, byteLength)
  }

  takeRecord(recordOffset: number, free: number): boolean {
    const error = this.#addon.watchLife(recordOffset, free >>> 0)
    // Where the system does not tell, the parent marks the end when it sees it.
    return error === 0 || (error !== TAKEN && markAlive(new Int32Array(this.buffer), recordOffset, free))
  }
}

export class PortableBackend implements HeapBackend {
  readonly buffer: SharedArrayBuffer
  readonly fd = undefined
  readonly lifeWord = 0
  readonly #words: Int32Array
  readonly #hasEndedMember: (endsSeen: number) => boolean

  constructor(buffer: SharedArrayBuffer, hasEndedMember: (endsSeen: number) => boolean) {
    this.buffer = buffer
    this.#words = new Int32Array(buffer)
    this.#hasEndedMember = hasEndedMember
  }

  waitSync(index: number, expected: number, timeoutMs: number, endsSeen: number): WaitOutcome {
    const until = performance.now() + timeoutMs
    for (;;) {
      if (Atomics.load(this.#words, index) !== expected) return 'changed'
      if (this.#hasEndedMember(endsSeen)) return 'memberEnded'
      const leftMs = until - performance.now()
      if (leftMs <= 0) return 'timedOut'
      if (Atomics.wait(this.#words, index, expected, Math.min(leftMs, LOOK_AROUND_MS)) === 'ok')
        return 'changed'
      markEndedThreads(this.#words)
    }
  }

  /** There is no way to give the processor away here. */
  yieldSync(index: number, expected: number): boolean {
    return Atomics.load(this.#words, index) !== expected
  }

  waitAsync(index: number, expected: number, timeoutMs: number, endsSeen: number): PendingWait {
    const until = performance.now() + timeoutMs
    let end!: (outcome: WaitOutcome) => void
    let hasEnded = false
    // A pending Atomics.waitAsync() does not keep the event loop alive; this timer does, and looks around.
    const timer = setInterval(() => look(), LOOK_AROUND_MS)
    const outcome = new Promise<WaitOutcome>(resolve => {
      end = result => {
        hasEnded = true
        clearInterval(timer)
        resolve(result)
      }
    })
    const look = (): void => {
      if (Atomics.load(this.#words, index) !== expected) end('changed')
      else if (this.#hasEndedMember(endsSeen)) end('memberEnded')
      else if (performance.now() >= until) end('timedOut')
    }
    const arm = async (): Promise<void> => {
      const { async, value } = Atomics.waitAsync(this.#words, index, expected, ARMED_MS_MAX)
      const result = async ? await value : value
      if (!hasEnded) {
        if (result === 'timed-out') void arm()
        else end('changed')
      } else if (result === 'ok') {
        // This wait had ended otherwise, but V8 still had it in its list: the wake is for somebody else.
        Atomics.notify(this.#words, index, 1)
      }
    }
    look()
    if (!hasEnded) void arm()
    return {
      outcome,
      cancel: () => {
        if (!hasEnded) end('timedOut')
      },
    }
  }

  wake(index: number, count: number): number {
    return Atomics.notify(this.#words, index, count)
  }

  map(): never {
    throw new Error(
      'This is a bug in multiproc, please report it: without the addon there are no pages to map',
    )
  }

  unmap(): never {
    return this.map()
  }

  reserve(): never {
    return this.map()
  }

  discard(): never {
    return this.map()
  }

  put(): never {
    return this.map()
  }

  take(): never {
    return this.map()
  }

  matches(): never {
    return this.map()
  }

  populate(): never {
    return this.map()
  }

  takeRecord(recordOffset: number, free: number): boolean {
    return markAlive(this.#words, recordOffset, free)
  }
}

/** A life word at the start of a record that no kernel writes. */
function markAlive(words: Int32Array, recordOffset: number, free: number): boolean {
  return Atomics.compareExchange(words, recordOffset / 4, free, lifeOf(threadId)) === free
}

/** What stands in such a word: 0 was never used. */
export function lifeOf(threadId: number): number {
  return 1 + threadId
}
