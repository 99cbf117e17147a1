/** SharedValue: one number in shared memory with the lock that goes with it. */
import { inspect } from 'node:util'
import type { ElementOf, ElementType } from '../memory/element-types.ts'
import { RawValue } from '../memory/raw-value.ts'
import { addReducer } from '../serialize/reducers.ts'
import type { Lock } from './lock.ts'
import { Locked, type SharedOptions, lockOf } from './locked.ts'
import type { RLock } from './rlock.ts'

interface Parts {
  raw: RawValue
  lock: Lock | RLock
}

let arriving: Parts | undefined

/**
 * One number in shared memory with a lock, as Python's `multiprocessing.Value`. It may be passed as an argument,
 * captured by a function, or sent through a queue; it stays the same number.
 *
 * Reading and writing takes the lock, each for itself: `counter.value += 1` is a read and a write, and others may write
 * in between. `update()` does it at once, and so does everything in a block that has the lock (`guard()`).
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Value
 *
 * @example
 * ```ts
 * import { Pool, SharedValue } from 'multiproc'
 *
 * const counter = new SharedValue('int32', 0)
 * await using pool = new Pool(2)
 * await pool.map(() => counter.update(count => count + 1), Array(1000).fill(0))
 * console.log(counter.value) // 1000
 * ```
 */
export class SharedValue<Type extends ElementType = ElementType> extends Locked {
  readonly #raw: RawValue<Type>

  /**
   * @param type - a name such as `'int32'` or one of Python's type codes; see {@link ElementType}
   * @param initial - default: 0
   * @throws TypeError for an unknown type, for a value that is none of it, and for something else than a lock.
   */
  constructor(type: Type, initial?: ElementOf<Type>, options: SharedOptions = {}) {
    const arrived = arriving
    arriving = undefined
    super(arrived?.lock ?? lockOf('SharedValue', options))
    this.#raw = (arrived?.raw as RawValue<Type> | undefined) ?? new RawValue(type, initial)
  }

  /**
   * The number. An integer that does not fit wraps around, as in C.
   *
   * @throws TypeError for what is no such number. OwnerDiedError when a process ended while it had the lock, until
   * somebody takes it over: `guard({ recover: true })`.
   */
  get value(): ElementOf<Type> {
    return this.whileLocked(() => this.#raw.value)
  }

  set value(value: ElementOf<Type>) {
    this.whileLocked(() => {
      this.#raw.value = value
    })
  }

  /**
   * Replaces the number by what `change` makes of it, while nobody else can change it. `change` must not be async.
   *
   * @returns the new number
   */
  update(change: (value: ElementOf<Type>) => ElementOf<Type>): ElementOf<Type> {
    return this.whileLocked(() => {
      this.#raw.value = change(this.#raw.value)
      return this.#raw.value
    })
  }

  /** The number without its lock: the same memory. */
  getObj(): RawValue<Type> {
    return this.#raw
  }

  /** Its type, number and lock, as they are without waiting for the lock. */
  override toString(): string {
    return `<SharedValue ${this.#raw.type} ${String(this.#raw.value)}, ${String(this.getLock())}>`
  }

  [inspect.custom](): string {
    return this.toString()
  }
}

addReducer<SharedValue>({
  type: SharedValue,
  name: 'multiproc.SharedValue',
  module: import.meta.url,
  encode: (value): Parts => ({ raw: value.getObj(), lock: value.getLock() }),
  decode: data => {
    const parts = data as Parts
    arriving = parts
    return new SharedValue(parts.raw.type)
  },
})
