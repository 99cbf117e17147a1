/**
 * When the tasks of a chunk began and ended, and for what they waited, on its way from the worker to who looks on in its
 * parent. Invariant: what waits to be sent is bounded, however much the tasks wait and throw.
 */
import { type WaitRecord, setWaitRecorder } from '../insights/followed-wait.ts'
import { type ThrownText, thrownText } from '../insights/thrown-text.ts'
import { monotonicMs } from '../platform/journal.ts'
import type { Connection } from '../transport/connection.ts'
import { sendMessage } from './protocol.ts'

/** A span is so many numbers: index within the chunk, begin, end, and how many tasks of it failed. */
export const spanLength = 4

const errorsMax = 32
const waitsMax = 10_000

/**
 * What is told: for a trace each task, with its waits for locks and queues; each task; or the begin and the end of what ran
 * of the chunk since the last message, which costs the tasks nothing.
 */
export type SpanKind = 'traced' | 'each' | 'whole'

export class TaskSpans {
  readonly #chunkId: number
  readonly #kind: SpanKind
  readonly #teller: { readonly isTold: boolean } | undefined
  #startedAtMs = 0
  #spans: number[] = []
  #errors: [index: number, error: ThrownText][] = []
  #waits: WaitRecord[] = []
  #lostWaits = 0

  /** `teller`: whether a tool in the worker tells of the tasks. Closed by `close()`. */
  constructor(chunkId: number, kind: SpanKind, teller: { readonly isTold: boolean } | undefined) {
    this.#chunkId = chunkId
    this.#teller = teller
    this.#kind = kind
    if (kind === 'traced') setWaitRecorder(wait => this.#noteWait(wait))
  }

  /** Whether each task is timed alone. */
  get isEach(): boolean {
    return this.#kind !== 'whole'
  }

  /** A task begins. */
  begin(): void {
    if (this.isEach || this.#startedAtMs === 0) this.#startedAtMs = monotonicMs()
  }

  /** It has returned. One that never began, because its argument could not be decoded, is left out. */
  end(index: number): void {
    this.#note(index, 0)
  }

  /** It has thrown. */
  threw(index: number, thrown: unknown): void {
    if (this.#startedAtMs > 0 && this.#errors.length < errorsMax)
      this.#errors.push([index, thrownText(thrown)])
    this.#note(index, 1)
  }

  #note(index: number, failed: number): void {
    if (this.#startedAtMs === 0) return
    const endMs = monotonicMs()
    if (this.isEach || this.#spans.length === 0) {
      this.#spans.push(index, this.#startedAtMs, endMs, failed)
    } else {
      this.#spans[2] = endMs
      this.#spans[3]! += failed
    }
    if (this.isEach) this.#startedAtMs = 0
  }

  #noteWait(wait: WaitRecord): void {
    if (this.#waits.length < waitsMax) this.#waits.push(wait)
    else this.#lostWaits++
  }

  /** Goes before the results of the tasks, while the parent has their chunk. */
  send(connection: Connection): void {
    const [waits, lostWaits] = [this.#waits, this.#lostWaits]
    if (this.#spans.length === 0 && waits.length === 0) return
    const isTold = this.#teller?.isTold === true
    if (isTold && this.#kind !== 'traced') return
    sendMessage(connection, {
      type: 'spans',
      bodies: 0,
      chunkId: this.#chunkId,
      spans: Float64Array.from(this.#spans),
      ...(isTold ? { isTold } : {}),
      ...(this.#errors.length > 0 ? { errors: this.#errors } : {}),
      ...(waits.length > 0 ? { waits, lostWaits } : {}),
    })
    this.#spans = []
    this.#errors = []
    this.#waits = []
    this.#lostWaits = 0
  }

  /** The chunk has ended. */
  close(): void {
    if (this.#kind === 'traced') setWaitRecorder(undefined)
  }
}
