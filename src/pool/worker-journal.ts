/** How a worker is told where its journal is, and finds it: both sides of that agreement. */
import { attachSegment, type SegmentHandle } from '../platform/heap-segments.ts'
import { type Journal, JournalWriter } from '../platform/journal.ts'
import type { BootstrappedChild } from '../process/child-bootstrap.ts'

/** What the boot frame of a worker says of its journal. */
export interface JournalPlace {
  segment?: SegmentHandle | undefined
  hasFile: boolean
}

/** The descriptor of a journal in a file: the first that `extraFds` gives a child. */
const journalFd = 4

/** The parent's side; the memory of a thread is handed over beside it. */
export function journalPlace(journal: Journal | undefined): JournalPlace {
  return { segment: journal?.segment?.handle, hasFile: journal?.fd !== undefined }
}

/** The worker's side. */
export function openJournal({ boot, sharedBuffers }: BootstrappedChild): JournalWriter | undefined {
  const { segment, hasFile } = boot.roleData as JournalPlace
  const [memory] = sharedBuffers
  if (memory !== undefined) return JournalWriter.overMemory(memory)
  if (segment !== undefined) return JournalWriter.overMemory(attachSegment(segment).buffer)
  return hasFile ? JournalWriter.overFile(journalFd) : undefined
}
