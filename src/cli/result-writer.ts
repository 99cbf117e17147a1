/**
 * Writes result lines to a stream: many in one write, and no faster than the stream takes them. Invariant: what
 * waits to be written is bounded, if callers wait when told to.
 */
import { once } from 'node:events'
import type { Writable } from 'node:stream'

/** So much text is gathered before it is written. Fewer, larger writes are several times faster through a pipe. */
const BATCH_CHARACTERS = 1 << 16

export class ResultWriter {
  readonly #stream: Writable
  #batch = ''
  #isFlushPlanned = false
  #isFull = false

  constructor(stream: Writable) {
    this.#stream = stream
  }

  /** Adds a line. It leaves at the latest when the event loop turns. */
  write(line: string): void {
    this.#batch += `${line}\n`
    if (this.#batch.length >= BATCH_CHARACTERS) {
      this.#flush()
    } else if (!this.#isFlushPlanned) {
      this.#isFlushPlanned = true
      setImmediate(() => {
        this.#isFlushPlanned = false
        this.#flush()
      })
    }
  }

  /** Whether the reader of the stream is behind: then wait for `drained()`. */
  get isFull(): boolean {
    return this.#isFull
  }

  /** Waits until the stream takes more, or the signal aborts. */
  async drained(signal: AbortSignal): Promise<void> {
    if (this.#isFull) await once(this.#stream, 'drain', { signal })
    this.#isFull = false
  }

  /** Writes the rest and waits until everything has left. */
  async end(): Promise<void> {
    const rest = this.#batch
    this.#batch = ''
    if (this.#stream.destroyed || this.#stream.errored) return
    await new Promise<void>(resolve => {
      // An error (the reader has gone) is told by the stream's "error" event.
      this.#stream.write(rest, () => resolve())
    })
  }

  #flush(): void {
    if (this.#batch === '' || this.#stream.destroyed) return
    if (!this.#stream.write(this.#batch)) this.#isFull = true
    this.#batch = ''
  }
}
