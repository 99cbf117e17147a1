/**
 * Whether a chunk that was sent is where no agent will ever get it. Invariant: of one that is lost nothing is left in the
 * queue, so that it can be sent again.
 */
import type { Nats } from './nats-client.ts'
import { type PoolNames, chunkNameIn } from './names.ts'
import { isNotFound } from './pool-streams.ts'

/**
 * It is not in the queue any more, or it is, and the server takes it for acknowledged. Whoever finds it lost reads the
 * results again before it is sent again: it may have been answered meanwhile.
 */
export async function isLost({ manager }: Nats, names: PoolNames, subject: string): Promise<boolean> {
  const { tasks } = names
  const message = await unlessMissing(manager.streams.getMessage(tasks, { last_by_subj: subject }))
  if (!message) return true
  // Without a consumer it waits for one.
  const lane = await unlessMissing(manager.consumers.info(tasks, names.laneIn(subject)))
  // Up to there the server gives nothing out any more, and what is acknowledged leaves the queue.
  const isForgotten = lane !== undefined && lane.ack_floor.stream_seq >= message.seq
  if (!isForgotten) return false
  await manager.streams.purge(tasks, { filter: names.taskOnAnyLane(chunkNameIn(subject)!) })
  return true
}

async function unlessMissing<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}
