/**
 * The functions that a pool has shipped. Equal payloads have one id, so that a worker gets each function once,
 * and what was measured of its speed serves every later call.
 */
import { createHash } from 'node:crypto'
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
  /** The function itself, while somebody else holds it. */
  source: WeakRef<(...values: never[]) => unknown>
  /** Workers that died while they loaded it. */
  fatalLoads: number
}

/** So many payloads are known by their content; an older one that comes again is sent again. */
const functionsMax = 1000

export class FunctionTable {
  readonly #byFunction = new WeakMap<object, ShippedFunction>()
  readonly #byContent = new Map<string, ShippedFunction>()
  #nextId = 1

  /** The entry of a function that was just encoded as `body`. Its captured variables may differ every time. */
  ship(task: (...values: never[]) => unknown, body: Body): ShippedFunction {
    const known = this.#byFunction.get(task)
    if (known && isSame(known.body, body)) return known
    const shipped = this.#byContentOf(body) ?? {
      id: this.#nextId++,
      name: task.name || 'anonymous',
      body,
      itemMs: undefined,
      itemBytes: 0,
      version: 0,
      source: new WeakRef(task),
      fatalLoads: 0,
    }
    this.#byFunction.set(task, shipped)
    if (body.attachments === undefined) this.#remember(body, shipped)
    return shipped
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
