/**
 * One object for each shared thing in a process or thread, however often its handle arrives; and what a thing that is
 * no longer used here has to let go of.
 */
import { type BlockHandle, type SharedHeap, sharedHeap } from '../platform/shared-heap.ts'

/** Objects by what they stand for, as long as somebody uses them; apart for each member in this thread. */
export class SharedObjects<T extends object> {
  readonly #objects = new WeakMap<SharedHeap, Map<string, WeakRef<T>>>()
  readonly #registry = new FinalizationRegistry<{
    objects: Map<string, WeakRef<T>>
    key: string
    collected: () => void
  }>(({ objects, key, collected }) => {
    if (objects.get(key)?.deref() === undefined) objects.delete(key)
    collected()
  })

  get #known(): Map<string, WeakRef<T>> {
    const heap = sharedHeap()
    let known = this.#objects.get(heap)
    if (known === undefined) this.#objects.set(heap, (known = new Map()))
    return known
  }

  get(handle: BlockHandle): T | undefined {
    return this.#known.get(keyOf(handle))?.deref()
  }

  /** `collected` is called when nobody uses `object` any more; it must not refer to it. */
  add(handle: BlockHandle, object: T, collected: () => void): void {
    const key = keyOf(handle)
    const objects = this.#known
    objects.set(key, new WeakRef(object))
    this.#registry.register(object, { objects, key, collected }, object)
  }

  /** For one that was closed: its handle means a new object from now on. */
  forget(handle: BlockHandle, object: T): void {
    const key = keyOf(handle)
    this.#registry.unregister(object)
    if (this.#known.get(key)?.deref() === object) this.#known.delete(key)
  }
}

function keyOf({ heap, index, generation }: BlockHandle): string {
  return `${heap}:${index}:${generation}`
}

/** What was sent is kept so long for those who have not received it yet, after this side has let go of it. */
export const IN_FLIGHT_MS = 30_000
