/**
 * The job of `Pool.imap` and `imapUnordered`: reads its input only as far as results are consumed, so that memory
 * stays flat over an endless input. Invariant: items that were taken and not yet consumed never exceed the window.
 */
import { ClosedError } from '../errors.ts'
import { type ChunkTarget, nextChunkSize } from './chunk-policy.ts'
import { type Input, InputReader } from './input-reader.ts'
import { Job, type JobCounts, type JobOptions, type Part, firstPart } from './job.ts'

export interface ImapJobOptions extends JobOptions {
  input: Input<unknown>
  isOrdered: boolean
  /** Items that may be under way or wait for the consumer, or undefined to choose by time. */
  bufferSize?: number | undefined
  /**
   * Whether items are computed without waiting for a consumer: all of them, or as many as `bufferSize` says, which are
   * read at once.
   */
  isEager?: boolean
  workers: () => number
  /** Default: what suits workers of this machine. */
  target?: ChunkTarget | undefined
}

type Outcome = { is: 'value'; value: unknown } | { is: 'failure'; reason: unknown }

/** Somebody who waits for the next result. */
export interface Waiter {
  resolve(result: IteratorResult<unknown, undefined>): void
  reject(reason: unknown): void
}

/** Without a `bufferSize`, so many chunks for each worker are under way or wait for the consumer. */
const chunksPerWorker = 4
const windowMax = 1 << 16

export class ImapJob extends Job {
  override readonly startedAtMs = performance.now()
  readonly #reader: InputReader<unknown>
  /** Whether the input certainly has an end. */
  readonly #isSized: boolean
  /** How many items it has, where it says so. */
  readonly #size: number | undefined
  readonly #isOrdered: boolean
  readonly #bufferSize: number | undefined
  readonly #workers: () => number
  readonly #target: ChunkTarget | undefined
  readonly #outcomes = new Map<number, Outcome>()
  readonly #waiters: Waiter[] = []
  #taken = 0
  #settledCount = 0
  #failedCount = 0
  #consumed = 0
  #nextArrival = 0
  #isInputFailureTold = false
  #isUnbounded = false
  #isAbandoned = false
  /** Whether the last `next` ended with an error and none has been called since. */
  #isLeftAfterFailure = false

  constructor(options: ImapJobOptions) {
    super(options)
    this.#isSized = 'length' in Object(options.input) || 'size' in Object(options.input)
    this.#size = sizeOf(options.input)
    this.#reader = new InputReader(options.input, () => this.more())
    this.#isOrdered = options.isOrdered
    this.#bufferSize = options.bufferSize
    this.#workers = options.workers
    this.#target = options.target
    if (options.isEager) {
      this.#isUnbounded = options.bufferSize === undefined
      this.#reader.readAhead(options.bufferSize ?? (this.#isSized ? Infinity : 0))
    }
  }

  get remaining(): number | undefined {
    return this.#reader.remaining
  }

  get counts(): JobCounts {
    const total = this.#reader.isExhausted ? this.#taken : this.#size
    return { done: this.#settledCount, failed: this.#failedCount, total }
  }

  get #window(): number {
    if (this.#isUnbounded) return Infinity
    if (this.#bufferSize !== undefined) return this.#bufferSize
    const workers = this.#workers()
    const chunk = nextChunkSize({
      task: this.task,
      remaining: undefined,
      workers,
      chunkSize: this.chunkSize,
      target: this.#target,
    })
    return Math.min(windowMax, chunk * workers * chunksPerWorker)
  }

  override get isWaitingForConsumer(): boolean {
    if (this.#isUnbounded || this.#waiters.length > 0 || this.#settledCount < this.#taken) return false
    return this.#taken - this.#consumed >= this.#window
  }

  take(countMax: number): Part | undefined {
    if (this.isDone) return undefined
    const room = this.#window - (this.#taken - this.#consumed)
    const items = this.#reader.take(Math.min(countMax, Math.max(0, room)))
    const first = this.#taken
    this.#taken += items.length
    if (items.length === 0) {
      this.#finish()
      return undefined
    }
    return firstPart(this, { first, count: items.length, items })
  }

  succeed(index: number, value: unknown): void {
    this.#settle(index, { is: 'value', value })
  }

  fail(index: number, reason: unknown): void {
    this.#settle(index, { is: 'failure', reason })
  }

  /** What is there already can still be consumed; then comes `reason`. */
  abort(reason: unknown): void {
    if (this.isDone) return
    this.#reader.close()
    this.failure = { reason }
    this.done()
    this.#abortReason = { reason }
    this.#serve()
  }

  discard(): void {
    this.#reader.close()
  }

  #abortReason: { reason: unknown } | undefined

  /** The next result for the consumer. Called by the iterator. */
  next(waiter: Waiter): void {
    this.#isLeftAfterFailure = false
    this.#waiters.push(waiter)
    this.#serve()
  }

  /** The consumer of a `next` gave up waiting: the result stays for the following one. */
  leave(waiter: Waiter): void {
    const at = this.#waiters.indexOf(waiter)
    if (at >= 0) this.#waiters.splice(at, 1)
  }

  /** Called off: what is there already is not given out either. */
  override cancel(reason: unknown): void {
    this.#outcomes.clear()
    super.cancel(reason)
  }

  /** Reads no further. What was read is computed, and after it the consumer gets `reason`. */
  stop(reason: unknown): void {
    if (this.isDone) return
    this.#reader.stop(reason)
    this.#finish()
    this.#serve()
  }

  /** As `stop`, and what was read and not given to a worker is not computed either. */
  halt(reason: unknown): void {
    if (this.isDone) return
    this.#reader.halt(reason)
    this.#finish()
    this.#serve()
  }

  /** Whether its items are computed although nobody consumes. */
  get isUnbounded(): boolean {
    return this.#isUnbounded
  }

  /** Nobody will consume any more, but the items are computed for what they do. */
  abandon(): void {
    this.#isAbandoned = true
    this.#outcomes.clear()
  }

  /** Nobody will consume any more. What runs already runs on, and its results are dropped. */
  drop(): void {
    if (!this.isDone) this.owner?.jobIsDropped(this)
    this.#outcomes.clear()
    this.#reader.close()
    this.#isInputFailureTold = true
    this.#consumed = this.#taken
    for (const waiter of this.#waiters.splice(0)) waiter.resolve({ done: true, value: undefined })
    this.done()
  }

  /**
   * The pool was closed and somebody waits for its end. A consumer that left after an error will not come back,
   * and an input with an end is read up to it even before anybody consumes, as in Python.
   */
  drain(): void {
    if (this.#isLeftAfterFailure) {
      this.#stopAtClosed()
    } else if (this.#isSized) {
      this.#isUnbounded = true
      this.more()
    }
  }

  /** The scope of the pool ends: what nobody waits for at this moment is not computed. */
  dropUnlessAwaited(): void {
    this.drain()
    if (!this.#isUnbounded && this.#waiters.length === 0) this.#stopAtClosed()
  }

  #stopAtClosed(): void {
    this.abort(
      new ClosedError(
        'The pool was closed while this iterator over its results was not being read\nTo fix: read the iterator to its end, or call its return(), before the pool is closed',
      ),
    )
  }

  #settle(index: number, outcome: Outcome): void {
    this.#settledCount++
    if (outcome.is === 'failure') {
      this.#failedCount++
      this.failure ??= outcome
    }
    if (!this.isDone && !this.#isAbandoned) {
      this.#outcomes.set(this.#isOrdered ? index : this.#nextArrival++, outcome)
      this.#serve()
    }
    this.#finish()
  }

  /** Gives results to those who wait for them. */
  #serve(): void {
    const before = this.#consumed
    while (this.#waiters.length > 0) {
      const outcome = this.#outcomes.get(this.#consumed)
      if (outcome) {
        this.#outcomes.delete(this.#consumed)
        this.#consumed++
        const waiter = this.#waiters.shift()!
        if (outcome.is === 'value') {
          waiter.resolve({ done: false, value: outcome.value })
        } else {
          this.#isLeftAfterFailure = true
          waiter.reject(outcome.reason)
        }
      } else if (this.#abortReason) {
        this.#waiters.shift()!.reject(this.#abortReason.reason)
      } else if (this.#isAtEnd()) {
        const waiter = this.#waiters.shift()!
        const failure = this.#reader.failure
        if (failure && !this.#isInputFailureTold) {
          this.#isInputFailureTold = true
          waiter.reject(failure.reason)
        } else {
          waiter.resolve({ done: true, value: undefined })
        }
      } else {
        break
      }
    }
    if (this.#consumed > before) this.more()
  }

  #isAtEnd(): boolean {
    return this.#reader.isEnded && this.#consumed === this.#taken
  }

  #finish(): void {
    if (!this.#reader.isEnded || this.#settledCount < this.#taken) return
    this.failure ??= this.#reader.failure
    this.done()
    this.#serve()
  }
}

/** The length of an array, the size of a set. (A string has fewer characters than its length says.) */
function sizeOf(input: unknown): number | undefined {
  const { length, size } = Object(input) as { length?: unknown; size?: unknown }
  const count = typeof input === 'string' ? undefined : (length ?? size)
  return typeof count === 'number' ? count : undefined
}
