/**
 * Whose turn it is among the jobs of one priority. Each has used some time of the workers, and who has used least is
 * next. A map has an account of its own; all single calls together have one, and among themselves keep the order in
 * which they were made. Invariant: an account is in the line at most once.
 */
import { Fifo } from './fifo.ts'
import type { Job } from './job.ts'

/** Time that was used, and who uses it. */
export class Account {
  /** Milliseconds of workers, as expected when a chunk is given out and corrected when its results arrive. */
  usedMs = 0
  /** The map, or nothing for the account of all single calls. */
  readonly job: Job | undefined
  isInLine = false

  constructor(job?: Job) {
    this.job = job
  }
}

/** A place in the line. `usedMs` is as of when it was taken. */
interface Place {
  account: Account
  usedMs: number
}

export class TurnOrder {
  /** Who is next is last, so that taking is cheap. */
  readonly #line: Place[] = []
  readonly #singles = new Account()
  readonly #singleJobs = new Fifo<Job>()
  #clockMs: number

  /** @param clockMs - what the next turn of an order that was there before would have begun with */
  constructor(clockMs: number) {
    this.#clockMs = clockMs
  }

  /** What whoever had the last turn had used before it. */
  get clockMs(): number {
    return this.#clockMs
  }

  get isEmpty(): boolean {
    return this.#line.length === 0
  }

  /** Single calls that wait. */
  get singleJobs(): Fifo<Job> {
    return this.#singleJobs
  }

  add(job: Job): void {
    if (job.isSingle) {
      job.account = this.#singles
      this.#singleJobs.push(job)
    }
    this.enter((job.account ??= new Account(job)))
  }

  /** Who was away has no claim to the time in which others were there. */
  enter(account: Account): void {
    if (account.isInLine) return
    account.isInLine = true
    account.usedMs = Math.max(account.usedMs, this.#clockMs)
    this.#insert(account)
  }

  /** The account whose turn it is. It is no longer in the line. */
  next(): Account | undefined {
    for (let place = this.#line.pop(); place; place = this.#line.pop()) {
      const { account } = place
      if (account.usedMs > place.usedMs) {
        // It has used more than was expected when it came to this place.
        this.#insert(account)
        continue
      }
      account.isInLine = false
      this.#clockMs = Math.max(this.#clockMs, account.usedMs)
      return account
    }
    return undefined
  }

  /** How many items wait. An input of unknown length counts as `countMax`. */
  waiting(countMax: number): number {
    let count = this.#singleJobs.length
    for (const { account } of this.#line) {
      const { job } = account
      if (job && !job.isDone) count += job.remaining ?? countMax
    }
    return count
  }

  #insert(account: Account): void {
    const { usedMs } = account
    let from = 0
    let to = this.#line.length
    // Behind those that have used the same, which are further towards the end of the array.
    while (from < to) {
      const middle = (from + to) >> 1
      if (this.#line[middle]!.usedMs > usedMs) from = middle + 1
      else to = middle
    }
    this.#line.splice(from, 0, { account, usedMs })
  }
}
