/**
 * The functions that a pool has shipped. Equal payloads have one id, so that a worker gets each function once,
 * and what was measured of its speed serves every later call.
 */
import { createHash } from 'node:crypto'
import { dropMessage, hasLeases } from '../platform/in-flight.ts'
import type { Body } from './protocol.ts'

/** A function as workers get it. */
export interface ShippedFunction {
  id: number
  name: string
  body: Body
  /** Mean time of one item in a worker, or undefined before the first result. */
  itemMs: number | undefined
  /** Mean size of one item or result, whichever is larger. */
  itemBytes: number
  /** How often it was encoded anew because workers could not load a module that it was to be imported from. */
  version: number
  /** The function itself, while somebody else holds it. Absent: it came from another machine. */
  source?: WeakRef<(...values: never[]) => unknown>
  /** The same by value, for workers that cannot load it so; of what came from another program. */
  byValue?: Body
  /** Workers that died while they loaded it, since one could. */
  fatalLoads: number
}

/** A function is not sent again after so many workers died of loading it, one after the other. */
export const fatalLoadsMax = 3

/** So many payloads are known by their content; an older one that comes again is sent again. */
const functionsMax = 1000
/** From here on it is looked which were collected. There are no more than the keeper of descriptors keeps. */
const leasedMax = 4096

export class FunctionTable {
  readonly #byFunction = new WeakMap<object, ShippedFunction>()
  readonly #byContent = new Map<string, ShippedFunction>()
  /** Bytes that keep what a function captured; those that were collected are left out now and then. */
  #leased = new Set<WeakRef<Uint8Array>>()
  #nextId = 1

  /** The entry of a function that was just encoded as `body`. Its captured variables may differ every time. */
  ship(task: (...values: never[]) => unknown, body: Body): ShippedFunction {
    const known = this.#byFunction.get(task)
    if (known && isSame(known.body, body)) {
      // What the first message keeps is the same, and when these bytes are collected is anybody's guess.
      if (body.bytes !== known.body.bytes) dropMessage(body.bytes)
      return known
    }
    if (hasLeases(body.bytes)) this.#noteLeased(body)
    const shipped = this.#byContentOf(body) ?? this.#newEntry(task.name || 'anonymous', body)
    shipped.source ??= new WeakRef(task)
    this.#byFunction.set(task, shipped)
    // Nor is what a function has captured kept open for longer than somebody has the function.
    if (body.attachments === undefined && !hasLeases(body.bytes)) this.#remember(body, shipped)
    return shipped
  }

  /** The entry of a function that another machine has encoded. */
  shipBytes(name: string, body: Body): ShippedFunction {
    const shipped = this.#byContentOf(body) ?? this.#newEntry(name, body)
    this.#remember(body, shipped)
    return shipped
  }

  #newEntry(name: string, body: Body): ShippedFunction {
    const id = this.#nextId++
    return { id, name, body, itemMs: undefined, itemBytes: 0, version: 0, fatalLoads: 0 }
  }

  #noteLeased({ bytes }: Body): void {
    if (this.#leased.size >= leasedMax) {
      this.#leased = new Set([...this.#leased].filter(reference => reference.deref() !== undefined))
    }
    this.#leased.add(new WeakRef(bytes))
  }

  /** No worker is left, and none will come: sockets that functions have captured are not kept for them any longer. */
  end(): void {
    for (const reference of this.#leased) {
      const bytes = reference.deref()
      if (bytes !== undefined) dropMessage(bytes)
    }
    this.#leased.clear()
  }

  #byContentOf(body: Body): ShippedFunction | undefined {
    // Equal bytes mean different things when they name different things that travel beside them.
    return body.attachments === undefined ? this.#byContent.get(contentHash(body)) : undefined
  }

  #remember(body: Body, shipped: ShippedFunction): void {
    const key = contentHash(body)
    this.#byContent.delete(key)
    this.#byContent.set(key, shipped)
    if (this.#byContent.size > functionsMax) this.#byContent.delete(this.#byContent.keys().next().value!)
  }
}

function contentHash(body: Body): string {
  return createHash('sha256').update(body.bytes).digest('base64')
}

function isSame(a: Body, b: Body): boolean {
  if (a.bytes !== b.bytes && Buffer.compare(a.bytes, b.bytes) !== 0) return false
  const [left, right] = [a.attachments ?? [], b.attachments ?? []]
  return left.length === right.length && left.every((value, index) => value === right[index])
}
