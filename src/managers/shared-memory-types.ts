/** What the server of a SharedMemoryManager has: the names of the memory that it made, which it removes in the end. */
import { type ListItem, ShareableList } from '../memory/shareable-list.ts'
import { SharedMemory } from '../memory/shared-memory.ts'
import { BaseProxy, addProxyType } from './base-proxy.ts'
import type { ServedType } from './served-type.ts'

/** In the server. The names belong to its process: should it be killed, its parent removes them. */
class MemoryKeeper {
  readonly #memories = new Map<string, SharedMemory>()

  makeMemory(size: number): string {
    return this.#keep(new SharedMemory({ name: true, create: true, size }))
  }

  makeList(items: readonly ListItem[]): string {
    return this.#keep(new ShareableList(items, { name: true }).shm)
  }

  #keep(memory: SharedMemory): string {
    const name = memory.name!
    this.#memories.set(name, memory)
    return name
  }

  get names(): string[] {
    return [...this.#memories.keys()]
  }

  removeAll(): void {
    for (const memory of this.#memories.values()) {
      try {
        memory.unlink()
      } catch {
        // Somebody has removed the name already.
      }
      memory.close()
    }
    this.#memories.clear()
  }
}

/** Of the one keeper of a manager. */
export class MemoryKeeperProxy extends BaseProxy<string[]> {
  makeMemory(size: number): Promise<string> {
    return this.callMethod('makeMemory', [size]) as Promise<string>
  }

  makeList(items: readonly ListItem[]): Promise<string> {
    return this.callMethod('makeList', [items]) as Promise<string>
  }
}

addProxyType('SharedMemory', MemoryKeeperProxy)

/** @internal */
export const SHARED_MEMORY: readonly ServedType[] = [
  {
    typeId: 'SharedMemory',
    isBuiltIn: true,
    make: () => new MemoryKeeper(),
    exposed: ['makeMemory', 'makeList'],
    snapshot: object => (object as MemoryKeeper).names,
    end: object => (object as MemoryKeeper).removeAll(),
  },
]
