/**
 * SharedMemory: bytes that several processes have, until each of them closes it. Without a name nothing is left of it
 * when all processes have ended, in whatever way; with a name, programs find it that have nothing else in common.
 */
import { inspect } from 'node:util'
import { ClosedError, invalidArgument } from '../errors.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { createNamedMemory, mapNamedMemory, unlinkNamedMemory } from '../platform/named-memory.ts'
import {
  type OwnMapping,
  allocateMapping,
  mapAgain,
  mapThreadMemory,
  ownNamedMapping,
} from '../platform/shared-buffers.ts'
import { addReducer } from '../serialize/reducers.ts'

/** Options of {@link SharedMemory}. */
export interface SharedMemoryOptions {
  /** How many bytes to make. Whoever attaches gets all there are. */
  size?: number | undefined
  /**
   * The name by which programs find it that were not given the object, Python's too. `true` chooses one that nobody
   * uses. Default: none. For Linux only, and with the native addon.
   */
  name?: string | true | undefined
  /** Whether to make memory of that name, rather than attach to it. Default: true without a name. */
  create?: boolean | undefined
}

/** What it is attached to, when the object is made for memory that arrived. */
interface Arrival {
  mapping: OwnMapping
}

let arriving: Arrival | undefined

/**
 * A block of bytes in memory that all processes and threads have in common, as Python's
 * `multiprocessing.shared_memory.SharedMemory`. Pass the object to a child (as an argument, a captured variable,
 * through a queue), and it has the same bytes.
 *
 * Each process closes its own object. Memory without a name is given back when all have, or have ended. A name is
 * removed by `unlink()`; at the latest when the process that made it ends, and if it was killed, when another process
 * uses named memory. A process that only attached never removes a name unless it calls `unlink()`.
 *
 * Nothing orders what several processes do to the bytes: use Atomics, or a lock.
 *
 * @see https://docs.python.org/3/library/multiprocessing.shared_memory.html
 *
 * @example
 * ```ts
 * import { Process, SharedMemory } from 'multiproc'
 *
 * const memory = new SharedMemory({ size: 1024 })
 * const child = new Process({ target: () => memory.buf.set([1, 2, 3]) })
 * child.start()
 * await child.join()
 * console.log(memory.buf.subarray(0, 3)) // Uint8Array(3) [ 1, 2, 3 ]
 * memory.close()
 * ```
 */
export class SharedMemory implements Disposable {
  readonly #mapping: OwnMapping
  readonly #name: string | undefined
  readonly #size: number
  readonly #isOwner: boolean
  #buf: Uint8Array | undefined

  /**
   * @throws TypeError or RangeError for options that make no sense. ProcessError `ERR_LIMIT` when there is not as much
   * memory, `ERR_ALREADY_EXISTS` and `ERR_NOT_FOUND` for names, `ERR_NOT_SUPPORTED` for names where there are none.
   */
  constructor(options: SharedMemoryOptions) {
    const arrived = arriving
    arriving = undefined
    if (arrived !== undefined) {
      this.#mapping = arrived.mapping
      this.#name = undefined
      this.#isOwner = false
    } else {
      const { name, isCreated, size } = checked(options)
      this.#isOwner = isCreated && name !== undefined
      if (name === undefined) {
        this.#mapping = allocateMapping(size)
        this.#name = undefined
      } else {
        const memory = isCreated
          ? createNamedMemory(name === true ? undefined : name, size)
          : mapNamedMemory(name as string)
        this.#mapping = ownNamedMapping(memory)
        this.#name = memory.name
      }
    }
    this.#size = this.#mapping.buffer.byteLength
    this.#buf = new Uint8Array(this.#mapping.buffer)
  }

  /**
   * The bytes. After `close()`, views that are left read zeros; on Windows they keep the memory.
   *
   * @throws ClosedError after `close()`.
   */
  get buf(): Uint8Array {
    if (this.#buf === undefined) {
      throw new ClosedError(
        `Cannot use ${this.#name === undefined ? 'shared memory' : `shared memory "${this.#name}"`}: it is closed\n` +
          'To fix: call close() when nobody in this process uses it any more',
      )
    }
    return this.#buf
  }

  /**
   * The memory, for other views of it: `new Float64Array(memory.buffer)`. A SharedArrayBuffer in Node.js from 22 on,
   * an ArrayBuffer in Node.js 20.
   *
   * @throws ClosedError after `close()`.
   */
  get buffer(): ArrayBufferLike {
    return this.buf.buffer
  }

  /** How many bytes it has. */
  get size(): number {
    return this.#size
  }

  /** The name by which others can attach; `undefined` for memory without a name. */
  get name(): string | undefined {
    return this.#name
  }

  /** Lets go of the memory in this process. Other processes keep it. Twice is fine. */
  close(): void {
    this.#buf = undefined
    this.#mapping.close()
  }

  /**
   * Removes the name, for everybody: nobody can attach by it any more, and the memory is given back when all who have
   * it have closed it. Nothing happens to memory without a name.
   *
   * @throws ProcessError `ERR_NOT_FOUND` when there is no such name any more.
   */
  unlink(): void {
    if (this.#name !== undefined) unlinkNamedMemory(this.#name)
  }

  /** Closes it, and removes the name if this object made it. */
  [Symbol.dispose](): void {
    const isOpen = this.#buf !== undefined
    this.close()
    if (!this.#isOwner || !isOpen) return
    try {
      this.unlink()
    } catch (error) {
      // It was unlinked before.
      if ((error as { code?: string }).code !== 'ERR_NOT_FOUND') throw error
    }
  }

  toString(): string {
    const name = this.#name === undefined ? '' : `'${this.#name}', `
    return `SharedMemory(${name}size=${this.#size}${this.#buf === undefined ? ', closed' : ''})`
  }

  [inspect.custom](): string {
    return this.toString()
  }
}

/** Shared memory over what another thread has told of; for layers above. @internal */
export function sharedMemoryOver(memory: SharedArrayBuffer): SharedMemory {
  arriving = { mapping: mapThreadMemory(memory) }
  return new SharedMemory({})
}

interface Checked {
  name: string | true | undefined
  isCreated: boolean
  size: number
}

function checked(options: SharedMemoryOptions | undefined): Checked {
  assertKnownOptions('SharedMemory', options, ['size', 'name', 'create'])
  const { size, name, create } = options ?? {}
  const refuse = (option: string, wanted: string, value: unknown): Error =>
    invalidArgument(
      TypeError,
      `SharedMemory needs "${option}" to be ${wanted}, and got ${inspect(value, { depth: 0 })}\n` +
        'To fix: pass { size } for new memory, { name } to attach, or { name, create: true, size }',
    )
  if (name !== undefined && name !== true && typeof name !== 'string')
    throw refuse('name', 'a string or true', name)
  if (create !== undefined && typeof create !== 'boolean') throw refuse('create', 'a boolean', create)
  const isCreated = create ?? typeof name !== 'string'
  if (!isCreated && typeof name !== 'string') throw refuse('name', 'a string when "create" is false', name)
  if (isCreated && (!Number.isSafeInteger(size) || size! <= 0)) {
    throw invalidArgument(
      RangeError,
      `SharedMemory needs "size" to be a number of bytes above 0, and got ${inspect(size, { depth: 0 })}\n` +
        'To fix: pass { size: 1024 }; or leave out "create" to attach by name',
    )
  }
  return { name, isCreated, size: size ?? 0 }
}

/** What travels: the name, or a buffer that arrives as a view of the same memory. */
type Sent = { name: string } | { buffer: ArrayBufferLike }

addReducer<SharedMemory>({
  type: SharedMemory,
  name: 'multiproc.SharedMemory',
  module: import.meta.url,
  encode: (memory): Sent => {
    const { buffer, name } = memory
    return name === undefined ? { buffer } : { name }
  },
  decode: data => {
    const sent = data as Sent
    if ('name' in sent) return new SharedMemory({ name: sent.name })
    arriving = { mapping: mapAgain(sent.buffer) }
    return new SharedMemory({})
  },
})
