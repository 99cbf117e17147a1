/** What travels with the calls of a chunk, beside their arguments: once for neighbours of one call, however many they are. */
import type { Carrier } from '../insights/carrier.ts'
import type { Chunk } from './chunk.ts'
import type { Job } from './job.ts'
import type { Body } from './protocol.ts'

export function contextOf({ parts }: Pick<Chunk, 'parts'>): {
  contexts: [count: number, carrier: Carrier | null, hasStores: boolean][]
  stores: Body[]
} {
  const contexts: [number, Carrier | null, boolean][] = []
  const stores: Body[] = []
  let before: Job | undefined
  for (const { job, count } of parts) {
    if (job === before) {
      contexts.at(-1)![0] += count
      continue
    }
    before = job
    contexts.push([count, job.carrier ?? null, job.carried !== undefined])
    if (job.carried) stores.push(job.carried)
  }
  return { contexts, stores }
}
