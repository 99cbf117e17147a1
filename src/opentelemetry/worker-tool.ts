/**
 * In a worker: tasks run in the context of their call, so that the spans of their own are within it. Where this worker has
 * an SDK, it makes the spans of tasks itself, and the parent is told so.
 */
import type { Tracer } from '@opentelemetry/api'
import type { TaskTool } from '../insights/task-scopes.ts'
import { thrownText } from '../insights/thrown-text.ts'
import { extractContext } from './context-carrier.ts'
import { noteFailure } from './failure.ts'
import type { Api } from './load-api.ts'
import { SpanClock } from './span-clock.ts'
import { taskAttributes } from './task-attributes.ts'

export function workerTool(api: Api, tracer: Tracer, { tellsTasks }: { tellsTasks: boolean }): TaskTool {
  return tasks => {
    const around = extractContext(api, tasks.carrier)
    const parent = api.trace.getSpanContext(around)
    const clock = new SpanClock()
    const kind = api.SpanKind.INTERNAL
    const options = { kind, startTime: clock.now(), attributes: taskAttributes(tasks) }
    const span = tellsTasks && parent ? tracer.startSpan(tasks.name, options, around) : undefined
    if (!span?.isRecording())
      return { isTold: false, run: task => api.context.with(around, task), threw() {}, end() {} }
    const inside = api.trace.setSpan(around, span)
    let hasFailed = false
    return {
      isTold: true,
      run: task => api.context.with(inside, task),
      threw: reason => {
        // Of a chunk with many failures the first one is told.
        if (!hasFailed) noteFailure(api, span, thrownText(reason), clock.now())
        hasFailed = true
      },
      end: () => span.end(clock.now()),
    }
  }
}
