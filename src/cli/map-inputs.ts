/**
 * The inputs of a run, numbered, and remembered until their results have come, so that a failure can name its input.
 * Invariant: what is remembered is what the pool has taken and not given back, which the pool bounds.
 */
import type { Readable } from 'node:stream'
import { type CsvRow, readCsv } from './csv-reader.ts'
import type { FinishedItems } from './finished-items.ts'
import { readLines } from './line-reader.ts'
import type { MapSettings } from './map-options.ts'
import { hashOf } from './finished-items.ts'

/** An input as the user gave it. */
export interface GivenInput {
  /** From 1, in the order of the inputs: its name in the job log, in records, and among the files of a folder. */
  number: number
  /** Where it is: `line 3` or `argument 3`, counted from 1. */
  place: string
  text: string
}

/** Where inputs come from: a list that is known, or a stream. */
export type InputSource = { list: readonly string[]; noun: 'argument' | 'file' } | { stream: Readable }

type InputOptions = Pick<MapSettings['input'], 'kind' | 'isNulSeparated' | 'delimiter' | 'hasHeader'>

export class MapInputs {
  readonly #source: InputSource
  readonly #options: InputOptions
  readonly #finished: FinishedItems | undefined
  /** By their position among those that the pool was given. */
  readonly #pending = new Map<number, GivenInput>()
  #isEnded = false
  #isStopped = false
  #count = 0
  #given = 0

  /** @param finished - what an earlier run has done; it is left out */
  constructor(source: InputSource, options: InputOptions, finished: FinishedItems | undefined) {
    this.#source = source
    this.#options = options
    this.#finished = finished
  }

  /** How many are to be done in this run, once that is known. */
  get total(): number | undefined {
    if (this.#isEnded) return this.#given
    // Not before the log has been compared with the inputs is it known how many of them it is about.
    return 'list' in this.#source ? this.#source.list.length - (this.#finished?.count ?? 0) : undefined
  }

  /** Position and text of each, for a pool. */
  async *items(): AsyncGenerator<readonly [position: number, text: string], void> {
    try {
      for await (const [place, text] of this.#texts()) {
        if (this.#isStopped) return
        const number = ++this.#count
        if (this.#isFinished({ number, place, text })) continue
        const position = this.#given++
        this.#pending.set(position, { number, place, text })
        yield [position, text]
      }
    } catch (error) {
      // A stream that was closed under its reader complains.
      if (!this.#isStopped) throw error
      return
    }
    if (this.#isStopped) return
    if (this.#finished !== undefined && this.#finished.numberMax > this.#count) {
      throw new Error(
        `The job log is not about these inputs: it knows input ${this.#finished.numberMax}, and there are ${this.#count}\nTo fix: run with the inputs of the first run, or begin anew with another log`,
      )
    }
    this.#isEnded = true
  }

  /** Reads no more inputs. Those that the pool has taken come to their ends. */
  stop(): void {
    this.#isStopped = true
    if ('stream' in this.#source) this.#source.stream.destroy()
  }

  /** The input at a position; its result has come. */
  take(position: number): GivenInput {
    const input = this.#pending.get(position)
    if (input === undefined) {
      throw new Error(
        `This is a bug in multiproc, please report it: a result came for position ${position}, which is not awaited`,
      )
    }
    this.#pending.delete(position)
    return input
  }

  #isFinished({ number, place, text }: GivenInput): boolean {
    const hash = this.#finished?.hashOf(number)
    if (hash === undefined) return false
    if (hash === hashOf(text)) return true
    throw new Error(
      `The job log is not about these inputs: input ${number} (${place}) was another in the earlier run\nTo fix: run with the inputs of the first run, in their order, or begin anew with another log`,
    )
  }

  async *#texts(): AsyncGenerator<readonly [place: string, text: string], void> {
    const source = this.#source
    const { kind, isNulSeparated, delimiter, hasHeader } = this.#options
    if ('list' in source) {
      let position = 0
      for (const text of source.list) {
        position++
        if (kind !== 'json' || text.trim() !== '') yield [`${source.noun} ${position}`, text]
      }
    } else if (kind === 'csv') {
      const rows: AsyncIterable<CsvRow> = readCsv(source.stream, { delimiter, hasHeader })
      for await (const { text, line } of rows) yield [`line ${line}`, text]
    } else {
      let position = 0
      for await (const text of readLines(source.stream, { end: isNulSeparated ? '\0' : '\n' })) {
        position++
        if (kind !== 'json' || text.trim() !== '') yield [`line ${position}`, text]
      }
    }
  }
}
