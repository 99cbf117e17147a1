/** Tells those who follow calls of their begin and end, in the process that calls. */
import { type CallMessage, callChannel, isFollowed, sendableCarrier } from '../insights/task-channels.ts'
import type { Job } from './job.ts'

/** A call begins, in the async context of its caller; its end is that of the job. */
export function publishCall(job: Job, pool: string): void {
  const channel = callChannel()
  if (!isFollowed(channel)) return
  const message: CallMessage = { pool, name: job.task.name, carrier: {} }
  channel.start.publish(message)
  job.carrier = sendableCarrier(message.carrier)
  channel.end.publish(message)
  const { onDone } = job
  job.onDone = () => {
    onDone?.()
    const { done, failed } = job.counts
    Object.assign(message, { done, failed })
    channel.asyncStart.publish(message)
    channel.asyncEnd.publish(message)
  }
}
