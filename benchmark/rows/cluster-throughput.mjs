// How many small items go to workers on other machines and back in a second. All processes are on this machine.
import { checkSquares, integersBelow } from './squares.mjs'
import { timeOf } from './time-of.mjs'

async function measureMap({ createPool: open, workers, size }, { items, chunkSize }) {
  const cluster = await open({ agents: 1, processes: workers })
  const all = integersBelow(items)
  // It also tells a pool what an item costs.
  await cluster.map('square', integersBelow(Math.min(items, size.warmUps)), { chunkSize })
  const samples = []
  for (let i = 0; i < size.repeats; i += 1) {
    const { ms, value } = await timeOf(() => cluster.map('square', all, { chunkSize }))
    checkSquares(value, items)
    samples.push((items / ms) * 1000)
  }
  return samples
}

const row = (chunkSize, more) => ({
  id: `cluster-chunk-${chunkSize}`,
  unit: 'items/s',
  better: 'higher',
  targets: [],
  measure: async job => ({ samples: await measureMap(job, { items: job.size.items, chunkSize }) }),
  ...more,
})

export const clusterChunk1 = row(1, {
  title: 'items of a cluster, one for each message',
  how: 'A map of `x => x * x` with chunks of one item; with BullMQ a job for each.',
  size: { items: 3_000, warmUps: 3_000, repeats: 3 },
  quickSize: { items: 100, warmUps: 100, repeats: 1 },
})

export const clusterChunk16 = row(16, {
  title: 'items of a cluster, 16 for each message',
  how: 'The same with chunks of 16 items; with BullMQ jobs that have 16 items each.',
  size: { items: 32_000, warmUps: 32_000, repeats: 3 },
  quickSize: { items: 320, warmUps: 320, repeats: 1 },
})

export const clusterSmallItems = {
  id: 'cluster-small-items',
  title: 'small items of a cluster, chunks left to the library',
  unit: 'items/s',
  better: 'higher',
  how: 'A map of `x => x * x`. multiproc chooses its chunks; BullMQ has none, so it gets a job for each item, and fewer items.',
  size: { items: 500_000, jobs: 3_000, warmUps: 20_000, repeats: 3 },
  quickSize: { items: 1_000, jobs: 100, warmUps: 100, repeats: 1 },
  targets: [{ subject: 'multiproc cluster', reference: { bestPeerOf: 'cluster' }, factor: 50 }],
  async measure(job) {
    const { size, library } = job
    const isChunked = library.role === 'subject'
    const items = isChunked ? size.items : size.jobs
    const samples = await measureMap(job, { items, chunkSize: undefined })
    return { samples, note: `${items.toLocaleString('en-US')} items` }
  },
}
