/**
 * Standard output that is complete when the process ends. Node.js writes to pipes in the background and
 * process.exit() drops what is still waiting; a child whose output was redirected would lose all but 64 KiB.
 * The pipe itself is shared with other processes and left as it is: its non-blocking flag would change for all.
 */
import { fsyncSync, writeSync } from 'node:fs'
import { factsOf } from './file-facts.ts'
import { systemErrorName } from './standard-streams.ts'

/** How long to sleep when a pipe is full; its reader needs longer than that to empty 64 KiB. */
const FULL_PIPE_WAIT_MS = 1

/** Makes `process.stdout` and `process.stderr` write synchronously where they are pipes or sockets. */
export function writePipedOutputSynchronously(): void {
  // Windows writes to pipes synchronously by itself.
  if (process.platform === 'win32') return
  for (const [name, fd] of [
    ['stdout', 1],
    ['stderr', 2],
  ] as const) {
    if (!isPipe(fd)) continue
    // The stream is made by Node when it is first used, which costs a millisecond that most children save.
    const property = Object.getOwnPropertyDescriptor(process, name)
    if (property?.get === undefined || property.configurable !== true) continue
    const getStream = property.get
    let stream: NodeJS.WriteStream | undefined
    Object.defineProperty(process, name, {
      ...property,
      get: () => (stream ??= writingSynchronously(getStream.call(process) as NodeJS.WriteStream, fd)),
    })
  }
}

function isPipe(fd: number): boolean {
  try {
    const stats = factsOf(fd)
    return stats.isFIFO() || stats.isSocket()
  } catch {
    return false
  }
}

function writingSynchronously(stream: NodeJS.WriteStream, fd: number): NodeJS.WriteStream {
  stream._write = (chunk: Uint8Array | string, encoding, done) => {
    try {
      writeFully(fd, typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk)
      done()
    } catch (error) {
      done(error as Error)
    }
  }
  // With only _write() the stream passes its chunks one by one.
  Object.assign(stream, { _writev: undefined })
  return stream
}

/**
 * Whether a write that the event loop has begun is the system's from then on. Elsewhere the system has taken what had
 * room, and the event loop keeps the rest.
 */
export const OWNS_BEGUN_WRITES = process.platform === 'win32'

/** For such a system: waits until the reader has them, since the end of this process would take them back. */
export function finishBegunWrites(fd: number): void {
  if (OWNS_BEGUN_WRITES) fsyncSync(fd)
}

/**
 * Writes all of `bytes` to a descriptor that may be non-blocking, and waits for its reader where it is full.
 *
 * @param patienceMs - how long the reader may take nothing at all before this gives up
 * @returns whether everything was written
 * @throws the error of the system, such as `EPIPE` when the reader is gone
 */
export function writeFully(fd: number, bytes: Uint8Array, { patienceMs = Infinity } = {}): boolean {
  const sleeper = new Int32Array(new SharedArrayBuffer(4))
  let sleptMs = 0
  for (let offset = 0; offset < bytes.length;) {
    try {
      offset += writeSync(fd, bytes, offset)
      sleptMs = 0
    } catch (error) {
      if (systemErrorName(error) !== 'EAGAIN') throw error
      if (sleptMs >= patienceMs) return false
      Atomics.wait(sleeper, 0, 0, FULL_PIPE_WAIT_MS)
      sleptMs += FULL_PIPE_WAIT_MS
    }
  }
  return true
}
