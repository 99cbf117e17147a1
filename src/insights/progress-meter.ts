/**
 * How far a piece of work is, and how fast it goes. It asks for counts that somebody keeps anyway, so that work which
 * nobody watches pays nothing. Invariant: at most 64 samples are kept, however long the work takes.
 */

/** What is counted. */
export interface ProgressCounts {
  /** With a result or with a failure. */
  done: number
  failed: number
  /** Runs that were repeated, because of the option `retries`. */
  retried: number
  /** Undefined while it is not known how many there are to be. */
  total: number | undefined
  /** Workers that have something of it to do, of how many. */
  busyWorkers: number
  workers: number
}

/** How far a call is: what `onProgress` is given. */
export interface Progress extends ProgressCounts {
  /** Milliseconds since the call. */
  elapsedMs: number
  /** Items in a second, lately: over the last 15 seconds, or over more when they are few. */
  perSecond: number
  /** Milliseconds that the rest takes at this rate. Undefined when that is not known. */
  remainingMs: number | undefined
  /** `finished` when every item has its outcome, `stopped` when the call ended before that. */
  state: 'running' | 'finished' | 'stopped'
}

/** The rate is that of the last so many milliseconds, so that the remaining time follows work that changes its pace. */
const windowMs = 15_000
/** Of slow work so many samples are kept, however old they are. */
const samplesMin = 8
const samplesMax = 64
/** Samples are this far apart at least. */
const sampleEveryMs = 250

export class ProgressMeter {
  readonly #read: () => ProgressCounts
  readonly #now: () => number
  readonly #startedAtMs: number
  readonly #samples: { atMs: number; done: number }[]
  #last: Progress | undefined

  /** `startedAtMs`: when the work began, for one that was not watched from its beginning. */
  constructor(
    read: () => ProgressCounts,
    now: () => number = () => performance.now(),
    startedAtMs: number = now(),
  ) {
    this.#read = read
    this.#now = now
    this.#startedAtMs = startedAtMs
    this.#samples = [{ atMs: this.#startedAtMs, done: 0 }]
  }

  /** How many there are, for tests of the bound. */
  get sampleCount(): number {
    return this.#samples.length
  }

  /** How far it is now. */
  measure(): Progress {
    // What has ended does not go on: its workers may have other things to do by now.
    if (this.#last) return this.#last
    const counts = this.#read()
    const nowMs = this.#now()
    this.#sample(counts.done, nowMs)
    const [oldest] = this.#samples
    const elapsedMs = nowMs - this.#startedAtMs
    const spanMs = nowMs - oldest!.atMs
    const perSecond = spanMs > 0 ? ((counts.done - oldest!.done) / spanMs) * 1000 : 0
    const left = counts.total === undefined ? undefined : counts.total - counts.done
    const remainingMs =
      left === undefined || (perSecond === 0 && left > 0) ? undefined : left && (left / perSecond) * 1000
    return { ...counts, elapsedMs, perSecond, remainingMs, state: 'running' }
  }

  /** The work has ended: these are its last numbers. Its rate is that of the whole. */
  finish(): Progress {
    const progress = this.measure()
    const { done, total, elapsedMs } = progress
    const isWhole = total !== undefined && done >= total
    this.#last ??= {
      ...progress,
      perSecond: elapsedMs > 0 ? (done / elapsedMs) * 1000 : 0,
      remainingMs: isWhole ? 0 : undefined,
      state: isWhole ? 'finished' : 'stopped',
    }
    return this.#last
  }

  #sample(done: number, nowMs: number): void {
    const samples = this.#samples
    const latest = samples.at(-1)!
    // A sample stands for a moment at which something was done: from then on the time of the next one counts.
    if (done > latest.done && nowMs - latest.atMs >= sampleEveryMs) samples.push({ atMs: nowMs, done })
    while (
      samples.length > samplesMax ||
      (samples.length > samplesMin && nowMs - samples[1]!.atMs >= windowMs)
    ) {
      samples.shift()
    }
  }
}
