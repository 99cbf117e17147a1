/**
 * Messages that only who has the key can have made: an HMAC-SHA256 over the subject and the bytes, then the bytes.
 * Invariant: nothing is decoded of bytes whose seal is not right, and a message that was made for one subject (which
 * names the pool, the program and the chunk) is wrong under every other.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'

const macBytes = 32
/** Frames of one message: a chunk has a body for each item at most, and each body what travels beside it. */
const framesMax = 1 << 17

function macOf(key: Buffer, subject: string, frames: readonly Uint8Array[]): Buffer {
  const hmac = createHmac('sha256', key).update(`multiproc cluster 1\0${subject}\0`)
  for (const frame of frames) hmac.update(frame)
  return hmac.digest()
}

/** Several frames as one message. */
export function seal(key: Buffer, subject: string, frames: readonly Uint8Array[]): Buffer {
  const table = Buffer.alloc(4 + 4 * frames.length)
  table.writeUInt32LE(frames.length)
  for (const [index, frame] of frames.entries()) table.writeUInt32LE(frame.length, 4 + 4 * index)
  return Buffer.concat([macOf(key, subject, [table, ...frames]), table, ...frames])
}

/** The frames of a message; `undefined` when it is not sealed with this key for this subject. */
export function open(key: Buffer, subject: string, message: Uint8Array): Uint8Array[] | undefined {
  if (message.length < macBytes + 4) return undefined
  const content = message.subarray(macBytes)
  if (!timingSafeEqual(macOf(key, subject, [content]), message.subarray(0, macBytes))) return undefined
  return cut(content)
}

function cut(content: Uint8Array): Uint8Array[] | undefined {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength)
  const count = view.getUint32(0, true)
  if (count > framesMax || content.length < 4 + 4 * count) return undefined
  const frames: Uint8Array[] = []
  let at = 4 + 4 * count
  for (let index = 0; index < count; index++) {
    const end = at + view.getUint32(4 + 4 * index, true)
    if (end > content.length) return undefined
    frames.push(content.subarray(at, end))
    at = end
  }
  return at === content.length ? frames : undefined
}
