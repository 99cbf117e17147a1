/**
 * The job of `Pool.map`, `starmap` and `mapSettled`: all items, and one array of all results in the order of the
 * items. All items run even if some fail; then the first failure by index is the result.
 */
import { type AsyncResult, rejectResult, resolveResult } from './async-result.ts'
import { type Input, InputReader, isAsyncInput } from './input-reader.ts'
import { Job, type JobCounts, type JobOptions, type Part, firstPart } from './job.ts'
import {
  type NumberArray,
  NumberResults,
  type Values,
  type checkInto,
  copyOfNumbers,
} from './number-array.ts'

export interface MapJobOptions extends JobOptions {
  input: Input<unknown>
  /** Collect outcomes as `Promise.allSettled` does. */
  isSettled: boolean
  /** The class of the typed array that the results are put into, or `undefined` for an ordinary array. */
  into: ReturnType<typeof checkInto>
}

export class MapJob extends Job {
  override readonly startedAtMs = performance.now()
  readonly #result: AsyncResult<unknown>
  readonly #isSettled: boolean
  readonly #items: Values | undefined
  readonly #reader: InputReader<unknown> | undefined
  readonly #results: unknown[]
  readonly #numbers: NumberResults | undefined
  #taken = 0
  #settledCount = 0
  #failedCount = 0
  #firstFailure: { index: number; reason: unknown } | undefined

  /** @throws whatever a synchronous input throws. */
  constructor(options: MapJobOptions, result: AsyncResult<unknown>) {
    super(options)
    this.#result = result
    this.#isSettled = options.isSettled
    const { input, into } = options
    if (isAsyncInput(input)) this.#reader = new InputReader(input, () => this.more())
    else this.#items = copyOf(input)
    const count = this.#items?.length
    if (into) this.#numbers = new NumberResults(into, count)
    // With holes that are all filled: V8 then keeps numbers unboxed, and a million of them cost no garbage.
    // oxlint-disable-next-line unicorn/no-new-array
    this.#results = new Array<unknown>(into ? 0 : (count ?? 0))
  }

  get remaining(): number | undefined {
    return this.#items ? this.#items.length - this.#taken : undefined
  }

  get counts(): JobCounts {
    const total = this.#items?.length ?? (this.#reader!.isExhausted ? this.#taken : undefined)
    return { done: this.#settledCount, failed: this.#failedCount, total }
  }

  override get wantsNumbers(): boolean {
    return this.#numbers !== undefined
  }

  take(countMax: number): Part | undefined {
    if (this.isDone) return undefined
    const first = this.#taken
    let items: Values
    if (this.#items) {
      const end = Math.min(first + countMax, this.#items.length)
      if (first === 0 && end === this.#items.length) items = this.#items
      else if (Array.isArray(this.#items)) items = this.#items.slice(first, end)
      // Nobody changes our copy.
      else items = (this.#items as NumberArray).subarray(first, end)
    } else {
      items = this.#reader!.take(countMax)
    }
    this.#taken += items.length
    if (items.length === 0) {
      this.#finish()
      return undefined
    }
    return firstPart(this, { first, count: items.length, items })
  }

  succeed(index: number, value: unknown): void {
    if (this.#numbers) {
      const reason = this.#numbers.put(index, value)
      if (reason) this.#noteFailure(index, reason)
    } else {
      this.#results[index] = this.#isSettled ? { status: 'fulfilled', value } : value
    }
    this.#settledCount++
    this.#finish()
  }

  override succeedAll(first: number, values: ArrayLike<unknown>): void {
    if (this.#isSettled) {
      super.succeedAll(first, values)
      return
    }
    if (this.#numbers) {
      this.#numbers.putAll(first, values, (index, reason) => this.#noteFailure(index, reason))
    } else {
      const results = this.#results
      for (let offset = 0; offset < values.length; offset++) results[first + offset] = values[offset]
    }
    this.#settledCount += values.length
    this.#finish()
  }

  fail(index: number, reason: unknown): void {
    if (this.#isSettled) {
      this.#results[index] = { status: 'rejected', reason }
      this.#failedCount++
    } else {
      this.#noteFailure(index, reason)
    }
    this.#settledCount++
    this.#finish()
  }

  abort(reason: unknown): void {
    this.#reader?.close()
    this.failure = { reason }
    rejectResult(this.#result, reason)
    this.done()
  }

  discard(): void {
    this.#reader?.close()
  }

  /** The outcomes of `mapSettled` tell what was done before, unless it is not known how many there are to be. */
  override cancel(reason: unknown): void {
    if (!this.#isSettled || !this.#items || this.isDone) {
      super.cancel(reason)
      return
    }
    this.isCancelled = true
    this.failure = { reason }
    const outcomes = Array.from(this.#results, outcome => outcome ?? { status: 'rejected', reason })
    resolveResult(this.#result, outcomes)
    this.done()
  }

  #noteFailure(index: number, reason: unknown): void {
    this.#failedCount++
    if (!this.#firstFailure || index < this.#firstFailure.index) this.#firstFailure = { index, reason }
  }

  #finish(): void {
    if (this.isDone || this.#settledCount < this.#taken) return
    if (this.#items ? this.#taken < this.#items.length : !this.#reader!.isEnded) return
    const failure = this.#firstFailure ?? this.#reader?.failure
    this.failure = failure
    if (failure) rejectResult(this.#result, failure.reason)
    else resolveResult(this.#result, this.#numbers?.finish(this.#taken) ?? this.#results)
    this.done()
  }
}

/** A copy, so that the caller may change the array meanwhile. (For an array, `Array.from` takes ten times as long.) */
function copyOf(input: Iterable<unknown>): Values {
  return Array.isArray(input) ? input.slice() : (copyOfNumbers(input) ?? Array.from(input))
}
