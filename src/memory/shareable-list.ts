/**
 * ShareableList: a list of fixed length in shared memory, in the format of Python's, so that Python can attach to it.
 * Behind Python's part lie the exact lengths of text and bytes, which Python's format does not have: see README.md.
 */
import { inspect } from 'node:util'
import { assertIterable } from '../platform/assert-iterable.ts'
import { publishMemory } from '../broker/home.ts'
import { memoryOf } from '../broker/published-memory.ts'
import { addShareable, callNow, handleToSend } from '../broker/shareable.ts'
import { ProcessError, invalidArgument } from '../errors.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { hasBlock, isKnown, objectFor, openBlock } from '../platform/heap-objects.ts'
import { onlyForThreads } from '../platform/shared-buffers.ts'
import { type BlockHandle, sharedHeap } from '../platform/shared-heap.ts'
import type { Receiver } from '../serialize/reducers.ts'
import { GET_INDEX, Indexed, SET_INDEX } from './indexed.ts'
import { type ListForm, type ListItem, ListLayout, itemFormat } from './list-layout.ts'
import { SharedMemory, sharedMemoryOver } from './shared-memory.ts'

export type { ListItem } from './list-layout.ts'

/** Options of {@link ShareableList}. */
export interface ShareableListOptions {
  /**
   * The name by which other programs attach; `true` chooses one. Default: none. Without values, the name of the list
   * to attach to.
   */
  name?: string | true | undefined
}

/** Of the block that stands for a list whose memory is asked for from elsewhere. */
const BLOCK_KIND = 0x4d02

/** What travels to whoever can have the memory. */
interface Parts {
  memory: SharedMemory
}

/** What travels to a process that cannot. */
interface RemoteParts {
  handle: BlockHandle
  length: number
}

let arriving: SharedMemory | RemoteParts | undefined

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
  /** `undefined` when it is in another process. */
  readonly #memory: SharedMemory | undefined
  readonly #layout: ListForm

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
      if (arrived !== undefined && !(arrived instanceof SharedMemory)) {
        this.#layout = new RemoteList(this, arrived.length)
        return
      }
      this.#memory = arrived ?? new SharedMemory({ name })
      this.#layout = ListLayout.read(this.#memory)
      return
    }
    if (values !== undefined && values !== null)
      assertIterable('Cannot make a ShareableList of these items', values)
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

  /**
   * The memory that it lies in: `list.shm.close()`, `list.shm.unlink()`, `list.shm.name`.
   *
   * @throws ProcessError `ERR_NOT_SUPPORTED` without the native addon, in another process than the one that made it.
   */
  get shm(): SharedMemory {
    if (this.#memory !== undefined) return this.#memory
    throw onlyForThreads('use the memory of a ShareableList of another process directly')
  }

  /** The items' formats in the notation of Python's `struct`, such as `'qd8s'`. */
  get format(): string {
    return this.#layout.format
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
    this.#memory?.[Symbol.dispose]()
  }

  /** What the console shows, as Python's `str()`. */
  override toString(): string {
    return this[inspect.custom]()
  }

  [inspect.custom](): string {
    const name = this.#memory?.name === undefined ? '' : `, name='${this.#memory.name}'`
    return `ShareableList(${inspect([...this])}${name})`
  }
}

function isSame(one: ListItem, other: ListItem): boolean {
  if (one instanceof Uint8Array && other instanceof Uint8Array) return Buffer.compare(one, other) === 0
  return one === other
}

/** A list whose memory is in another process: each access is a call there. */
class RemoteList implements ListForm {
  readonly length: number
  readonly #list: object

  constructor(list: object, length: number) {
    this.#list = list
    this.length = length
  }

  get format(): string {
    return callNow(this.#list, 'format') as string
  }

  get(index: number): ListItem {
    return callNow(this.#list, 'get', [index]) as ListItem
  }

  set(index: number, item: ListItem): void {
    // Also what a message cannot carry is refused as the list would.
    itemFormat(item)
    callNow(this.#list, 'set', [index, item])
  }
}

/** A block for it, when it is first sent to a process that cannot have its memory. */
function handleFor(list: ShareableList, receiver: Receiver): BlockHandle {
  const { buffer } = list.shm
  if (!hasBlock(list)) openBlock(list, BLOCK_KIND)
  const handle = handleToSend(list, receiver)
  publishMemory(handle, buffer as SharedArrayBuffer)
  return handle
}

addShareable<ShareableList>({
  type: ShareableList,
  name: 'multiproc.ShareableList',
  module: import.meta.url,
  encode: (list, receiver): Parts | RemoteParts => {
    if (receiver.isSameProcess || sharedHeap().isNative) return { memory: list.shm }
    return { handle: handleFor(list, receiver), length: list.length }
  },
  handleIn: data => (data as Partial<RemoteParts>).handle,
  isWhole: data =>
    memoryOf((data as RemoteParts).handle) !== undefined || isKnown((data as RemoteParts).handle),
  decode: data => {
    if ('handle' in (data as object)) {
      const { handle } = data as RemoteParts
      return objectFor(handle, BLOCK_KIND, () => {
        arriving = sharedMemoryOver(memoryOf(handle)!)
        const list = new ShareableList()
        openBlock(list, BLOCK_KIND)
        return list
      })
    }
    const { memory } = data as Partial<Parts>
    if (!(memory instanceof SharedMemory)) {
      throw new ProcessError(
        'ERR_NOT_DESERIALIZABLE',
        'Cannot rebuild a ShareableList: its memory is missing\nTo fix: use the same version of multiproc on both sides',
      )
    }
    arriving = memory
    return new ShareableList()
  },
  makeRemote: data => {
    arriving = data as RemoteParts
    return new ShareableList()
  },
  operations: {
    get: (list, [index]) => list.at(index as number),
    set: (list, [index, item]) => list.set(index as number, item as ListItem),
    format: list => list.format,
  },
})
