/** A span of something that this process follows from its begin to its end. */
import type { Attributes, Context, Span, Tracer } from '@opentelemetry/api'
import type { Carrier } from '../insights/carrier.ts'
import { thrownText } from '../insights/thrown-text.ts'
import { injectContext } from './context-carrier.ts'
import { noteFailure } from './failure.ts'
import type { Api } from './load-api.ts'
import { SpanClock } from './span-clock.ts'

export class OpenSpan {
  readonly clock = new SpanClock()
  /** The context in which the span is the active one: that of what happens within it. */
  readonly context: Context
  readonly #api: Api
  readonly #span: Span

  /** It begins now, within the active span. Its context is put into `carrier`. */
  constructor(
    api: Api,
    tracer: Tracer,
    { name, attributes, carrier }: { name: string; attributes: Attributes; carrier: Carrier },
  ) {
    this.#api = api
    const around = api.context.active()
    const startTime = this.clock.now()
    this.#span = tracer.startSpan(name, { kind: api.SpanKind.INTERNAL, startTime, attributes }, around)
    this.context = api.trace.setSpan(around, this.#span)
    injectContext(api, this.context, carrier)
  }

  get isRecording(): boolean {
    return this.#span.isRecording()
  }

  failed(error: unknown): void {
    noteFailure(this.#api, this.#span, thrownText(error), this.clock.now())
  }

  end(attributes: Attributes): void {
    this.#span.setAttributes(attributes)
    this.#span.end(this.clock.now())
  }
}
