/** Semaphore: a number of permits that tasks of all processes and threads take and give back. */
import { ProcessError, invalidArgument } from '../errors.ts'
import { type Operations, addShareable, callNow, handleToSend, remoteForm } from '../broker/shareable.ts'
import { objectFor, openBlock } from '../platform/heap-objects.ts'
import { Acquirable } from './acquirable.ts'
import { BLOCK_KINDS } from './block-kinds.ts'
import type { Acquired } from './lock-word.ts'
import { ACQUIRABLE_OPERATIONS, REMOTE_ACQUIRABLE } from './remote-acquirable.ts'
import { PERMITS_MAX, SemaphoreState } from './semaphore-state.ts'
import type { Sleep, SyncHeap } from './waiting.ts'

/**
 * A counter of permits, as Python's `multiprocessing.Semaphore`: `acquire()` waits until there is one and takes it,
 * `release()` gives one back, or adds one. Any task may release, also one that has not acquired.
 *
 * The permits of a process or thread that ends are given back, up to the initial number of permits, and whoever gets
 * one of these is told by an `OwnerDiedError`. A release by a member that holds no permit counts as that of another
 * one that does.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Semaphore
 *
 * @example
 * ```ts
 * import { Pool, Semaphore } from 'multiproc'
 *
 * const semaphore = new Semaphore(2)
 * await using pool = new Pool(4)
 * const work = async (item: number) => {
 *   using permit = await semaphore.guard() // not more than two at a time come here
 *   return item * item
 * }
 * console.log(await pool.map(work, [1, 2, 3, 4])) // [ 1, 4, 9, 16 ]
 * ```
 */
export class Semaphore extends Acquirable {
  /** @internal */
  protected readonly heap: SyncHeap
  /** @internal */
  protected readonly state: SemaphoreState

  /**
   * @param value - how many permits there are at first. Default: 1
   * @throws RangeError unless that is a whole number from 0 to 2147483647.
   */
  constructor(value = 1) {
    assertPermits(new.target.name, value)
    super()
    const kind = new.target.kind
    const { heap, blocks, isNew } = openBlock(this, kind)
    this.heap = heap
    this.state = new SemaphoreState(heap, blocks, isNew ? value : undefined)
  }

  /** @internal */
  static kind: number = BLOCK_KINDS.semaphore

  /** @internal */
  protected attempt(sleep: Sleep): Acquired | undefined {
    return this.state.attempt(sleep)
  }

  /**
   * Gives a permit back, or adds one when nobody holds any.
   *
   * @throws ProcessError `ERR_LIMIT` when there would be more than 2147483647.
   */
  release(): void {
    const released = this.state.release({ canGrow: true })
    if (released === 'notHeld') {
      throw new ProcessError(
        'ERR_LIMIT',
        `Cannot release the Semaphore: it has ${PERMITS_MAX} permits\nTo fix: release it once for each acquire()`,
      )
    }
    this.pokeWaiters(released === 'woke')
  }

  /** @internal */
  protected abandon(): void {
    this.state.release({ canGrow: true, isAbandoned: true })
  }

  /** How many permits are available now. */
  getValue(): number {
    return this.state.value
  }

  override toString(): string {
    return `<${this.constructor.name} value=${this.getValue()}>`
  }
}

function assertPermits(name: string, value: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= PERMITS_MAX) return
  throw invalidArgument(
    typeof value === 'number' ? RangeError : TypeError,
    `Cannot make a ${name}: "value" must be a whole number from 0 to ${PERMITS_MAX}, got ${String(value)}\nTo fix: pass such a number`,
  )
}

/** What the home does for a semaphore of either kind. @internal */
export const SEMAPHORE_OPERATIONS: Operations<Semaphore> = {
  ...(ACQUIRABLE_OPERATIONS as Operations<Semaphore>),
  getValue: semaphore => semaphore.getValue(),
}

/** @internal */
export const REMOTE_SEMAPHORE: object & ThisType<Semaphore> = {
  getValue(): number {
    return callNow(this, 'getValue') as number
  },
}

const REMOTE = remoteForm(Semaphore, REMOTE_ACQUIRABLE, REMOTE_SEMAPHORE)

addShareable<Semaphore>({
  type: Semaphore,
  name: 'multiproc.Semaphore',
  module: import.meta.url,
  encode: handleToSend,
  decode: handle => objectFor(handle, BLOCK_KINDS.semaphore, () => new Semaphore()),
  makeRemote: () => Object.create(REMOTE) as Semaphore,
  operations: SEMAPHORE_OPERATIONS,
})
