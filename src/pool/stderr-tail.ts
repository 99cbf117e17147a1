/**
 * The last lines that a worker wrote to stderr, which pass through here on their way to this process's own. Invariant:
 * it keeps at most `keptBytesMax` bytes of a worker, whatever that writes.
 */
import type { Readable } from 'node:stream'
import { writeOrIgnore } from '../platform/standard-streams.ts'

const keptBytesMax = 8 << 10

export class StderrTail {
  #chunks: Buffer[] = []
  #bytes = 0

  /** Takes over the stream of a worker that was started with `stderr: 'pipe'`. It ends with the worker. */
  follow(stream: Readable | null): void {
    stream?.on('data', (chunk: Buffer) => {
      writeOrIgnore(process.stderr, chunk)
      this.add(chunk)
    })
    // A pipe that breaks ends with the worker, whose death is reported otherwise.
    stream?.on('error', () => {})
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.byteLength
    if (this.#bytes <= 2 * keptBytesMax) return
    // A copy, so that the large chunk of which this is the end can be collected.
    const kept = Buffer.from(Buffer.concat(this.#chunks).subarray(-keptBytesMax))
    this.#chunks = [kept]
    this.#bytes = kept.byteLength
  }

  /** Whole lines only, unless one is longer than what is kept. */
  get text(): string {
    const all = Buffer.concat(this.#chunks)
    const text = all.subarray(-keptBytesMax).toString()
    if (all.byteLength <= keptBytesMax) return text
    const lineEnd = text.indexOf('\n')
    return lineEnd < 0 || lineEnd === text.length - 1 ? text : text.slice(lineEnd + 1)
  }
}
