/**
 * What a worker is sent to run a chunk: the head, the bodies of its items, and behind them those of what travels with its
 * calls. Invariant: a field that is as usual is absent, so that the head of most chunks fits into a few words.
 */
import { contextOf } from './chunk-context.ts'
import type { Chunk } from './chunk.ts'
import type { Body, ChunkHead, ElsewhereFacts } from './protocol.ts'

export function chunkMessage(
  chunk: Chunk,
  { isElsewhere }: { isElsewhere: boolean },
): { head: ChunkHead; bodies: readonly Body[] } {
  const { id, task, count, isPacked } = chunk
  // The clock of another machine says nothing here.
  const times = isElsewhere ? undefined : chunk.endTrace ? 'traced' : chunk.followed?.times
  const part = chunk.parts[0]!
  const context = chunk.hasContext ? contextOf(chunk) : undefined
  const bodies = context ? [...chunk.bodies, ...context.stores] : chunk.bodies
  const head: ChunkHead = {
    type: 'chunk',
    bodies: bodies.length,
    chunkId: id,
    functionId: task.id,
    mode: part.job.mode,
    count,
    isPacked,
    ...placesOf(chunk),
    ...(part.attempt > 1 ? { attempt: part.attempt } : {}),
    ...(chunk.wantsReports ? { wantsReports: true } : {}),
    ...(context ? { contexts: context.contexts, name: task.name } : {}),
    ...(times ? { times } : {}),
    ...(chunk.isExact ? { isExact: true } : {}),
    ...(isElsewhere ? { elsewhere: factsOf(chunk) } : {}),
    ...(part.job.relay ? { isRelayed: true } : {}),
    ...(part.job.relay?.bundles ? { bundles: part.job.relay.bundles } : {}),
    ...(part.job.relay?.resources ? { resources: part.job.relay.resources } : {}),
  }
  return { head, bodies }
}

/** Which items of their map are in the chunk: one after the other, unless some between them could not be sent. */
function placesOf({ parts }: Chunk): { first?: number; indexes?: number[] } {
  const { job, first } = parts[0]!
  if (job.isSingle) return {}
  let next = first
  for (const part of parts) {
    if (part.first !== next) return { indexes: parts.map(each => each.first) }
    next += part.count
  }
  return { first }
}

function factsOf({ parts, task }: Chunk): ElsewhereFacts {
  const { job, deaths, isSolo } = parts[0]!
  const { timeoutMs, graceMs, priority, requires } = job.limits
  return {
    taskName: task.name,
    timeoutMs,
    graceMs,
    priority,
    deaths,
    isSolo,
    ...(requires ? { requires: requires.key } : {}),
  }
}
