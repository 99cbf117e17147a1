// The main file of a pool's worker, process or thread.
import { isMainThread } from 'node:worker_threads'
import { bootstrapChild } from '../process/child-bootstrap.ts'
import { beginHeartbeat, openJournal } from './worker-journal.ts'
import { Worker } from './worker.ts'

const child = await bootstrapChild()
// Ctrl-C and the end of a terminal go to all of its processes; what happens then is the parent's decision.
if (isMainThread) for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => {})
await beginHeartbeat(child)
const journal = openJournal(child)
// A thread that calls process.exit() runs on for some instructions before it stops. It must not mark the next item
// meanwhile, which would then be taken for the one that called it.
process.on('exit', () => journal?.freeze())
new Worker(child.connection, journal).start()
