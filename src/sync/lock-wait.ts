/** What is said of a wait for a lock or a semaphore. */
import { numberOf } from '../broker/shareable.ts'
import { type LockWaitMessage, lockChannel } from '../insights/channels.ts'
import type { FollowedWait } from '../insights/followed-wait.ts'

export function lockWait(
  object: object,
  { isBlocking }: { isBlocking: boolean },
): FollowedWait<LockWaitMessage> {
  const type = object.constructor.name
  return {
    channel: lockChannel(),
    message: { type, object, isBlocking },
    name: `wait for ${type}`,
    category: 'lock',
    object: numberOf(object),
  }
}
