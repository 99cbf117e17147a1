/**
 * The context of a span as the texts that travel with a call. The propagator that the program has registered decides
 * what they are; where there is none, they are W3C's `traceparent`, so that parent and child are linked all the same.
 */
import type { Context, Span, SpanContext } from '@opentelemetry/api'
import type { Carrier } from '../insights/carrier.ts'
import type { Api } from './load-api.ts'

export function injectContext(api: Api, context: Context, carrier: Carrier): void {
  api.propagation.inject(context, carrier)
  const span = api.trace.getSpan(context)
  if (Object.keys(carrier).length === 0 && span) carrier['traceparent'] = traceparentOf(span)
}

/** That of the call, on top of the active one. */
export function extractContext(api: Api, carrier: Readonly<Carrier>): Context {
  const active = api.context.active()
  const context = api.propagation.extract(active, carrier)
  if (api.trace.getSpanContext(context) !== api.trace.getSpanContext(active)) return context
  const parent = spanContextOf(carrier['traceparent'])
  return parent ? api.trace.setSpanContext(context, parent) : context
}

/** As in https://www.w3.org/TR/trace-context/. */
function traceparentOf(span: Span): string {
  const { traceId, spanId, traceFlags } = span.spanContext()
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`
}

function spanContextOf(traceparent: string | undefined): SpanContext | undefined {
  const match = /^00-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})$/.exec(traceparent ?? '')
  if (!match || /^0+$/.test(match[1]!) || /^0+$/.test(match[2]!)) return undefined
  return { traceId: match[1]!, spanId: match[2]!, traceFlags: Number.parseInt(match[3]!, 16), isRemote: true }
}
