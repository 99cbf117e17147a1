/** A failure as the attributes, the event and the status of a span. */
import type { Span } from '@opentelemetry/api'
import type { ThrownText } from '../insights/thrown-text.ts'
import type { Api } from './load-api.ts'

export function noteFailure(api: Api, span: Span, { name, message, stack }: ThrownText, atMs: number): void {
  span.setAttribute('error.type', name)
  span.recordException({ name, message, stack }, atMs)
  span.setStatus({ code: api.SpanStatusCode.ERROR, message })
}
