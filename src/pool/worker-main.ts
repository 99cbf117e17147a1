// The main file of a pool's worker, process or thread.
import { isMainThread } from 'node:worker_threads'
import { bootstrapChild } from '../process/child-bootstrap.ts'
import { beginHeartbeat, openJournal } from './worker-journal.ts'
import { Worker } from './worker.ts'

const child = await bootstrapChild()
// Ctrl-C and the end of a terminal go to all of its processes; what happens then is the parent's decision.
if (isMainThread) for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => {})
await beginHeartbeat(child)
new Worker(child.connection, openJournal(child)).start()
