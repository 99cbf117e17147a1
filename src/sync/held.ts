/** What `guard()` gives: something that is held until it is disposed of, once. */

/**
 * A lock or permit that is held, for a `using` declaration. In plain JavaScript for Node.js 20 and 22, which do not
 * know `using`, call {@link Held.release} in a `finally` block.
 *
 * @example
 * ```ts
 * import { Lock } from 'multiproc'
 *
 * const lock = new Lock()
 * {
 *   using held = await lock.guard()
 *   console.log(held.ownerDied, lock.locked()) // false true
 * }
 * console.log(lock.locked()) // false
 * ```
 */
export class Held {
  /** Whether the last holder ended without giving it back; only with the option `recover`. */
  readonly ownerDied: boolean
  #release: (() => void) | undefined

  /** Made by `guard()` and `guardSync()`. */
  constructor(ownerDied: boolean, release: () => void) {
    this.ownerDied = ownerDied
    this.#release = release
  }

  /** Gives it back. The second call does nothing. */
  release(): void {
    const release = this.#release
    this.#release = undefined
    release?.()
  }

  [Symbol.dispose](): void {
    this.release()
  }
}
