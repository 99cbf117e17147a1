// A worker of BullMQ. With "sandbox", jobs run in a child of it, which is what BullMQ has for jobs that may take it down.
import { fileURLToPath } from 'node:url'
import { Worker } from 'bullmq'
import runJob from './run-bullmq-job.cjs'

const { port, queue, concurrency, lockMs, stalledMs, isSandboxed } = JSON.parse(process.argv[2])
const processor = isSandboxed ? fileURLToPath(new URL('run-bullmq-job.cjs', import.meta.url)) : runJob
const worker = new Worker(queue, processor, {
  connection: { host: '127.0.0.1', port, maxRetriesPerRequest: null },
  concurrency,
  ...(lockMs === undefined ? {} : { lockDuration: lockMs }),
  ...(stalledMs === undefined ? {} : { stalledInterval: stalledMs }),
})
// Without a listener the loss of the server would end it.
worker.on('error', () => {})
await worker.waitUntilReady()
console.log('ready')
