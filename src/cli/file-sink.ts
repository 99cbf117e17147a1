/**
 * Results to a file, and then to the job log where they end in it. Invariant: the file has every byte up to the `end` of
 * each line of the log; what is behind the last one is of no finished input.
 */
import { closeSync, fstatSync, openSync } from 'node:fs'
import type { JobLog } from './job-log.ts'
import { OncePerTurn } from './once-per-turn.ts'
import type { FinishedInput, ResultSink } from './result-sink.ts'
import { UsageError } from './usage-error.ts'
import { writeAllSync, writeFailure } from './write-all.ts'

/** So much text is gathered before it is written. */
const BATCH_CHARACTERS = 1 << 16

export class FileSink implements ResultSink {
  readonly #path: string
  readonly #file: number
  readonly #log: JobLog | undefined
  #batch = ''
  #entries: string[] = []
  /** Bytes of the file, with the batch. */
  #end: number
  readonly #flushing = new OncePerTurn(() => this.#flush())
  #failure: Error | undefined

  /**
   * @param end - how many bytes of an earlier run the file has and keeps
   * @throws UsageError when it cannot be written.
   */
  constructor(path: string, { end, log }: { end: number; log: JobLog | undefined }) {
    this.#path = path
    this.#file = openOutput(path, { end, isLogged: log !== undefined })
    this.#end = end
    this.#log = log
  }

  write({ line, entry }: FinishedInput): void {
    if (line !== undefined) this.#batch += `${line}\n`
    if (entry !== undefined) {
      // Counting bytes is only needed for the log.
      if (line !== undefined) this.#end += Buffer.byteLength(line) + 1
      this.#entries.push(JSON.stringify({ ...entry, end: this.#end }))
    }
    if (this.#batch.length >= BATCH_CHARACTERS) this.#flush()
    else this.#flushing.plan()
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
    closeSync(this.#file)
    if (this.#failure !== undefined) throw this.#failure
  }

  #flush(): void {
    const batch = this.#batch
    const entries = this.#entries
    this.#batch = ''
    this.#entries = []
    // Behind a write that failed, the file has no place where the next one could begin.
    if (this.#failure !== undefined || (batch === '' && entries.length === 0)) return
    try {
      writeAllSync(this.#file, batch)
      this.#log?.append(entries)
    } catch (error) {
      this.#failure = writeFailure(this.#path, error, { isLogged: this.#log !== undefined })
    }
  }
}

function openOutput(path: string, { end, isLogged }: { end: number; isLogged: boolean }): number {
  try {
    // Closed in `end()`. What an earlier run has left behind its finished inputs was cut off when its log was read.
    const file = openSync(path, end === 0 ? 'w' : 'a')
    const stats = fstatSync(file)
    if (stats.isFile() ? stats.size === end : !isLogged) return file
    closeSync(file)
    throw new Error(
      stats.isFile()
        ? `it has ${stats.size} bytes and not ${end}, so another program writes to it`
        : 'it is no file whose end could be cut off, as --joblog needs it',
    )
  } catch (error) {
    throw new UsageError(
      `Cannot write results to "${path}": ${(error as Error).message}\nTo fix: name a file in a folder that exists and that you may write to`,
    )
  }
}
