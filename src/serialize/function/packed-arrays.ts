/**
 * Long arrays of plain data inside a graph. A node for each of 100,000 records would take seconds, so such an array is
 * written as bytes by the codec around the graph, which is many times faster. That is right as long as nothing in it
 * is reached in another way, too: it would arrive twice. Nobody can tell before everything has been reached, so the
 * graph is made in hope, and made again without packing when it turns out otherwise.
 */
import type { EncodeOptions } from './encoding.ts'
import type { GraphNode } from './graph-node.ts'

/** Shorter arrays gain nothing. */
const LENGTH_MIN = 256
/** After so many arrays that were not plain, the others are not tried: each try costs time. */
const REFUSED_MAX = 8
/** Each array is compared with all before it. */
const PACKED_MAX = 16

export class PackedArrays {
  readonly #pack: EncodeOptions['pack']
  readonly #isImported: (value: object) => boolean
  readonly #packed: { root: object; objects: { has(object: object): boolean } }[] = []
  #refused = 0
  #isShared = false

  constructor(pack: EncodeOptions['pack'], isImported: (value: object) => boolean) {
    this.#pack = pack
    this.#isImported = isImported
  }

  /** The node for a long array of plain data; `undefined` for anything else. */
  node(value: object): GraphNode | undefined {
    if (this.#pack === undefined || !Array.isArray(value) || value.length < LENGTH_MIN) return undefined
    if (this.#isShared || this.#refused >= REFUSED_MAX || this.#packed.length >= PACKED_MAX) return undefined
    const packed = this.#pack(value)
    if (packed === undefined) {
      this.#refused++
      return undefined
    }
    for (const object of packed.objects.keys()) {
      // What a module exports is that module's over there, too.
      if (this.#isImported(object) || this.#packed.some(({ objects }) => objects.has(object)))
        this.#isShared = true
    }
    this.#packed.push({ root: value, objects: packed.objects })
    return { t: 'packed', bytes: packed.bytes }
  }

  get count(): number {
    return this.#packed.length
  }

  /** Whether none of these is in a packed array, except as the array itself, and no two arrays have one in common. */
  areApart(reached: Iterable<unknown>): boolean {
    if (this.#isShared) return false
    const roots = new Set(this.#packed.map(({ root }) => root))
    for (const value of reached) {
      if (typeof value !== 'object' || value === null || roots.has(value)) continue
      if (this.#packed.some(({ objects }) => objects.has(value))) return false
    }
    return true
  }
}
