/**
 * Results to standard output: many in one write, and no faster than the stream takes them. Invariant: what is logged has
 * left this process.
 */
import { once } from 'node:events'
import type { Writable } from 'node:stream'
import type { JobLog } from './job-log.ts'
import { OncePerTurn } from './once-per-turn.ts'
import type { FinishedInput, ResultSink } from './result-sink.ts'
import { writeFailure } from './write-all.ts'

/** So much text is gathered before it is written. Fewer, larger writes are several times faster through a pipe. */
const BATCH_CHARACTERS = 1 << 16

export class StreamSink implements ResultSink {
  readonly #stream: Writable
  readonly #log: JobLog | undefined
  #batch = ''
  #entries: string[] = []
  readonly #flushing = new OncePerTurn(() => this.#flush())
  #isFull = false
  #failure: Error | undefined

  constructor(stream: Writable, log: JobLog | undefined) {
    this.#stream = stream
    this.#log = log
  }

  write({ line, entry }: FinishedInput): void {
    if (line !== undefined) this.#batch += `${line}\n`
    if (entry !== undefined) this.#entries.push(JSON.stringify(entry))
    if (this.#batch.length >= BATCH_CHARACTERS) this.#flush()
    else this.#flushing.plan()
  }

  get isFull(): boolean {
    return this.#isFull
  }

  async drained(signal: AbortSignal): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#isFull) await once(this.#stream, 'drain', { signal })
    this.#isFull = this.#failure !== undefined
  }

  async end(): Promise<void> {
    if (!this.#stream.destroyed && !this.#stream.errored) {
      // The callback of the last write comes after those of all others.
      await new Promise<void>(resolve => {
        this.#flush(resolve)
      })
    }
    if (this.#failure !== undefined) throw this.#failure
  }

  #flush(done?: () => void): void {
    const batch = this.#batch
    const entries = this.#entries
    this.#batch = ''
    this.#entries = []
    const isNothing = batch === '' && entries.length === 0
    if (this.#stream.destroyed || (isNothing && done === undefined)) {
      done?.()
      return
    }
    const isTaken = this.#stream.write(batch, error => {
      // That the reader has gone is told by the stream's "error" event. What it did not get is not finished.
      if (!error) this.#append(entries)
      done?.()
    })
    if (!isTaken) this.#isFull = true
  }

  #append(entries: readonly string[]): void {
    try {
      this.#log?.append(entries)
    } catch (error) {
      this.#failure ??= writeFailure('standard output', error, { isLogged: true })
      this.#isFull = true
    }
  }
}
