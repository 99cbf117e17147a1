/**
 * ShareableList: a list of fixed length in shared memory, in the format of Python's, so that Python can attach to it.
 * Behind Python's part lie the exact lengths of text and bytes, which Python's format does not have: see README.md.
 */
import { inspect } from 'node:util'
import { ProcessError, invalidArgument } from '../errors.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { addReducer } from '../serialize/reducers.ts'
import { GET_INDEX, Indexed, SET_INDEX } from './indexed.ts'
import { type ListItem, ListLayout, itemFormat } from './list-layout.ts'
import { SharedMemory } from './shared-memory.ts'

export type { ListItem } from './list-layout.ts'

/** Options of {@link ShareableList}. */
export interface ShareableListOptions {
  /**
   * The name by which other programs attach; `true` chooses one. Default: none. Without values, the name of the list
   * to attach to.
   */
  name?: string | true | undefined
}

let arriving: SharedMemory | undefined

/**
 * A list of fixed length in shared memory, as Python's `multiprocessing.shared_memory.ShareableList`. Its items are
 * numbers, bigints up to 64 bits, booleans, text, bytes and null; each may be replaced by any other that fits: text and
 * bytes need the room that their place was made with, at least 8 bytes.
 *
 * Nothing orders what several processes do to it: use a lock.
 *
 * @see https://docs.python.org/3/library/multiprocessing.shared_memory.html#multiprocessing.shared_memory.ShareableList
 *
 * @example
 * ```ts
 * import { Process, ShareableList } from 'multiproc'
 *
 * const list = new ShareableList(['waiting', 0, null])
 * const child = new Process({ target: () => { list[0] = 'done'; list[1] = 42 } })
 * child.start()
 * await child.join()
 * console.log([...list]) // [ 'done', 42, null ]
 * list.shm.close()
 * ```
 */
export class ShareableList extends Indexed implements Iterable<ListItem>, Disposable {
  /** The items. */
  [index: number]: ListItem
  readonly #memory: SharedMemory
  readonly #layout: ListLayout

  /**
   * @param values - what is in it; nothing to attach to the list of a name
   * @throws TypeError for an item that is none of the above, RangeError for an integer of more than 64 bits. Errors of
   * `SharedMemory`.
   */
  constructor(values?: Iterable<ListItem> | null, options: ShareableListOptions = {}) {
    super()
    assertKnownOptions('ShareableList', options, ['name'])
    const arrived = arriving
    arriving = undefined
    const { name } = options
    if (arrived !== undefined || ((values === undefined || values === null) && typeof name === 'string')) {
      this.#memory = arrived ?? new SharedMemory({ name })
      this.#layout = ListLayout.read(this.#memory)
      return
    }
    const items = [...(values ?? [])]
    const formats = items.map(item => itemFormat(item))
    this.#memory = new SharedMemory({ name, create: true, size: ListLayout.byteLengthFor(formats) })
    this.#layout = ListLayout.write(this.#memory, formats)
    for (const [index, item] of items.entries()) this.#layout.set(index, item)
  }

  /** How many items it has; always the same. */
  get length(): number {
    return this.#layout.length
  }

  /** The memory that it lies in: `list.shm.close()`, `list.shm.unlink()`, `list.shm.name`. */
  get shm(): SharedMemory {
    return this.#memory
  }

  /** The items' formats in the notation of Python's `struct`, such as `'qd8s'`. */
  get format(): string {
    return Array.from({ length: this.length }, (_, index) => this.#layout.formatOf(index)).join('')
  }

  /** The item at an index, from the end when negative; undefined when there is none. */
  at(index: number): ListItem | undefined {
    return this[GET_INDEX](index < 0 ? index + this.length : index)
  }

  /**
   * Replaces an item, from the end when the index is negative; `list[index] = item` is the same.
   *
   * @throws RangeError for an index that there is not, and for text or bytes that are too long for the place.
   */
  set(index: number, item: ListItem): void {
    this[SET_INDEX](index < 0 ? index + this.length : index, item)
  }

  /** @internal */
  [GET_INDEX](index: number): ListItem | undefined {
    const isThere = Number.isInteger(index) && index >= 0 && index < this.length
    return isThere ? this.#layout.get(index) : undefined
  }

  /** @internal */
  [SET_INDEX](index: number, item: unknown): void {
    if (!Number.isInteger(index) || index < 0 || index >= this.length) {
      throw invalidArgument(
        RangeError,
        `Cannot set item ${index} of a ShareableList: it has ${this.length} items, for ever\n` +
          'To fix: make it with as many items as it will need',
      )
    }
    this.#layout.set(index, item as ListItem)
  }

  /** How many items are equal to this one. */
  count(item: ListItem): number {
    return [...this].filter(each => isSame(each, item)).length
  }

  /**
   * The index of the first item that is equal to this one.
   *
   * @returns -1 when there is none, as `indexOf()` of arrays
   */
  indexOf(item: ListItem): number {
    return [...this].findIndex(each => isSame(each, item))
  }

  *[Symbol.iterator](): Generator<ListItem> {
    for (let index = 0; index < this.length; index++) yield this.#layout.get(index)
  }

  /** Closes the memory, and removes its name if this object made it. */
  [Symbol.dispose](): void {
    this.#memory[Symbol.dispose]()
  }

  [inspect.custom](): string {
    const name = this.#memory.name === undefined ? '' : `, name='${this.#memory.name}'`
    return `ShareableList(${inspect([...this])}${name})`
  }
}

function isSame(one: ListItem, other: ListItem): boolean {
  if (one instanceof Uint8Array && other instanceof Uint8Array) return Buffer.compare(one, other) === 0
  return one === other
}

addReducer<ShareableList>({
  type: ShareableList,
  name: 'multiproc.ShareableList',
  module: import.meta.url,
  encode: list => ({ memory: list.shm }),
  decode: data => {
    const { memory } = data as { memory: unknown }
    if (!(memory instanceof SharedMemory)) {
      throw new ProcessError(
        'ERR_NOT_DESERIALIZABLE',
        'Cannot rebuild a ShareableList: its memory is missing\nTo fix: use the same version of multiproc on both sides',
      )
    }
    arriving = memory
    return new ShareableList()
  },
})
