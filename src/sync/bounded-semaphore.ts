/** BoundedSemaphore: a semaphore that notices when more is given back than was taken. */
import { invalidState } from '../errors.ts'
import { type Operations, addShareable, handleToSend, remoteForm } from '../broker/shareable.ts'
import { objectFor } from '../platform/heap-objects.ts'
import { BLOCK_KINDS } from './block-kinds.ts'
import { REMOTE_ACQUIRABLE } from './remote-acquirable.ts'
import { REMOTE_SEMAPHORE, SEMAPHORE_OPERATIONS, Semaphore } from './semaphore.ts'

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

const REMOTE = remoteForm(BoundedSemaphore, REMOTE_ACQUIRABLE, REMOTE_SEMAPHORE)

addShareable<BoundedSemaphore>({
  type: BoundedSemaphore,
  name: 'multiproc.BoundedSemaphore',
  module: import.meta.url,
  encode: handleToSend,
  decode: handle => objectFor(handle, BLOCK_KINDS.boundedSemaphore, () => new BoundedSemaphore()),
  makeRemote: () => Object.create(REMOTE) as BoundedSemaphore,
  operations: SEMAPHORE_OPERATIONS as Operations<BoundedSemaphore>,
})
