/**
 * Reads the first frame of a socket and leaves what is behind it for whoever takes the socket over: that frame says
 * how the others travel.
 */
import type { Socket } from 'node:net'
import { HEADER_BYTES, readHeader } from './frame-format.ts'

/** The first frame, or `undefined` when the socket ends before it is complete. Rejects when there is none. */
export async function readFirstFrame(
  socket: Socket,
  { maxFrameBytes }: { maxFrameBytes?: number } = {},
): Promise<Uint8Array | undefined> {
  const chunks: Buffer[] = []
  for (;;) {
    const bytes = Buffer.concat(chunks)
    const end = bytes.length < HEADER_BYTES ? Infinity : HEADER_BYTES + readHeader(bytes, 0, maxFrameBytes)
    if (bytes.length >= end) {
      if (bytes.length > end) socket.unshift(bytes.subarray(end))
      return bytes.subarray(HEADER_BYTES, end)
    }
    const chunk = await nextChunk(socket)
    if (chunk === undefined) return undefined
    chunks.push(chunk)
  }
}

/** Reads once, and lets the socket pause afterwards: nothing may pass by before its owner listens. */
function nextChunk(socket: Socket): Promise<Buffer | undefined> {
  return new Promise(resolve => {
    const settle = (chunk?: Buffer): void => {
      socket.pause()
      socket.off('data', settle).off('close', ended).off('error', ended)
      resolve(chunk)
    }
    const ended = (): void => settle()
    socket.on('data', settle).once('close', ended).once('error', ended)
    socket.resume()
  })
}
