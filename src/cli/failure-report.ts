/** Gathers the failed items of a run and tells of them at its end. Keeps the first few, and counts the others. */
import type { GivenInput } from './map-inputs.ts'
import type { ItemFailure } from './map-worker.ts'

/** So many are shown in full. */
const SHOWN_MAX = 20
const INPUT_CHARACTERS_MAX = 80
const ERROR_CHARACTERS_MAX = 500

export class FailureReport {
  readonly #shown: string[] = []
  #count = 0

  get count(): number {
    return this.#count
  }

  add({ place, text }: Pick<GivenInput, 'place' | 'text'>, { error, place: codePlace }: ItemFailure): void {
    this.#count++
    if (this.#shown.length >= SHOWN_MAX) return
    const lines = [`  ${place}, ${JSON.stringify(shorten(text, INPUT_CHARACTERS_MAX))}: ${firstLines(error)}`]
    if (codePlace !== '') lines.push(`      at ${codePlace}`)
    this.#shown.push(lines.join('\n'))
  }

  /** The report, ending in a newline; empty when nothing failed. */
  text(itemCount: number): string {
    if (this.#count === 0) return ''
    const rest = this.#count - this.#shown.length
    return [
      `${this.#count} of ${itemCount} ${itemCount === 1 ? 'item' : 'items'} failed:`,
      ...this.#shown,
      ...(rest > 0 ? [`  and ${rest} more`] : []),
      '',
    ].join('\n')
  }
}

function firstLines(error: string): string {
  return shorten(error.split('\n').slice(0, 3).join('\n      '), ERROR_CHARACTERS_MAX)
}

function shorten(text: string, charactersMax: number): string {
  return text.length <= charactersMax ? text : `${text.slice(0, charactersMax)}...`
}
