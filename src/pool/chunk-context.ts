/** What travels with the calls of a chunk, beside their arguments: once for neighbours of one call, however many they are. */
import type { Chunk } from './chunk.ts'
import type { Job } from './job.ts'
import type { Body, ChunkHead } from './protocol.ts'

/** As in the head of a chunk, and the bodies that belong to it. */
export interface ChunkContext {
  contexts: NonNullable<ChunkHead['contexts']>
  stores: Body[]
}

export function contextOf({ parts }: Pick<Chunk, 'parts'>): ChunkContext {
  const { contexts, stores }: ChunkContext = { contexts: [], stores: [] }
  let before: Job | undefined
  for (const { job, first, count } of parts) {
    if (job.relay) {
      const passedOn = job.relay.contextOf(first, count)
      contexts.push(...passedOn.contexts)
      stores.push(...passedOn.stores)
      before = undefined
    } else if (job === before) contexts.at(-1)![0] += count
    else {
      before = job
      contexts.push([count, job.carrier ?? null, job.carried !== undefined])
      if (job.carried) stores.push(job.carried)
    }
  }
  return { contexts, stores }
}

/** That of `count` items from the one at `offset` on, of a chunk that has arrived. */
export function partOfContext(
  { contexts, stores }: ChunkContext,
  offset: number,
  count: number,
): ChunkContext {
  const part: ChunkContext = { contexts: [], stores: [] }
  let from = 0
  let store = 0
  for (const [length, carrier, hasStores] of contexts) {
    const until = from + length
    const common = Math.min(until, offset + count) - Math.max(from, offset)
    const body = hasStores ? stores[store++] : undefined
    if (common > 0) {
      part.contexts.push([common, carrier, hasStores])
      if (body) part.stores.push(body)
    }
    from = until
  }
  return part
}
