/** What is said of a wait for an item of a queue, or for room in it. */
import { numberOf } from '../broker/shareable.ts'
import { type QueueWaitMessage, queueChannel } from '../insights/channels.ts'
import type { FollowedWait } from '../insights/followed-wait.ts'

export function queueWait(
  object: object,
  { type, operation, isBlocking }: Pick<QueueWaitMessage, 'type' | 'operation' | 'isBlocking'>,
): FollowedWait<QueueWaitMessage> {
  return {
    channel: queueChannel(),
    message: { type, operation, object, isBlocking },
    name: operation === 'get' ? `get from ${type}` : `put into ${type}`,
    category: 'queue',
    object: numberOf(object),
  }
}
