// The bytes that two rows send.
import { randomBytes } from 'node:crypto'

/** A Uint8Array of its own memory (not a slice of Node's pool), so that cloning it copies `length` bytes only. */
export function randomUint8Array(length) {
  const bytes = new Uint8Array(length)
  bytes.set(randomBytes(length))
  return bytes
}
