/** RLock: a lock that the thread which holds it may take again. */
import { invalidState } from '../errors.ts'
import { addShareable, handleToSend, remoteForm } from '../broker/shareable.ts'
import { objectFor, openBlock } from '../platform/heap-objects.ts'
import { Acquirable } from './acquirable.ts'
import { BLOCK_KINDS } from './block-kinds.ts'
import { type Acquired, LockWord } from './lock-word.ts'
import { LEVELS, type Ownable } from './ownable.ts'
import { OWNABLE_OPERATIONS, REMOTE_ACQUIRABLE, REMOTE_OWNABLE } from './remote-acquirable.ts'
import type { Sleep, SyncHeap } from './waiting.ts'

/**
 * A recursive lock, as Python's `multiprocessing.RLock`: the thread (or process) that holds it may acquire it again,
 * and it is free after as many releases.
 *
 * It belongs to a thread, not to a task. Two async functions of one thread are both "the thread that holds it": an
 * RLock does not keep them apart while one of them awaits something. Use a {@link Lock} for that.
 *
 * When the process or thread that holds it ends, the next one to acquire it has it at once, on the first level, and
 * is told by an `OwnerDiedError`.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.RLock
 *
 * @example
 * ```ts
 * import { RLock } from 'multiproc'
 *
 * const lock = new RLock()
 * lock.acquireSync()
 * lock.acquireSync()
 * lock.release()
 * console.log(lock.locked()) // true
 * lock.release()
 * console.log(lock.locked()) // false
 * ```
 */
export class RLock extends Acquirable implements Ownable {
  /** @internal */
  protected readonly heap: SyncHeap
  readonly #word: LockWord
  /** Of the word with the number of levels. Only the owner reads and writes it. */
  readonly #levels: number

  /** Free at first. */
  constructor() {
    super()
    const { heap, blocks } = openBlock(this, BLOCK_KINDS.rlock)
    this.heap = heap
    this.#word = new LockWord(heap, blocks[0].base)
    this.#levels = blocks[0].base + 1
  }

  /** @internal */
  protected attempt(sleep: Sleep): Acquired | undefined {
    const { words } = this.heap
    if (this.#word.isOwn) {
      words[this.#levels]!++
      return 'free'
    }
    const acquired = this.#word.attempt(sleep)
    if (acquired !== undefined) words[this.#levels] = 1
    return acquired
  }

  /**
   * Gives one level back; the last one sets the lock free.
   *
   * @throws ProcessError `ERR_INVALID_STATE` when this thread does not hold it.
   */
  release(): void {
    if (!this.#word.isOwn) {
      throw invalidState(
        'Cannot release the RLock: this thread does not hold it\n' +
          'To fix: release it once for each acquire(), in the thread or process that acquired it',
      )
    }
    const levels = this.heap.words[this.#levels]! - 1
    this.heap.words[this.#levels] = levels
    if (levels === 0) this.pokeWaiters(this.#word.release() === 'woke')
  }

  /** @internal */
  protected abandon(): void {
    this.#word.abandon()
  }

  /** Whether anybody holds it. */
  locked(): boolean {
    return this.#word.owner !== 0
  }

  /** @internal */
  get [LEVELS](): number {
    return this.#word.isOwn ? this.heap.words[this.#levels]! : 0
  }

  /** @internal */
  set [LEVELS](levels: number) {
    this.heap.words[this.#levels] = levels || 1
    if (levels === 0) this.release()
  }

  override toString(): string {
    return `<RLock ${this.locked() ? `locked, ${this[LEVELS]} levels here` : 'free'}>`
  }
}

const REMOTE = remoteForm(RLock, REMOTE_ACQUIRABLE, REMOTE_OWNABLE)

addShareable<RLock>({
  type: RLock,
  name: 'multiproc.RLock',
  module: import.meta.url,
  encode: handleToSend,
  decode: handle => objectFor(handle, BLOCK_KINDS.rlock, () => new RLock()),
  makeRemote: () => Object.create(REMOTE) as RLock,
  operations: OWNABLE_OPERATIONS,
})
