/**
 * Messages to and from managers are written apart from others: who reads them may be a stranger, so no key of any
 * manager goes along.
 */
import { encode } from '../serialize/codec.ts'

let isWriting = false

export function isWrittenForManager(): boolean {
  return isWriting
}

/** A value as bytes for the other side of a connection to a manager. */
export function encodeForManager(value: unknown, rootName: string): Uint8Array {
  const before = isWriting
  isWriting = true
  try {
    return encode(value, { rootName })
  } finally {
    isWriting = before
  }
}
