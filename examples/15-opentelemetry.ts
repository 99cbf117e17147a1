/** Spans of calls and of what workers ran of them, within the span of a request, printed as a tree. */
import { context, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { Pool } from 'multiproc'
import { instrument } from 'multiproc/opentelemetry'

const exporter = new InMemorySpanExporter()
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
trace.setGlobalTracerProvider(
  new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
)
instrument()

function root(x: number): number {
  if (x < 0) throw new RangeError('it has no root')
  return Math.sqrt(x)
}

const pool = new Pool(2)
await trace.getTracer('example').startActiveSpan('request', async span => {
  await pool.map(root, [1, 4, 9, 16], { chunkSize: 2 })
  await pool.apply(root, [-1]).catch(() => {})
  span.end()
})
await pool.terminate()

const spans = exporter.getFinishedSpans()
function print(parentId: string | undefined, indent: string): void {
  for (const span of spans.filter(({ parentSpanContext }) => parentSpanContext?.spanId === parentId)) {
    const { 'multiproc.items': items, 'error.type': error } = span.attributes
    console.log(indent + span.name, ...(items ? [`items: ${String(items)}`] : []), ...(error ? [error] : []))
    print(span.spanContext().spanId, `${indent}  `)
  }
}
print(undefined, '')
