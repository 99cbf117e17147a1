/** A span for each child of `Process`, from its start until its end. Invariant: as that of calls, every span ends. */
import type { Tracer } from '@opentelemetry/api'
import { type ProcessMessage, processChannel } from '../insights/channels.ts'
import type { Api } from './load-api.ts'
import { OpenSpan } from './open-span.ts'

export class ProcessSpans {
  readonly #open = new Map<ProcessMessage, OpenSpan>()
  readonly #start: (message: unknown) => void
  readonly #error = (message: unknown): void => {
    const child = message as ProcessMessage
    const span = this.#open.get(child)
    span?.failed(child.error)
    // One that could not be started has no end.
    if (child.exitCode === undefined) this.#close(child)
  }
  readonly #end = (message: unknown): void => this.#close(message as ProcessMessage)

  /** Ended by `stop()`. */
  constructor(api: Api, tracer: Tracer) {
    this.#start = message => {
      const child = message as ProcessMessage
      const { kind, name, target, startMethod, carrier } = child
      if (kind !== 'process') return
      const attributes = {
        'multiproc.process.name': name,
        'multiproc.start_method': startMethod,
        ...(target === undefined ? {} : { 'code.function.name': target }),
      }
      this.#open.set(
        child,
        new OpenSpan(api, tracer, { name: `process ${target ?? name}`, attributes, carrier }),
      )
    }
    const { start, error, asyncEnd } = processChannel()
    start.subscribe(this.#start)
    error.subscribe(this.#error)
    asyncEnd.subscribe(this.#end)
  }

  #close(child: ProcessMessage): void {
    const span = this.#open.get(child)
    if (!span) return
    this.#open.delete(child)
    const { pid, exitCode, signal } = child
    if (exitCode !== 0 && exitCode !== undefined && child.error === undefined)
      span.failed(
        new Error(signal ? `The process was ended by ${signal}` : `The process ended with ${exitCode}`),
      )
    span.end({
      ...(pid === undefined ? {} : { 'process.pid': pid }),
      ...(typeof exitCode === 'number' ? { 'process.exit.code': exitCode } : {}),
    })
  }

  stop(): void {
    const { start, error, asyncEnd } = processChannel()
    start.unsubscribe(this.#start)
    error.unsubscribe(this.#error)
    asyncEnd.unsubscribe(this.#end)
    for (const span of this.#open.values()) span.end({})
    this.#open.clear()
  }
}
