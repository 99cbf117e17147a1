// BullMQ on Redis. Results come by QueueEvents, one listener for all jobs: `job.waitUntilFinished()` is the same with a
// question to the server for each job. A chunk is a job with several items, which is what its users write by hand.
import { setTimeout as pause } from 'node:timers/promises'
import { findRedis, startRedis, versionOf } from '../cluster/servers.mjs'
import { startWorker } from '../cluster/worker-programs.mjs'
import { clusterRowIds } from '../rows/cluster-row-ids.mjs'

const queueName = 'benchmark'
/** Its documentation adds jobs in bulk; so many at a time. */
const bulkJobs = 1000
const probeMs = 200

/** Bytes as JSON can have them. */
const toJson = value =>
  value instanceof Uint8Array
    ? { base64: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') }
    : value
const fromJson = value =>
  value?.base64 === undefined ? value : new Uint8Array(Buffer.from(value.base64, 'base64'))

/** Jobs and their results, for one program. */
class Submitter {
  #queue
  #last = 0
  #waiting = new Map()

  constructor(queue, events) {
    this.#queue = queue
    events.on('completed', ({ jobId, returnvalue }) => {
      const value = typeof returnvalue === 'string' ? JSON.parse(returnvalue) : returnvalue
      this.#take(jobId)?.resolve(value)
    })
    events.on('failed', ({ jobId, failedReason }) => this.#take(jobId)?.reject(new Error(failedReason)))
  }

  #take(jobId) {
    const waiting = this.#waiting.get(jobId)
    this.#waiting.delete(jobId)
    return waiting
  }

  /** "Ready" events are read from a moment later on, and what ends before is never heard of. */
  async untilHeard() {
    let isHeard = false
    while (!isHeard) {
      const [probe] = await this.submit('square', [{ argument: 1 }])
      isHeard = await Promise.race([probe.then(() => true), pause(probeMs, false)])
    }
  }

  /** The results of one job for each of `data`. */
  async submit(name, data, { attempts = 1 } = {}) {
    const jobs = data.map(each => {
      const jobId = `job-${(this.#last += 1)}`
      const result = new Promise((resolve, reject) => this.#waiting.set(jobId, { resolve, reject }))
      return { result, job: { name, data: each, opts: { jobId, attempts, removeOnComplete: true } } }
    })
    for (let at = 0; at < jobs.length; at += bulkJobs) {
      await this.#queue.addBulk(jobs.slice(at, at + bulkJobs).map(({ job }) => job))
    }
    return jobs.map(({ result }) => result)
  }
}

const load = concurrency => async () => {
  findRedis()
  const { Queue, QueueEvents } = await import('bullmq')
  return async ({ agents, processes, leaseMs, isSandboxed }) => {
    const server = await startRedis()
    const { port } = server
    const settings = {
      port,
      queue: queueName,
      concurrency,
      isSandboxed,
      ...(leaseMs === undefined ? {} : { lockMs: leaseMs, stalledMs: leaseMs / 2 }),
    }
    const addAgent = () => startWorker('bullmq-worker-main.mjs', settings)
    const workers = []
    // It has no agent with children: each of its processes is a worker of its own.
    for (let n = 0; n < agents * processes; n += 1) workers.push(await addAgent())
    const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null }
    const queue = new Queue(queueName, { connection })
    const events = new QueueEvents(queueName, { connection })
    for (const each of [queue, events]) each.on('error', () => {})
    await events.waitUntilReady()
    const submitter = new Submitter(queue, events)
    await submitter.untilHeard()
    return {
      server,
      workers,
      addAgent,
      run: async (task, argument, { retries = 0 } = {}) => {
        const [result] = await submitter.submit(task, [{ argument: toJson(argument) }], {
          attempts: retries + 1,
        })
        return fromJson(await result)
      },
      map: async (task, items, { chunkSize = 1 } = {}) => {
        const chunks = []
        for (let at = 0; at < items.length; at += chunkSize) {
          chunks.push({ items: items.slice(at, at + chunkSize) })
        }
        const single = chunkSize === 1 ? items.map(argument => ({ argument })) : chunks
        const results = await Promise.all(await submitter.submit(task, single))
        return results.flat()
      },
      each: async (task, items, { onResult }) => {
        const results = await submitter.submit(
          task,
          items.map(argument => ({ argument })),
        )
        return await Promise.all(results.map(result => result.then(value => (onResult(), value))))
      },
    }
  }
}

const variant = (concurrency, rows) => ({
  name: `BullMQ, concurrency ${concurrency}`,
  package: 'bullmq',
  role: 'peer',
  home: 'cluster',
  onlyRows: rows,
  server: () => ['redis-server', versionOf(findRedis())],
  load: load(concurrency),
})

export const bullmq = [variant(1, clusterRowIds), variant(32, clusterRowIds)]
