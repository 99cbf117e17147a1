/**
 * Spans of tasks, made in the process that calls from what workers tell of their times: one for each single call, one for
 * what a worker ran of a map in one chunk. So workers need no SDK. Invariant: a task whose worker died has its span, too.
 */
import type { Attributes, Tracer } from '@opentelemetry/api'
import { type ChunkMessage, type ChunkPart, chunkChannel } from '../insights/channels.ts'
import { thrownText } from '../insights/thrown-text.ts'
import { monotonicMs } from '../platform/journal.ts'
import type { CallSpans } from './call-spans.ts'
import { noteFailure } from './failure.ts'
import type { Api } from './load-api.ts'
import { taskAttributes } from './task-attributes.ts'

export class TaskSpans {
  readonly #api: Api
  readonly #tracer: Tracer
  readonly #calls: CallSpans
  readonly #sentAtMs = new WeakMap<ChunkMessage, number>()
  readonly #start = (message: unknown): void => this.#sent(message as ChunkMessage)
  readonly #end = (message: unknown): void => this.#ended(message as ChunkMessage)

  /** Ended by `stop()`. */
  constructor(api: Api, tracer: Tracer, calls: CallSpans) {
    this.#api = api
    this.#tracer = tracer
    this.#calls = calls
    const { start, asyncEnd } = chunkChannel()
    start.subscribe(this.#start)
    asyncEnd.subscribe(this.#end)
  }

  #sent(chunk: ChunkMessage): void {
    if (!chunk.parts.some(({ call }) => this.#calls.of(call)?.isRecording)) return
    chunk.wantsTimes = true
    this.#sentAtMs.set(chunk, monotonicMs())
  }

  #ended(chunk: ChunkMessage): void {
    const sentAtMs = this.#sentAtMs.get(chunk)
    if (sentAtMs === undefined) return
    const { parts, items, lost = 0, lostAt = items - lost, error } = chunk
    let before = 0
    for (const part of parts) {
      const { count, time } = part
      // Where it is not known what ran, it can only have been the first of those that are lost.
      const isLost = error !== undefined && lostAt >= before && lostAt < before + count
      before += count
      if (time) {
        const { startMs, endMs, failed } = time
        const failure = time.error ?? (failed > 0 ? thrownText(`${failed} failed`) : undefined)
        this.#record(chunk, part, { startMs, endMs, failure: isLost ? thrownText(error) : failure })
      } else if (isLost) {
        this.#record(chunk, part, { startMs: sentAtMs, endMs: monotonicMs(), failure: thrownText(error) })
      }
    }
  }

  #record(
    { name, workerName, pid, threadId }: ChunkMessage,
    { call, index, count, attempt, time }: ChunkPart,
    {
      startMs,
      endMs,
      failure,
    }: { startMs: number; endMs: number; failure: ReturnType<typeof thrownText> | undefined },
  ): void {
    const around = this.#calls.of(call)
    if (!around) return
    const attributes: Attributes = {
      ...taskAttributes({ name, workerName, index, count, attempt }),
      ...(pid === undefined ? {} : { 'multiproc.worker.pid': pid }),
      ...(threadId === undefined ? {} : { 'multiproc.worker.thread_id': threadId }),
      ...(index === undefined ? {} : { 'multiproc.items.failed': time?.failed ?? 0 }),
    }
    const kind = this.#api.SpanKind.INTERNAL
    const startTime = around.clock.at(startMs)
    const span = this.#tracer.startSpan(name, { kind, startTime, attributes }, around.context)
    const endTime = around.clock.at(endMs)
    if (failure) noteFailure(this.#api, span, failure, endTime)
    span.end(endTime)
  }

  stop(): void {
    const { start, asyncEnd } = chunkChannel()
    start.unsubscribe(this.#start)
    asyncEnd.unsubscribe(this.#end)
  }
}
