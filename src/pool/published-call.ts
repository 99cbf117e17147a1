/** Tells those who follow calls of their begin and end, in the process that calls. */
import { AsyncResource } from 'node:async_hooks'
import { sendableCarrier } from '../insights/carrier.ts'
import { type CallMessage, callChannel, isFollowed } from '../insights/channels.ts'
import type { Job } from './job.ts'

/** A call begins, in the async context of its caller; its end is that of the job, and is told in the same context. */
export function publishCall(job: Job, { pool, method }: Pick<CallMessage, 'pool' | 'method'>): void {
  const channel = callChannel()
  if (!isFollowed(channel)) return
  const message: CallMessage = {
    pool,
    method,
    name: job.task.name,
    items: job.counts.total,
    carrier: {},
  }
  channel.start.publish(message)
  job.carrier = sendableCarrier(message.carrier)
  job.call = message
  channel.end.publish(message)
  const { onDone } = job
  const context = new AsyncResource('multiproc.call')
  job.onDone = () => {
    onDone?.()
    context.runInAsyncScope(() => {
      const { done, failed } = job.counts
      Object.assign(message, { done, failed })
      if (job.failure) {
        message.error = job.failure.reason
        channel.error.publish(message)
      }
      channel.asyncStart.publish(message)
      channel.asyncEnd.publish(message)
    })
  }
}
