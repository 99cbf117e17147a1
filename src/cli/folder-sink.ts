/**
 * Results to a folder, each to a file of its own. Invariant: a file with the name of a result has all of it, because it
 * gets that name when it is whole.
 */
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { JobLog } from './job-log.ts'
import type { OutputKind } from './map-options.ts'
import { OncePerTurn } from './once-per-turn.ts'
import type { FinishedInput, ResultSink } from './result-sink.ts'
import { UsageError } from './usage-error.ts'
import { writeFailure } from './write-all.ts'

/** Numbers have so many digits at least, so that names sort as numbers do. */
const DIGITS_MIN = 6
const PART = '.part'

export class FolderSink implements ResultSink {
  readonly #folder: string
  readonly #ending: string
  readonly #log: JobLog | undefined
  #entries: string[] = []
  readonly #flushing = new OncePerTurn(() => this.#flush())
  #failure: Error | undefined

  constructor(folder: string, { output, log }: { output: OutputKind; log: JobLog | undefined }) {
    makeFolder(folder)
    this.#folder = folder
    this.#ending = endingOf(output)
    this.#log = log
  }

  write({ number, line, entry }: FinishedInput): void {
    if (this.#failure !== undefined) return
    const path = join(this.#folder, nameOf(number, this.#ending))
    try {
      if (line === undefined) {
        // Of an earlier run, in which this input did not fail, or whose result came to no line of its log.
        rmSync(path, { force: true })
      } else {
        writeFileSync(path + PART, `${line}\n`)
        renameSync(path + PART, path)
      }
    } catch (error) {
      this.#fail(error)
      return
    }
    if (entry === undefined) return
    this.#entries.push(JSON.stringify(entry))
    this.#flushing.plan()
  }

  /** Writes are over when they return: only one that has failed can be waited for. */
  get isFull(): boolean {
    return this.#failure !== undefined
  }

  async drained(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
  }

  async end(): Promise<void> {
    this.#flush()
    if (this.#failure !== undefined) throw this.#failure
  }

  #fail(cause: unknown): void {
    this.#failure ??= writeFailure(this.#folder, cause, { isLogged: this.#log !== undefined })
  }

  #flush(): void {
    const entries = this.#entries
    this.#entries = []
    try {
      this.#log?.append(entries)
    } catch (error) {
      this.#fail(error)
    }
  }
}

/**
 * The numbers of the results in a folder. Files that were being written when an earlier run was killed are removed.
 */
export function resultsIn(folder: string, output: OutputKind): Set<number> {
  const ending = endingOf(output)
  const numbers = new Set<number>()
  makeFolder(folder)
  for (const name of readdirSync(folder)) {
    const isPart = name.endsWith(PART)
    const whole = isPart ? name.slice(0, -PART.length) : name
    const number = Number.parseInt(whole, 10)
    // Only names that a run gives: others are not ours.
    if (!(number > 0) || whole !== nameOf(number, ending)) continue
    if (isPart) rmSync(join(folder, name), { force: true })
    else numbers.add(number)
  }
  return numbers
}

function endingOf(output: OutputKind): string {
  return output === 'text' ? '.txt' : '.json'
}

function nameOf(number: number, ending: string): string {
  return `${String(number).padStart(DIGITS_MIN, '0')}${ending}`
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true })
  } catch (error) {
    throw new UsageError(
      `Cannot write results to the folder "${folder}": ${(error as Error).message}\nTo fix: name a folder that exists or can be made, and that you may write to`,
    )
  }
}
