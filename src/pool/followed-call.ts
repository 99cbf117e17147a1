/** A call that is about to be submitted, as those see it who look on: the channel of calls, and a trace. */
import type { CallMessage } from '../insights/channels.ts'
import type { Job } from './job.ts'
import { traceCall } from './pool-trace.ts'
import { publishCall } from './published-call.ts'

export function followCall(job: Job, of: Pick<CallMessage, 'pool' | 'method'>): void {
  publishCall(job, of)
  traceCall(job, of)
}
