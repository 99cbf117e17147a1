/** What is answered for a chunk that was given to agent after agent and that none of them has answered. */
import { WorkerDiedError } from '../errors.ts'
import type { ChunkHead } from '../pool/protocol.ts'
import { encodeThrown } from '../serialize/codec.ts'
import type { Answer } from './relay-job.ts'

/** Several items are sent again one by one, so that only who is to blame fails. */
export function lastWords({ chunkId, count, elsewhere }: ChunkHead, deliveries: number): Answer[] {
  if (count > 1) {
    const message = { type: 'again', bodies: 0, chunkId, count, isSolo: true, deaths: 0 } as const
    return [{ message, bodies: [] }]
  }
  const taskName = elsewhere?.taskName ?? 'anonymous'
  const error = new WorkerDiedError(
    `"${taskName}" was given to ${deliveries - 1} agents, and none of them answered: each ended, or was cut off, while it had it\nTo fix: see in the logs of the agents and their machines what ended them (memory, most likely), and whether the task needs more than they have`,
    { pid: undefined, workerName: 'another machine', exitCode: null, signal: null, taskName },
  )
  return [{ message: { type: 'died', bodies: 1, chunkId }, bodies: [{ bytes: encodeThrown(error) }] }]
}
