/**
 * Reads the input of a map lazily, from an iterable or an async iterable. Invariant: never reads further ahead
 * than it was asked to, and closes the input when its job ends before the input does.
 */
import { AsyncResource } from 'node:async_hooks'

/** What `map` and its kin accept as input. */
export type Input<T> = Iterable<T> | AsyncIterable<T>

/** Whether the input is read asynchronously. (A string is iterable, but `in` refuses it.) */
export function isAsyncInput<T>(input: Input<T>): input is AsyncIterable<T> {
  return Symbol.asyncIterator in Object(input)
}

export class InputReader<T> {
  readonly #sync: Iterator<T> | undefined
  readonly #async: AsyncIterator<T> | undefined
  readonly #onMore: () => void
  #buffer: T[] = []
  #wanted = 0
  #isReading = false
  #isEnded = false
  /** Whether the synchronous input is running: it may call off the job that reads it. */
  #isInNext = false
  /** Closed before its end. */
  #isCut = false
  /** Closed while it was running. */
  #isClosed = false
  #failure: { reason: unknown } | undefined
  /** A generator is code of the caller: wherever it is read from, it runs in the async context of the call. */
  readonly #context: AsyncResource | undefined

  constructor(input: Input<T>, onMore: () => void) {
    this.#onMore = onMore
    if (!Array.isArray(input)) this.#context = new AsyncResource('multiproc.input')
    if (isAsyncInput(input)) this.#async = input[Symbol.asyncIterator]()
    else this.#sync = input[Symbol.iterator]()
  }

  /** Whether there is nothing more to take, now or later. */
  get isEnded(): boolean {
    return this.#isEnded && this.#buffer.length === 0
  }

  /** Whether it came to its own end, and everything was taken. */
  get isExhausted(): boolean {
    return this.isEnded && !this.#isCut && !this.#failure
  }

  /** What the input threw, once everything before it has been taken. */
  get failure(): { reason: unknown } | undefined {
    return this.#buffer.length === 0 ? this.#failure : undefined
  }

  /** Up to `countMax` items that are there now; for more of an async input `onMore` is called later. */
  take(countMax: number): T[] {
    return this.#asCaller(() => this.#takeNow(countMax))
  }

  #asCaller<R>(read: () => R): R {
    return this.#context ? this.#context.runInAsyncScope(read) : read()
  }

  #takeNow(countMax: number): T[] {
    if (this.#sync) return this.#takeSync(this.#sync, countMax)
    const taken = this.#buffer.splice(0, countMax)
    this.#wanted = countMax
    if (!this.#isEnded && !this.#isReading && this.#buffer.length < countMax) void this.#read(this.#async!)
    return taken
  }

  /** Reads up to `countMax` items now, to be taken later; of an async input as many as have arrived by then. */
  readAhead(countMax: number): void {
    if (this.#sync) {
      this.#buffer = this.#takeSync(this.#sync, countMax)
    } else if (countMax > 0) {
      this.#wanted = countMax
      void this.#read(this.#async!)
    }
  }

  /** How many items are left to take, when the input has told its end. */
  get remaining(): number | undefined {
    return this.#isEnded ? this.#buffer.length : undefined
  }

  #takeSync(iterator: Iterator<T>, countMax: number): T[] {
    const taken = this.#buffer.splice(0, countMax)
    if (this.#isEnded) return taken
    try {
      while (taken.length < countMax) {
        this.#isInNext = true
        const next = iterator.next()
        this.#isInNext = false
        // The input itself has ended the job. A generator that runs cannot be closed, so this is done now.
        if (this.#isClosed) {
          this.#cleanUp()
          return this.#failure ? taken : []
        }
        if (next.done) {
          this.#isEnded = true
          break
        }
        taken.push(next.value)
      }
    } catch (reason) {
      this.#isInNext = false
      this.#isEnded = true
      this.#failure = { reason }
    }
    return taken
  }

  async #read(iterator: AsyncIterator<T>): Promise<void> {
    this.#isReading = true
    try {
      while (!this.#isEnded && this.#buffer.length < this.#wanted) {
        const next = await iterator.next()
        // The job may have ended while this waited.
        if (this.#isEnded) break
        if (next.done) this.#isEnded = true
        else this.#buffer.push(next.value)
        if (this.#buffer.length <= 1) this.#onMore()
      }
    } catch (reason) {
      this.#isEnded = true
      this.#failure = { reason }
      this.#onMore()
    }
    this.#isReading = false
  }

  /** Reads no further: behind what was read comes `reason`, as if the input had thrown it. */
  stop(reason: unknown): void {
    if (this.#isEnded) return
    this.#failure = { reason }
    this.#end()
  }

  /** As `stop`, and what was read and not taken is dropped as well. */
  halt(reason: unknown): void {
    if (this.isEnded) return
    this.#buffer = []
    this.#failure = { reason }
    this.#end()
  }

  /**
   * Stops reading, and lets the input clean up. Errors of that clean-up are nobody's result, and the pool that ends the
   * job has more to do: they become warnings.
   */
  close(): void {
    this.#isCut ||= !this.isEnded
    this.#buffer = []
    this.#end()
  }

  #end(): void {
    if (this.#isEnded) return
    this.#isEnded = true
    if (this.#isInNext) this.#isClosed = true
    else this.#asCaller(() => this.#cleanUp())
  }

  #cleanUp(): void {
    const warn = (reason: unknown): void => {
      process.emitWarning(`The input of a pool's map threw while it was closed: ${String(reason)}`)
    }
    try {
      this.#sync?.return?.()
      // Whoever writes such an input by hand may return no promise.
      void Promise.resolve(this.#async?.return?.()).catch(warn)
    } catch (reason) {
      warn(reason)
    }
  }
}
