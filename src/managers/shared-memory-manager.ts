/** SharedMemoryManager: shared memory with names that are removed when the manager ends, however it ends. */
import { inspect } from 'node:util'
import { invalidArgument } from '../errors.ts'
import { type ListItem, ShareableList } from '../memory/shareable-list.ts'
import { SharedMemory } from '../memory/shared-memory.ts'
import { BaseManager, typesOf } from './base-manager.ts'
import { SHARED_MEMORY, type MemoryKeeperProxy } from './shared-memory-types.ts'

/**
 * Makes shared memory whose names go when the manager is shut down, or when its process ends in another way, as Python's
 * `SharedMemoryManager`. For Linux, and with the native addon, as all memory with a name.
 *
 * @see https://docs.python.org/3/library/multiprocessing.shared_memory.html#multiprocessing.managers.SharedMemoryManager
 *
 * @example
 * ```ts
 * import { SharedMemoryManager } from 'multiproc'
 *
 * await using manager = new SharedMemoryManager()
 * await manager.start()
 * const memory = await manager.SharedMemory(1024)
 * memory.buf.set([1, 2, 3])
 * memory.close()
 * ```
 */
export class SharedMemoryManager extends BaseManager {
  #keeper: Promise<MemoryKeeperProxy> | undefined

  /**
   * Makes memory of so many bytes, all zero. Whoever has it closes it; its name is removed by the manager.
   *
   * @throws TypeError when `size` is no number; ClosedError before `start()`; errors of `new SharedMemory()`.
   */
  async SharedMemory(size: number): Promise<SharedMemory> {
    if (typeof size !== 'number') {
      throw invalidArgument(
        TypeError,
        `SharedMemory() of a manager needs a number of bytes, and got ${inspect(size, { depth: 0 })}\nTo fix: pass it alone, as in: await manager.SharedMemory(1024)`,
      )
    }
    return new SharedMemory({ name: await (await this.#keeperHere()).makeMemory(size) })
  }

  /**
   * Makes a list in shared memory.
   *
   * @throws ClosedError before `start()`; errors of `new ShareableList()`.
   */
  async ShareableList(items: Iterable<ListItem>): Promise<ShareableList> {
    return new ShareableList(null, { name: await (await this.#keeperHere()).makeList([...items]) })
  }

  async #keeperHere(): Promise<MemoryKeeperProxy> {
    // It keeps the names for as long as it has a proxy, which is as long as this manager is here.
    this.#keeper ??= this.create('SharedMemory') as Promise<MemoryKeeperProxy>
    try {
      return await this.#keeper
    } catch (error) {
      this.#keeper = undefined
      throw error
    }
  }
}

for (const type of SHARED_MEMORY) typesOf(SharedMemoryManager).set(type.typeId, type)
