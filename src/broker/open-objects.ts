/**
 * The real objects that one client has open. An object is let go with its last use: a number by which the client means
 * it, a call of it that is not answered, or another object that is made of it. Nothing waits for the garbage collector,
 * which may never come into a thread that makes as little garbage as the broker's.
 */
import { type SharedHeap, actAs } from '../platform/shared-heap.ts'
import { letGo, partsOf } from './shareable.ts'

export class OpenObjects {
  readonly #heap: SharedHeap
  readonly #objects = new Map<number, object>()
  readonly #uses = new Map<object, number>()

  /** `member`: as whom the objects were opened. */
  constructor(member: SharedHeap) {
    this.#heap = member
  }

  /** How many numbers mean something. */
  get size(): number {
    return this.#objects.size
  }

  get(id: number): object | undefined {
    return this.#objects.get(id)
  }

  /** From now on `id` means `object`. */
  set(id: number, object: object): void {
    // First the new use: what is opened once more is never without one.
    this.use(object)
    this.close(id)
    this.#objects.set(id, object)
  }

  /** `id` means nothing any more. */
  close(id: number): void {
    const object = this.#objects.get(id)
    if (object === undefined) return
    this.#objects.delete(id)
    this.drop(object)
  }

  /** One more use of an object, until `drop()`. */
  use(object: object): void {
    for (const each of [object, ...partsOf(object)]) this.#uses.set(each, (this.#uses.get(each) ?? 0) + 1)
  }

  /** One use less. */
  drop(object: object): void {
    for (const each of [object, ...partsOf(object)]) {
      const left = (this.#uses.get(each) ?? 0) - 1
      if (left > 0) this.#uses.set(each, left)
      else this.#letGo(each)
    }
  }

  #letGo(object: object): void {
    this.#uses.delete(object)
    // What a member held that has ended was taken from it already, and may be another's.
    if (!this.#heap.hasEnded) actAs(this.#heap, () => letGo(object))
  }

  /** For the client's end: the rules for members do the rest. */
  clear(): void {
    this.#objects.clear()
    this.#uses.clear()
  }
}
