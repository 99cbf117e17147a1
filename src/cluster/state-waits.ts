/**
 * Everything that waits for shared state. Invariants: each wait ends, by its result, its timeout, its signal, the end of
 * the state here, or a server that is away for too long; and a wake-up that gets lost costs a second at most, because
 * who waits looks again. See "Waiting" in README.md.
 */
import type { ClosedError, ClusterError } from '../errors.ts'
import { type WaitOptions, boundedWait } from '../platform/bounded-wait.ts'

/** What a wait gives that has not been given what it waited for. */
export const LATE: unique symbol = Symbol('late')

/** Also how late it is noticed that a lease has ended: the server tells nobody. */
const lookEveryMs = 1000
/** A look that was begun may take so long, also when the timeout is shorter: with `timeout: 0` there is one look. */
const lookMsMax = 2500

/** One who waits for a change of some object. */
class Sleeper {
  #isPoked = false
  #wake: (() => void) | undefined

  poke(): void {
    this.#isPoked = true
    this.#wake?.()
  }

  /** Before each look: what is poked from now on may have changed behind it. */
  beginLook(): void {
    this.#isPoked = false
  }

  poked(): Promise<void> {
    return new Promise(resolve => {
      if (this.#isPoked) resolve()
      else this.#wake = resolve
    })
  }
}

export class StateWaits {
  readonly #fails = new Set<(error: Error) => void>()
  /** Requests that the server has not answered yet. */
  readonly #asked = new Set<() => void>()
  readonly #sleepers = new Map<string, Set<Sleeper>>()
  #closed: ClosedError | undefined
  #lost: ClusterError | undefined

  /** @throws ClosedError, or ClusterError while the server has been away for too long. */
  assertOpen(): void {
    const error = this.#closed ?? this.#lost
    if (error) throw error
  }

  get isClosed(): boolean {
    return this.#closed !== undefined
  }

  /** The server has been away for too long. */
  lose(error: ClusterError): void {
    this.#lost = error
    this.#fail(error)
  }

  /** It is back: anything may have changed meanwhile. */
  recover(): void {
    this.#lost = undefined
    for (const askAgain of this.#asked) askAgain()
    for (const wake of this.#sleepers.keys()) this.poke(wake)
  }

  close(error: ClosedError): void {
    this.#closed = error
    this.#fail(error)
  }

  #fail(error: Error): void {
    for (const fail of this.#fails) fail(error)
  }

  /** Looks have to be made again: something of this name has changed. */
  poke(wake: string): void {
    for (const sleeper of this.#sleepers.get(wake) ?? []) sleeper.poke()
  }

  /** What `promise` gives, or `LATE` after the timeout. */
  async bounded<T>(promise: Promise<T>, options: WaitOptions = {}): Promise<T | typeof LATE> {
    this.assertOpen()
    let fail!: (error: Error) => void
    const own = new Promise<T>((resolve, reject) => {
      fail = reject
      promise.then(resolve, reject)
    })
    this.#fails.add(fail)
    try {
      return await boundedWait(own, options, { onTimeout: () => LATE })
    } finally {
      this.#fails.delete(fail)
    }
  }

  /**
   * What a server answers; `LATE` after the timeout, or when the server is another one: what was asked before is
   * forgotten there.
   */
  async answered<T>(answer: Promise<T>, timeoutMs: number): Promise<T | typeof LATE> {
    let askAgain!: () => void
    const own = new Promise<T | typeof LATE>((resolve, reject) => {
      askAgain = () => resolve(LATE)
      answer.then(resolve, reject)
    })
    this.#asked.add(askAgain)
    try {
      return await this.bounded(own, { timeout: timeoutMs })
    } finally {
      this.#asked.delete(askAgain)
    }
  }

  /** Lets time pass. */
  async pause(timeoutMs: number): Promise<void> {
    await this.bounded(new Promise<never>(() => {}), { timeout: timeoutMs })
  }

  /**
   * Looks until there is something, whenever `wake` is poked, and each second. What a look still finds after the wait
   * has ended goes to `undo`, so that nobody holds what nobody was given.
   */
  async until<T extends {}>(
    wake: string,
    look: (cut: AbortSignal) => Promise<T | undefined>,
    { timeout = Infinity, signal }: WaitOptions,
    undo?: (value: T) => unknown,
  ): Promise<T | undefined> {
    signal?.throwIfAborted()
    const untilMs = performance.now() + timeout
    const cut = new AbortController()
    const sleeper = new Sleeper()
    this.#addSleeper(wake, sleeper)
    try {
      for (;;) {
        sleeper.beginLook()
        const looking = look(cut.signal)
        const found = await this.#orUndo(
          looking,
          { cut, undo },
          {
            timeout: Math.max(lookMsMax, untilMs - performance.now()),
            signal,
          },
        )
        if (found === LATE) return undefined
        if (found !== undefined) return found
        const leftMs = untilMs - performance.now()
        if (leftMs <= 0) return undefined
        // Not all at the same moment: who waits for one lock would meet again and again.
        const nextMs = lookEveryMs * (0.75 + Math.random() / 4)
        await this.bounded(sleeper.poked(), { timeout: Math.min(leftMs, nextMs), signal })
      }
    } finally {
      this.#removeSleeper(wake, sleeper)
    }
  }

  async #orUndo<T>(
    looking: Promise<T | undefined>,
    { cut, undo }: { cut: AbortController; undo: ((value: T) => unknown) | undefined },
    options: WaitOptions,
  ): Promise<T | undefined | typeof LATE> {
    const giveUp = (): void => {
      cut.abort()
      void undoLate(looking, undo)
    }
    try {
      const found = await this.bounded(looking, options)
      if (found === LATE) giveUp()
      return found
    } catch (error) {
      giveUp()
      throw error
    }
  }

  #addSleeper(wake: string, sleeper: Sleeper): void {
    const sleepers = this.#sleepers.get(wake) ?? new Set()
    this.#sleepers.set(wake, sleepers.add(sleeper))
  }

  #removeSleeper(wake: string, sleeper: Sleeper): void {
    const sleepers = this.#sleepers.get(wake)
    sleepers?.delete(sleeper)
    if (sleepers?.size === 0) this.#sleepers.delete(wake)
  }
}

/** Whoever waited has been told how it ended; what the last look fails with is nothing to them. */
async function undoLate<T>(
  looking: Promise<T | undefined>,
  undo: ((value: T) => unknown) | undefined,
): Promise<void> {
  try {
    const found = await looking
    if (found !== undefined) await undo?.(found)
  } catch {
    // What could not be given back belongs to others after its lease.
  }
}
