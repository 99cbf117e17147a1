/** Calls with which another program goes on: the chunks that were sent before, whose results that one waits for. */
import { ClusterError } from '../errors.ts'
import type { KeptJob } from '../pool/kept-call.ts'
import { requirementsIn } from '../pool/requirements.ts'
import type { PoolNames } from './names.ts'
import type { SentChunk } from './sent-chunk.ts'
import type { DriverHead } from './work-message.ts'

export function adoptedChunks({ known, session }: KeptJob, names: PoolNames): SentChunk[] {
  return known.map(({ chunkId, subject, ...place }) => ({
    head: {
      type: 'chunk',
      bodies: 0,
      chunkId,
      functionId: 0,
      mode: 'item',
      isPacked: true,
      ...place,
      elsewhere: { ...place, taskName: '', timeoutMs: undefined, graceMs: 0, priority: 0 },
    },
    bodies: [],
    code: { bytes: new Uint8Array(), hash: '', storedAtMs: undefined, storing: undefined },
    level: 'normal',
    requires: place.requires === undefined ? undefined : requirementsIn(place.requires),
    subject: subject ?? names.task('normal', { session, chunkId }),
    byteLength: 0,
    isAdopted: true,
    isPublishing: false,
    sentAtMs: performance.now(),
    sends: 1,
    storedName: undefined,
    refusals: 0,
    isArriving: false,
  }))
}

/** For the program that had the job before. */
export function takenOver(jobId: string, driver: DriverHead): ClusterError {
  return new ClusterError(
    'ERR_TERMINATED',
    `The program with the process id ${driver.pid} on ${driver.host} has attached to the job "${jobId}", and gets its results instead of this one\nTo fix: attach from one program at a time`,
  )
}
