/** How a worker is told where its journal and its heart-beat are, and finds them: both sides of that agreement. */
import { attachSegment, type SegmentHandle } from '../platform/heap-segments.ts'
import { type Journal, JournalWriter } from '../platform/journal.ts'
import type { BootstrappedChild } from '../process/child-bootstrap.ts'
import { type Heartbeat, startHeartbeat } from './heartbeat.ts'

/** What the boot frame of a worker says of them. */
export interface JournalPlace {
  segment?: SegmentHandle | undefined
  hasFile: boolean
  /** Milliseconds between two signs of life, if there are to be any. */
  beatMs?: number | undefined
}

/** The descriptor of a journal in a file: the first that `extraFds` gives a child. */
const journalFd = 4

/** The parent's side; the memory of a thread is handed over beside it. */
export function journalPlace(
  journal: Journal | undefined,
  heartbeat: Heartbeat | undefined,
): { roleData: JournalPlace; extraFds: number[] } {
  const fds = [journal?.fd, heartbeat?.fd].filter(fd => fd !== undefined)
  const { segment, fd } = journal ?? {}
  return {
    roleData: { segment: segment?.handle, hasFile: fd !== undefined, beatMs: heartbeat?.intervalMs },
    extraFds: fds,
  }
}

/** The worker's side: begins to show that it is alive, if it is to. */
export async function beginHeartbeat({ boot }: BootstrappedChild): Promise<void> {
  const { hasFile, beatMs } = boot.roleData as JournalPlace
  if (beatMs !== undefined) await startHeartbeat({ fd: journalFd + (hasFile ? 1 : 0), intervalMs: beatMs })
}

/** The worker's side. */
export function openJournal({ boot, sharedBuffers }: BootstrappedChild): JournalWriter | undefined {
  const { segment, hasFile } = boot.roleData as JournalPlace
  const [memory] = sharedBuffers
  if (memory !== undefined) return JournalWriter.overMemory(memory)
  if (segment !== undefined) return JournalWriter.overMemory(attachSegment(segment).buffer)
  return hasFile ? JournalWriter.overFile(journalFd) : undefined
}
