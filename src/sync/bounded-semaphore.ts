/** BoundedSemaphore: a semaphore that notices when more is given back than was taken. */
import { invalidState } from '../errors.ts'
import { handleOf, objectFor } from '../platform/heap-objects.ts'
import { addReducer } from '../serialize/reducers.ts'
import { BLOCK_KINDS } from './block-kinds.ts'
import { Semaphore } from './semaphore.ts'

/**
 * A {@link Semaphore} that never has more permits than at first, as Python's `multiprocessing.BoundedSemaphore`.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.BoundedSemaphore
 *
 * @example
 * ```ts
 * import { BoundedSemaphore } from 'multiproc'
 *
 * const semaphore = new BoundedSemaphore(2)
 * semaphore.acquireSync()
 * console.log(semaphore.getValue()) // 1
 * semaphore.release()
 * try {
 *   semaphore.release()
 * } catch (error) {
 *   console.log((error as { code: string }).code) // ERR_INVALID_STATE
 * }
 * ```
 */
export class BoundedSemaphore extends Semaphore {
  /** @internal */
  static override kind: number = BLOCK_KINDS.boundedSemaphore

  /**
   * Gives a permit back.
   *
   * @throws ProcessError `ERR_INVALID_STATE` when all permits are there already.
   */
  override release(): void {
    const released = this.state.release({ canGrow: false })
    if (released === 'notHeld') {
      throw invalidState(
        `Cannot release the BoundedSemaphore: all its ${this.state.initial} permits are there\n` +
          'To fix: release it once for each acquire()',
      )
    }
    this.pokeWaiters(released === 'woke')
  }

  override toString(): string {
    return `<BoundedSemaphore value=${this.getValue()}, maximum ${this.state.initial}>`
  }
}

addReducer<BoundedSemaphore>({
  type: BoundedSemaphore,
  name: 'multiproc.BoundedSemaphore',
  module: import.meta.url,
  encode: handleOf,
  decode: handle => objectFor(handle, BLOCK_KINDS.boundedSemaphore, () => new BoundedSemaphore()),
})
