/** OpenTelemetry's spans for calls, tasks and processes. Invariant: one instrumentation at a time makes them. */
import type { TracerProvider } from '@opentelemetry/api'
import { invalidArgument, invalidState } from '../errors.ts'
import { setTaskTool } from '../insights/task-scopes.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { CallSpans } from './call-spans.ts'
import { loadApi } from './load-api.ts'
import { ProcessSpans } from './process-spans.ts'
import { TaskSpans } from './task-spans.ts'
import { workerTool } from './worker-tool.ts'

/** What has a span: see {@link InstrumentOptions.spans}. */
export type SpanDetail = 'calls' | 'calls and tasks'

/** Options of {@link instrument}. */
export interface InstrumentOptions {
  /** Default: the one that is registered globally, whenever that is. */
  tracerProvider?: TracerProvider | undefined
  /**
   * `calls`: each call of a pool or executor, and each `Process`. `calls and tasks`: also each single task and, of maps,
   * what one worker ran of it without a pause. Default: `calls and tasks`.
   */
  spans?: SpanDetail | undefined
}

/** What {@link instrument} returns. */
export interface Instrumentation extends Disposable {
  /** No more spans are made; those that are open end now. A second time does nothing. */
  stop(): void
}

const details: readonly SpanDetail[] = ['calls', 'calls and tasks']

let isInstrumented = false

/**
 * Makes spans of OpenTelemetry for calls of pools and executors and for `Process`, each within the span that is active
 * where the call is made, and for their tasks.
 *
 * Spans of tasks are made in this process from what the workers tell, so that workers need no SDK. The spans that tasks
 * make themselves are within that of their task, when the module that sets the SDK up and calls `instrument()` is loaded
 * in the workers as well, by the option `preload`; then it is they who make the spans of tasks.
 *
 * It needs the package `@opentelemetry/api`.
 *
 * @throws ProcessError with code `ERR_NOT_SUPPORTED` when that package is not installed, `ERR_INVALID_STATE` when there
 * is an instrumentation already.
 *
 * @example
 * ```ts
 * import { Pool } from 'multiproc'
 * import { instrument } from 'multiproc/opentelemetry'
 *
 * const instrumentation = instrument({ spans: 'calls' })
 * const pool = new Pool(2)
 * await pool.map(Math.sqrt, [1, 4, 9])
 * await pool.terminate()
 * instrumentation.stop()
 * ```
 */
export function instrument(options: InstrumentOptions = {}): Instrumentation {
  assertKnownOptions('instrument', options, ['tracerProvider', 'spans'])
  const { tracerProvider, spans = 'calls and tasks' } = options
  if (!details.includes(spans)) {
    throw invalidArgument(
      TypeError,
      `The option "spans" must be ${details.map(each => `"${each}"`).join(' or ')}, but it is ${JSON.stringify(spans)}\nTo fix: pass one of these, or leave it out`,
    )
  }
  if (isInstrumented) {
    throw invalidState(
      'Cannot make spans twice: instrument() was called before\nTo fix: call it in one place, or stop() the first instrumentation',
    )
  }
  const api = loadApi()
  const tracer = (tracerProvider ?? api.trace.getTracerProvider()).getTracer('multiproc')
  isInstrumented = true
  const tellsTasks = spans === 'calls and tasks'
  const calls = new CallSpans(api, tracer)
  const processes = new ProcessSpans(api, tracer)
  const tasks = tellsTasks ? new TaskSpans(api, tracer, calls) : undefined
  setTaskTool(workerTool(api, tracer, { tellsTasks }))
  let isStopped = false
  const stop = (): void => {
    if (isStopped) return
    isStopped = true
    isInstrumented = false
    setTaskTool(undefined)
    tasks?.stop()
    processes.stop()
    calls.stop()
  }
  return { stop, [Symbol.dispose]: stop }
}
