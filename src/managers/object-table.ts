/**
 * The objects of one server, and who has them: proxies that are open at clients, and leases of proxies that are on their
 * way. An object goes with the last of them; but one that other objects of the server have a proxy of is left to the
 * garbage collector then, so that objects which contain each other go, too.
 */
import { ProcessError } from '../errors.ts'
import { LEASES_MAX, LEASE_MS, OBJECTS_MAX } from './protocol.ts'
import type { ServedType } from './served-type.ts'

/** An object of a manager. */
export interface Served {
  readonly id: number
  readonly typeId: string
  readonly type: ServedType
  readonly object: object
  /** The methods that clients may call; unused for objects with operations. */
  readonly exposed: ReadonlySet<string>
  /** How many clients and leases there are. */
  uses: number
  /** Whether there was ever a proxy of it in the server itself. Such proxies keep it, and are not counted. */
  isHeldHere: boolean
}

interface Lease {
  served: Served
  until: number
}

/** Leases whose proxy has been opened already: the word of its sender came later. So many are remembered. */
const USED_LEASES_MAX = 1024
/** Between looks for leases that are over. */
const LOOK_MS = 30_000

export class ObjectTable {
  readonly #objects = new Map<number, Served>()
  /** Those that only proxies in the server keep. */
  readonly #weak = new Map<number, WeakRef<Served>>()
  readonly #leases = new Map<number, Lease>()
  readonly #usedLeases = new Set<number>()
  readonly #letGo: (served: Served) => void
  #count = 0
  #timer: NodeJS.Timeout | undefined

  constructor(letGo: (served: Served) => void) {
    this.#letGo = letGo
  }

  get size(): number {
    return [...this].length
  }

  *[Symbol.iterator](): Generator<Served, void, undefined> {
    yield* this.#objects.values()
    for (const [id, weak] of this.#weak) {
      const served = weak.deref()
      if (served === undefined) this.#weak.delete(id)
      else yield served
    }
  }

  get(id: number): Served | undefined {
    return this.#objects.get(id) ?? this.#weak.get(id)?.deref()
  }

  /** For a proxy in the server, which keeps what is returned. */
  hold(id: number): Served | undefined {
    const served = this.get(id)
    if (served !== undefined) served.isHeldHere = true
    return served
  }

  /** @throws ProcessError `ERR_LIMIT`. */
  add(made: Omit<Served, 'id' | 'uses' | 'isHeldHere'>): Served {
    if (this.#objects.size + this.#weak.size >= OBJECTS_MAX && this.size >= OBJECTS_MAX) {
      throw new ProcessError(
        'ERR_LIMIT',
        `Cannot make another object in the manager: it has ${OBJECTS_MAX}\n` +
          'To fix: detach() proxies that are no longer needed, or keep plain values in fewer objects',
      )
    }
    const served: Served = { ...made, id: ++this.#count, uses: 0, isHeldHere: false }
    this.#objects.set(served.id, served)
    return served
  }

  use(served: Served): void {
    served.uses++
    if (!this.#weak.delete(served.id)) return
    this.#objects.set(served.id, served)
  }

  drop(served: Served, uses = 1): void {
    served.uses -= uses
    if (served.uses > 0 || !this.#objects.delete(served.id)) return
    if (served.isHeldHere) this.#weak.set(served.id, new WeakRef(served))
    else this.#letGo(served)
  }

  /** A proxy is on its way: its object is kept until it is open somewhere, or for 5 minutes. */
  lease(served: Served, lease: number): void {
    if (this.#usedLeases.delete(lease) || this.#leases.has(lease)) return
    if (this.#leases.size >= LEASES_MAX) this.#end(this.#leases.keys().next().value!)
    this.use(served)
    this.#leases.set(lease, { served, until: performance.now() + LEASE_MS })
    this.#timer ??= setInterval(() => this.endOverdue(), LOOK_MS).unref()
  }

  /** The proxy has arrived. Its sender's word may come later, over another connection. */
  arrived(lease: number): void {
    if (this.#end(lease)) return
    if (this.#usedLeases.size >= USED_LEASES_MAX)
      this.#usedLeases.delete(this.#usedLeases.keys().next().value!)
    this.#usedLeases.add(lease)
  }

  #end(lease: number): boolean {
    const found = this.#leases.get(lease)
    if (found === undefined) return false
    this.#leases.delete(lease)
    this.drop(found.served)
    return true
  }

  /** Ends leases whose proxies have not arrived in time. */
  endOverdue(now = performance.now()): void {
    // In the order of their time, which is that of their coming.
    for (const [lease, { until }] of this.#leases) {
      if (until > now) break
      this.#end(lease)
    }
    if (this.#leases.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** Lets go of everything. */
  clear(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#leases.clear()
    for (const served of this) this.#letGo(served)
    this.#objects.clear()
    this.#weak.clear()
  }
}
