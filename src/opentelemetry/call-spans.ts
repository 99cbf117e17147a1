/**
 * A span for each call of a pool, from the call until its outcome. Invariant: every span ends, with the reason: calls do,
 * whatever dies, and what is open when the instrumentation is stopped ends with it.
 */
import type { Tracer } from '@opentelemetry/api'
import { type CallMessage, callChannel } from '../insights/channels.ts'
import type { Api } from './load-api.ts'
import { OpenSpan } from './open-span.ts'

export class CallSpans {
  readonly #open = new Map<CallMessage, OpenSpan>()
  readonly #start: (message: unknown) => void
  readonly #error = (message: unknown): void => {
    const call = message as CallMessage
    this.#open.get(call)?.failed(call.error)
  }
  readonly #end = (message: unknown): void => this.#close(message as CallMessage)

  /** Ended by `stop()`. */
  constructor(api: Api, tracer: Tracer) {
    this.#start = message => {
      const call = message as CallMessage
      const { pool, method, name, items, carrier } = call
      const attributes = {
        'code.function.name': name,
        'multiproc.pool.name': pool,
        'multiproc.method': method,
        ...(items === undefined ? {} : { 'multiproc.items': items }),
      }
      this.#open.set(call, new OpenSpan(api, tracer, { name: `${method} ${name}`, attributes, carrier }))
    }
    const { start, error, asyncEnd } = callChannel()
    start.subscribe(this.#start)
    error.subscribe(this.#error)
    asyncEnd.subscribe(this.#end)
  }

  /** That of a call that is still open, or has just ended. */
  of(call: CallMessage | undefined): OpenSpan | undefined {
    return call && (this.#open.get(call) ?? this.#ended.get(call))
  }

  /** The last tasks of a call may be told of behind its end. */
  readonly #ended = new WeakMap<CallMessage, OpenSpan>()

  #close(call: CallMessage): void {
    const span = this.#open.get(call)
    if (!span) return
    this.#open.delete(call)
    this.#ended.set(call, span)
    const { done = 0, failed = 0 } = call
    span.end({
      'multiproc.items.done': done,
      'multiproc.items.failed': failed,
      'multiproc.outcome': outcomeOf(call),
    })
  }

  stop(): void {
    const { start, error, asyncEnd } = callChannel()
    start.unsubscribe(this.#start)
    error.unsubscribe(this.#error)
    asyncEnd.unsubscribe(this.#end)
    for (const span of this.#open.values()) span.end({ 'multiproc.outcome': 'not followed to its end' })
    this.#open.clear()
  }
}

/** `stopped`: nobody wanted the rest, as after a `break` out of a loop over `imap`. */
function outcomeOf({ error, items, done = 0 }: CallMessage): string {
  if (error !== undefined) {
    const { name, code } = (Object(error) ?? {}) as { name?: unknown; code?: unknown }
    if (code === 'ERR_TIMEOUT') return 'timed out'
    return name === 'AbortError' || code === 'ERR_CANCELLED' ? 'cancelled' : 'failed'
  }
  return items !== undefined && done < items ? 'stopped' : 'finished'
}
