/** What users import from `multiproc/opentelemetry`. */
export { type Instrumentation, type InstrumentOptions, type SpanDetail, instrument } from './instrument.ts'
