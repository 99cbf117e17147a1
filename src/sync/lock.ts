/** Lock: held by one task at a time, in whichever process or thread it runs. */
import { invalidState } from '../errors.ts'
import { addShareable, handleToSend, remoteForm } from '../broker/shareable.ts'
import { objectFor, openBlock } from '../platform/heap-objects.ts'
import { Acquirable, type AcquireSyncOptions } from './acquirable.ts'
import { BLOCK_KINDS } from './block-kinds.ts'
import { type Acquired, LockWord } from './lock-word.ts'
import { LEVELS, type Ownable } from './ownable.ts'
import { OWNABLE_OPERATIONS, REMOTE_ACQUIRABLE, REMOTE_OWNABLE } from './remote-acquirable.ts'
import type { Sleep, SyncHeap } from './waiting.ts'

/**
 * A lock that one task at a time can hold, of all tasks in all processes and threads that have it, as Python's
 * `multiprocessing.Lock`. It may be passed as an argument, captured by a function, or sent through a queue.
 *
 * Two tasks of one thread exclude each other, too. It is not recursive: who holds it and acquires it again waits for
 * ever. Any task may release it, also one that has not acquired it.
 *
 * When the process or thread that holds it ends, the next one to acquire it has it at once, and is told by an
 * `OwnerDiedError` that what the lock protects may be half changed.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Lock
 *
 * @example
 * ```ts
 * import { Lock, Process } from 'multiproc'
 *
 * const lock = new Lock()
 * const children = ['first', 'second'].map(name => {
 *   const target = async () => {
 *     using held = await lock.guard()
 *     console.log(name, lock.locked()) // true
 *   }
 *   return new Process({ target })
 * })
 * for (const child of children) child.start()
 * for (const child of children) await child.join()
 * ```
 */
export class Lock extends Acquirable implements Ownable {
  /** @internal */
  protected readonly heap: SyncHeap
  readonly #word: LockWord

  /** Free at first. */
  constructor() {
    super()
    const { heap, blocks } = openBlock(this, BLOCK_KINDS.lock)
    this.heap = heap
    this.#word = new LockWord(heap, blocks[0].base)
  }

  /** @internal */
  protected attempt(sleep: Sleep): Acquired | undefined {
    return this.#word.tryFast() ? 'free' : this.#word.attempt(sleep)
  }

  override acquireSync(options?: AcquireSyncOptions): boolean {
    if (options === undefined && this.#word.tryFast()) return true
    return super.acquireSync(options)
  }

  /**
   * Gives the lock back, whoever acquired it.
   *
   * @throws ProcessError `ERR_INVALID_STATE` when nobody holds it.
   */
  release(): void {
    const released = this.#word.release()
    if (released === 'notHeld') {
      throw invalidState(
        'Cannot release the Lock: nobody holds it\nTo fix: release it once for each acquire()',
      )
    }
    this.pokeWaiters(released === 'woke')
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
    return this.#word.isOwn ? 1 : 0
  }

  /** @internal */
  set [LEVELS](levels: number) {
    if (levels === 0) this.release()
  }

  override toString(): string {
    return `<Lock ${this.locked() ? 'locked' : 'free'}>`
  }
}

const REMOTE = remoteForm(Lock, REMOTE_ACQUIRABLE, REMOTE_OWNABLE)

addShareable<Lock>({
  type: Lock,
  name: 'multiproc.Lock',
  module: import.meta.url,
  encode: handleToSend,
  decode: handle => objectFor(handle, BLOCK_KINDS.lock, () => new Lock()),
  makeRemote: () => Object.create(REMOTE) as Lock,
  operations: OWNABLE_OPERATIONS,
})
