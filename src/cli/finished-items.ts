/**
 * Which inputs an earlier run has finished, and what they were: four bytes for each, so that a log of a hundred million
 * items fits into memory.
 */
import { createHash } from 'node:crypto'

/** Logs of runs with more inputs cannot be resumed: this is a table of 1 GiB. */
export const NUMBER_MAX = 2 ** 28

/** 32 bits that tell an input from another, never 0. For mistakes, not against forgery. */
export function hashOf(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32LE() || 1
}

export class FinishedItems {
  /** The hash of each finished input by its number, 0 for others. */
  #hashes = new Uint32Array(1024)
  readonly #failed = new Set<number>()
  #count = 0
  #numberMax = 0

  /** How many inputs are finished, failed ones included. */
  get count(): number {
    return this.#count
  }

  /** How many of them failed. */
  get failedCount(): number {
    return this.#failed.size
  }

  /** The highest number that was ever finished. */
  get numberMax(): number {
    return this.#numberMax
  }

  /** Notes an input; what is said last of a number holds. */
  add(number: number, { hash, isFailed }: { hash: number; isFailed: boolean }): void {
    if (number >= this.#hashes.length) {
      const larger = new Uint32Array(Math.min(NUMBER_MAX + 1, Math.max(number + 1, this.#hashes.length * 2)))
      larger.set(this.#hashes)
      this.#hashes = larger
    }
    if (this.#hashes[number] === 0) this.#count++
    this.#hashes[number] = hash
    this.#numberMax = Math.max(this.#numberMax, number)
    if (isFailed) this.#failed.add(number)
    else this.#failed.delete(number)
  }

  /** The hash of a finished input, or `undefined` for one that is not finished. */
  hashOf(number: number): number | undefined {
    const hash = this.#hashes[number] ?? 0
    return hash === 0 ? undefined : hash
  }

  /** Those that failed count as not finished. */
  forgetFailed(): void {
    for (const number of this.#failed) this.#forget(number)
    this.#failed.clear()
  }

  /** Those whose result is not there any more count as not finished; failed ones have none. */
  forgetUnless(hasResult: (number: number) => boolean): void {
    for (let number = 1; number <= this.#numberMax; number++) {
      if (this.#hashes[number] === 0 || this.#failed.has(number) || hasResult(number)) continue
      this.#forget(number)
    }
  }

  #forget(number: number): void {
    this.#hashes[number] = 0
    this.#count--
  }
}
