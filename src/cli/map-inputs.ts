/**
 * The inputs of a run, numbered, and remembered until their results have come, so that a failure can name its input.
 * Invariant: what is remembered is what the pool has taken and not given back, which the pool bounds.
 */
import type { GivenInput } from './failure-report.ts'
import { readLines } from './line-reader.ts'

export class MapInputs {
  readonly #source: readonly string[] | AsyncIterable<Uint8Array>
  readonly #skipsBlank: boolean
  readonly #pending = new Map<number, GivenInput>()
  #isEnded = false
  #count = 0

  /** @param source - the inputs, or a stream of lines */
  constructor(
    source: readonly string[] | AsyncIterable<Uint8Array>,
    { skipsBlank }: { skipsBlank: boolean },
  ) {
    this.#source = source
    this.#skipsBlank = skipsBlank
  }

  /** How many there are, once that is known. */
  get total(): number | undefined {
    if (isList(this.#source)) return this.#source.length
    return this.#isEnded ? this.#count : undefined
  }

  /** Index and text of each, for a pool. */
  async *items(): AsyncGenerator<readonly [index: number, text: string], void> {
    const source = this.#source
    const [texts, kind] = isList(source) ? [source, 'argument'] : [readLines(source), 'line']
    let position = 0
    for await (const text of texts) {
      position++
      if (this.#skipsBlank && text.trim() === '') continue
      const index = this.#count++
      this.#pending.set(index, { place: `${kind} ${position}`, text })
      yield [index, text]
    }
    this.#isEnded = true
  }

  /** The input at an index; its result has come. */
  take(index: number): GivenInput {
    const input = this.#pending.get(index)
    if (input === undefined) {
      throw new Error(
        `This is a bug in multiproc, please report it: a result came for input ${index}, which is not awaited`,
      )
    }
    this.#pending.delete(index)
    return input
  }
}

function isList(source: readonly string[] | AsyncIterable<Uint8Array>): source is readonly string[] {
  return Array.isArray(source)
}
