// The main file of a pool's worker, process or thread.
import { bootstrapChild } from '../process/child-bootstrap.ts'
import { beginHeartbeat, openJournal } from './worker-journal.ts'
import { Worker } from './worker.ts'

const child = await bootstrapChild()
await beginHeartbeat(child)
new Worker(child.connection, openJournal(child)).start()
