/** Keeps a socket readable whose other side takes nothing any more: what that side had sent before is still in there. */
import type { Socket } from 'node:net'
import { isPeerGone } from '../transport/peer-gone.ts'

type WriteDone = (error?: Error | null) => void
type Chunks = { chunk: Uint8Array; encoding: BufferEncoding }[]

/**
 * A net.Socket whose write fails destroys itself, with the data that it has not given out. So such a failure is not
 * passed on to it, but to `onGone`; its end comes from reading.
 */
export function surviveGoneWrites(socket: Socket, onGone: (error: Error) => void): void {
  const surviving =
    (done: WriteDone): WriteDone =>
    error => {
      if (!error || !isPeerGone(error)) done(error)
      else {
        onGone(error)
        done()
      }
    }
  const write = socket._write.bind(socket)
  socket._write = (chunk: Uint8Array, encoding, done) => write(chunk, encoding, surviving(done))
  const writev = socket._writev?.bind(socket)
  if (writev !== undefined) socket._writev = (chunks: Chunks, done) => writev(chunks, surviving(done))
}
