// The main file of a pool's worker, process or thread.
import { JournalWriter } from '../platform/journal.ts'
import { bootstrapChild } from '../process/child-bootstrap.ts'
import { Worker } from './worker.ts'

const { connection, boot, sharedBuffers } = await bootstrapChild()
const [memory] = sharedBuffers
const { hasJournalFile } = boot.roleData as { hasJournalFile: boolean }
const journalFd = 4
const journal = memory
  ? JournalWriter.overMemory(memory)
  : hasJournalFile
    ? JournalWriter.overFile(journalFd)
    : undefined
new Worker(connection, journal).start()
