/**
 * The job of `Pool.map`, `starmap` and `mapSettled`: all items, and one array of all results in the order of the
 * items. All items run even if some fail; then the first failure by index is the result.
 */
import { type AsyncResult, rejectResult, resolveResult } from './async-result.ts'
import { type Input, InputReader, isAsyncInput } from './input-reader.ts'
import { Job, type JobOptions, type Part, firstPart } from './job.ts'

export interface MapJobOptions extends JobOptions {
  input: Input<unknown>
  /** Collect outcomes as `Promise.allSettled` does. */
  isSettled: boolean
}

export class MapJob extends Job {
  readonly #result: AsyncResult<unknown>
  readonly #isSettled: boolean
  readonly #items: readonly unknown[] | undefined
  readonly #reader: InputReader<unknown> | undefined
  readonly #results: unknown[]
  #taken = 0
  #settledCount = 0
  #firstFailure: { index: number; reason: unknown } | undefined

  /** @throws whatever a synchronous input throws. */
  constructor(options: MapJobOptions, result: AsyncResult<unknown>) {
    super(options)
    this.#result = result
    this.#isSettled = options.isSettled
    const { input } = options
    if (isAsyncInput(input)) this.#reader = new InputReader(input, () => this.more())
    // A copy, so that the caller may change the array meanwhile. (`Array.from` takes ten times as long.)
    else this.#items = Array.isArray(input) ? input.slice() : Array.from(input)
    // With holes that are all filled: V8 then keeps numbers unboxed, and a million of them cost no garbage.
    // oxlint-disable-next-line unicorn/no-new-array
    this.#results = new Array<unknown>(this.#items?.length ?? 0)
  }

  get remaining(): number | undefined {
    return this.#items ? this.#items.length - this.#taken : undefined
  }

  take(countMax: number): Part | undefined {
    if (this.isDone) return undefined
    const first = this.#taken
    let items: readonly unknown[]
    if (this.#items) {
      const end = Math.min(first + countMax, this.#items.length)
      items = first === 0 && end === this.#items.length ? this.#items : this.#items.slice(first, end)
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
    this.#results[index] = this.#isSettled ? { status: 'fulfilled', value } : value
    this.#settledCount++
    this.#finish()
  }

  override succeedAll(first: number, values: readonly unknown[]): void {
    if (this.#isSettled) {
      super.succeedAll(first, values)
      return
    }
    const results = this.#results
    for (let offset = 0; offset < values.length; offset++) results[first + offset] = values[offset]
    this.#settledCount += values.length
    this.#finish()
  }

  fail(index: number, reason: unknown): void {
    if (this.#isSettled) this.#results[index] = { status: 'rejected', reason }
    else if (!this.#firstFailure || index < this.#firstFailure.index) this.#firstFailure = { index, reason }
    this.#settledCount++
    this.#finish()
  }

  abort(reason: unknown): void {
    this.#reader?.close()
    rejectResult(this.#result, reason)
    this.done()
  }

  /** The outcomes of `mapSettled` tell what was done before, unless it is not known how many there are to be. */
  override cancel(reason: unknown): void {
    if (!this.#isSettled || !this.#items || this.isDone) {
      super.cancel(reason)
      return
    }
    this.isCancelled = true
    const outcomes = Array.from(this.#results, outcome => outcome ?? { status: 'rejected', reason })
    resolveResult(this.#result, outcomes)
    this.done()
  }

  #finish(): void {
    if (this.isDone || this.#settledCount < this.#taken) return
    if (this.#items ? this.#taken < this.#items.length : !this.#reader!.isEnded) return
    const failure = this.#firstFailure ?? this.#reader?.failure
    if (failure) rejectResult(this.#result, failure.reason)
    else resolveResult(this.#result, this.#results)
    this.done()
  }
}
