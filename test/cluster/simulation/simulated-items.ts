/** Items of a simulated map: numbers in a row, and their results. */
import type { Body } from '#src/pool/protocol.js'

export interface Items {
  first: number
  count: number
}

const ITEM = 1
const RESULT = 2

function bodyOf(kind: number, { first, count }: Items, padding = 0): Body {
  const bytes = Buffer.alloc(9 + padding)
  bytes.writeUInt8(kind)
  bytes.writeUInt32LE(first, 1)
  bytes.writeUInt32LE(count, 5)
  return { bytes }
}

export function itemBody(items: Items, padding: number): Body {
  return bodyOf(ITEM, items, padding)
}

export function resultBody(items: Items): Body {
  return bodyOf(RESULT, items)
}

function read(kind: number, bytes: Uint8Array): Items {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.readUInt8() !== kind) throw new Error('A body of the simulation became another one')
  return { first: view.readUInt32LE(1), count: view.readUInt32LE(5) }
}

export function itemsIn(bytes: Uint8Array): Items {
  return read(ITEM, bytes)
}

export function resultsIn(bytes: Uint8Array): Items {
  return read(RESULT, bytes)
}
