/**
 * A key that is held for as long as it is renewed: what locks, permits and parties at barriers stand for. Invariant: who
 * holds one stops believing so no later than the server gives it to others, as far as their clocks run at one speed. See
 * "Leases" in README.md.
 */
import { LeaseLostError } from '../errors.ts'
import { decode, encode } from '../serialize/codec.ts'
import { type StateEntry, type StateStore, type Written, newNonce } from './state-store.ts'

/** What is said in a lease: that it is held, or that its holder ended and nobody has put things in order since. */
type LeaseBody = 'held' | 'abandoned'

/** How long the next holder is told that the last one has ended. */
export const abandonedMsMax = 24 * 3600_000
/** Renewed so often in a lease that one renewal may fail. */
const renewalsPerLease = 3

export interface TakenLease {
  lease: Lease
  /** Whether the last holder ended without giving it back. */
  isAbandoned: boolean
}

export class Lease {
  /** Larger than that of every lease before, of whatever key. */
  readonly token: number
  readonly #store: StateStore
  readonly #subject: string
  readonly #leaseMs: number
  readonly #lost = new AbortController()
  #sequence: number
  /** Until then nobody else has it. */
  #untilMs: number
  #renewing: Promise<void> | undefined
  #renewal: NodeJS.Timeout | undefined
  #end: NodeJS.Timeout | undefined
  #isOver = false

  private constructor(
    store: StateStore,
    subject: string,
    { leaseMs, written: { sequence, sentMs } }: { leaseMs: number; written: Written },
  ) {
    this.#store = store
    this.#subject = subject
    this.#leaseMs = leaseMs
    this.#sequence = sequence
    this.token = sequence
    // The server counts from when it had it, which is later.
    this.#untilMs = sentMs + leaseMs
    this.#arm()
  }

  /** One attempt; `undefined` when somebody else has it. */
  static async take(
    store: StateStore,
    subject: string,
    { leaseMs, cut }: { leaseMs: number; cut?: AbortSignal },
  ): Promise<TakenLease | undefined> {
    const nonce = newNonce()
    const claim = async (sequence: number): Promise<Lease | undefined> => {
      const options = { sequence, nonce, lifeMs: leaseMs, ...(cut ? { cut } : {}) }
      const taken = await store.put(subject, [encode('held' satisfies LeaseBody)], options)
      return taken && new Lease(store, subject, { leaseMs, written: taken })
    }
    const lease = await claim(0)
    if (lease) return { lease, isAbandoned: false }
    const entry = await store.get(subject, cut)
    if (isHeldLease(entry)) return undefined
    const heir = await claim(entry?.sequence ?? 0)
    return heir && { lease: heir, isAbandoned: entry !== undefined }
  }

  /** Aborts when it is lost. */
  get signal(): AbortSignal {
    return this.#lost.signal
  }

  /** By the clock: a process that was stopped has it no more, although none of its timers has run. */
  get isLost(): boolean {
    if (!this.#isOver && performance.now() >= this.#untilMs) this.#lose()
    return this.#lost.signal.aborted
  }

  /**
   * Gives it back. `isAbandoned`: so that the next holder is told that this one has left things as they are.
   *
   * @throws LeaseLostError when it was lost before.
   */
  async release({ isAbandoned = false } = {}): Promise<void> {
    const isLost = this.isLost
    this.#stop()
    // Its answer says which sequence is to be deleted.
    await this.#renewing
    if (isLost || this.isLost) throw leaseLost(this.#leaseMs)
    const isOwn = isAbandoned ? await this.#abandon() : await this.#store.deleteAt(this.#sequence)
    if (!isOwn) {
      this.#lost.abort(leaseLost(this.#leaseMs))
      throw leaseLost(this.#leaseMs)
    }
  }

  async #abandon(): Promise<boolean> {
    const options = { sequence: this.#sequence, lifeMs: abandonedMsMax }
    const body = encode('abandoned' satisfies LeaseBody)
    return (await this.#store.put(this.#subject, [body], options)) !== undefined
  }

  #arm(): void {
    const leftMs = this.#untilMs - performance.now()
    // Both are stopped in #stop(). A program that ends gives its leases up.
    this.#end = setTimeout(() => this.#lose(), Math.max(0, leftMs)).unref()
    this.#renewal = setTimeout(() => {
      this.#renewing = this.#renew()
    }, this.#leaseMs / renewalsPerLease).unref()
  }

  #stop(): void {
    this.#isOver = true
    clearTimeout(this.#renewal)
    clearTimeout(this.#end)
  }

  #lose(): void {
    this.#stop()
    this.#lost.abort(leaseLost(this.#leaseMs))
  }

  async #renew(): Promise<void> {
    let written: Written | undefined
    try {
      written = await this.#store.put(this.#subject, [encode('held' satisfies LeaseBody)], {
        sequence: this.#sequence,
        lifeMs: this.#leaseMs,
        cut: this.#lost.signal,
      })
    } catch {
      // It goes on being asked for until the time is over, unless the server refuses: then it is over with the time.
      return
    }
    if (!written) {
      this.#lose()
      return
    }
    this.#sequence = written.sequence
    if (this.#lost.signal.aborted) {
      // The server was away, had not noticed the end of the time, and took the renewal: nobody needs it now.
      await this.#store.deleteAt(written.sequence).catch(() => {})
      return
    }
    this.#untilMs = written.sentMs + this.#leaseMs
    if (this.#isOver) return
    clearTimeout(this.#end)
    this.#arm()
  }
}

/** Whether somebody has it. */
export function isHeldLease(entry: StateEntry | undefined): boolean {
  return entry?.content !== undefined && (decode(entry.content.frames[0]!) as LeaseBody) === 'held'
}

function leaseLost(leaseMs: number): LeaseLostError {
  return new LeaseLostError(
    `What was held is lost: its lease of ${leaseMs} ms could not be renewed in time, because this process was stopped or the server was away, and others may have it\nTo fix: stop what it protects when the "signal" of guard() aborts, let what is protected refuse older tokens, or allow more time with "lease"`,
  )
}
