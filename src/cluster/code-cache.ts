/** Functions that are too long to go along with each chunk, as an agent has fetched them. Known by their content. */
import type { StoredPayload } from './payload-store.ts'
import { codeName } from './work-message.ts'

/** So many are kept; one that was dropped is fetched again. */
const codeMax = 200

export class CodeCache {
  readonly #byHash = new Map<string, Promise<Uint8Array | undefined>>()

  /** @returns `undefined` when nobody has it any more. */
  async get(
    { hash, byteLength }: { hash: string; byteLength: number },
    fetch: (stored: StoredPayload) => Promise<Uint8Array | undefined>,
  ): Promise<Uint8Array | undefined> {
    const known = this.#byHash.get(hash)
    if (known) return await known
    const fetched = fetch({ name: codeName(hash), hash, byteLength })
    this.#byHash.set(hash, fetched)
    if (this.#byHash.size > codeMax) this.#byHash.delete(this.#byHash.keys().next().value!)
    try {
      const bytes = await fetched
      if (bytes === undefined) this.#byHash.delete(hash)
      return bytes
    } catch (error) {
      this.#byHash.delete(hash)
      throw error
    }
  }
}
