/**
 * The parent as a child sees it. What is known of its life is the connection to it: when that ends, the parent has
 * ended, however it did.
 */
import { inspect } from 'node:util'
import { boundedWait, type WaitOptions } from '../platform/bounded-wait.ts'

/** The timer does nothing but exist, so it may as well never fire. */
const STAYING_TIMER_MS = 2 ** 31 - 1

/**
 * The parent of this process, from {@link parentProcess}.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.parent_process
 */
export class ParentProcess {
  readonly name: string
  readonly pid: number
  /** Settles when the parent has ended. It does not keep this process alive; `join()` does. */
  readonly sentinel: Promise<void>
  #isAlive = true

  /** @internal */
  constructor({ name, pid, ended }: { name: string; pid: number; ended: Promise<void> }) {
    this.name = name
    this.pid = pid
    this.sentinel = this.#noteEnd(ended)
  }

  async #noteEnd(ended: Promise<void>): Promise<void> {
    await ended
    this.#isAlive = false
  }

  /** Python's other name of `pid`. */
  get ident(): number {
    return this.pid
  }

  /** Whether the parent still runs, as far as this process has heard. */
  isAlive(): boolean {
    return this.#isAlive
  }

  /**
   * Waits for the end of the parent. A child ends with its parent: there is time for what follows this wait
   * without waiting again, and for `exit` listeners.
   *
   * @returns whether the parent has ended; `false` after the timeout
   */
  async join(wait?: WaitOptions): Promise<boolean> {
    // The connection to the parent does not keep this process alive; somebody who waits for the parent does.
    const staying = setInterval(() => {}, STAYING_TIMER_MS)
    try {
      return await boundedWait(
        this.sentinel.then(() => true),
        wait,
        { onTimeout: () => false },
      )
    } finally {
      clearInterval(staying)
    }
  }

  /** What the console shows, as Python's `str()`. */
  toString(): string {
    return this[inspect.custom]()
  }

  [inspect.custom](): string {
    return `<ParentProcess name='${this.name}' pid=${this.pid} ${this.#isAlive ? 'started' : 'stopped'}>`
  }
}
