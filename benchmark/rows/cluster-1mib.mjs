// A MiB to another machine and back. BullMQ's data is JSON, so its bytes travel as base64, which is what its users do.
import { median } from '../statistics.mjs'
import { randomUint8Array } from './random-bytes.mjs'
import { timeOf } from './time-of.mjs'
import { WrongResultError } from './wrong-result-error.mjs'

const bytesOfArray = 2 ** 20

/** Calls with `lanes` of them in flight; how long each took, and all of them together. */
async function callsOf({ createPool: open, workers, size }, lanes) {
  const cluster = await open({ agents: 1, processes: workers })
  const bytes = randomUint8Array(bytesOfArray)
  const call = async () => {
    const { ms, value } = await timeOf(() => cluster.run('identity', bytes))
    if (value.length !== bytesOfArray || Buffer.compare(value, bytes) !== 0) {
      throw new WrongResultError('corrupt', 'Other bytes came back than were sent')
    }
    return ms
  }
  for (let i = 0; i < size.warmUps; i += 1) await call()
  const times = []
  let left = size.calls
  const lane = async () => {
    while (left > 0) {
      left -= 1
      times.push(await call())
    }
  }
  const { ms } = await timeOf(() => Promise.all(Array.from({ length: lanes }, lane)))
  return { times, ms }
}

const row = (id, more) => ({
  id,
  size: { calls: 40, warmUps: 8 },
  quickSize: { calls: 4, warmUps: 1 },
  targets: [],
  ...more,
})

export const cluster1MiB = row('cluster-1mib', {
  title: '1 MiB to a cluster and back',
  unit: 'ms',
  better: 'lower',
  how: 'A `Uint8Array` of random bytes as argument and as result, one call after the other; the median is one sample.',
  measure: async job => ({ samples: [median((await callsOf(job, 1)).times)] }),
})

export const cluster1MiBParallel = row('cluster-1mib-parallel', {
  title: '1 MiB to a cluster and back, 4 calls in flight',
  unit: 'MiB/s',
  better: 'higher',
  how: 'The same with four calls at a time; what goes there and what comes back both count.',
  measure: async job => ({ samples: [(2 * job.size.calls * 1000) / (await callsOf(job, 4)).ms] }),
})
