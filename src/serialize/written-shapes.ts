/**
 * The key lists of objects ("shapes") as the writer knows them: encoded once per process, written once per message.
 * The cache is bounded; a shape that was dropped is simply encoded again.
 */
import { isLatin1 } from './byte-writer.ts'
import { SHORT_STRING, SHORT_STRING_MAX, STRING_LATIN1, STRING_UTF16 } from './tags.ts'

const SHAPES_MAX = 2048
/** Shapes that begin with the same key. More than these are objects used as dictionaries. */
const SHAPES_PER_FIRST_KEY_MAX = 16

export interface WrittenShape {
  readonly keys: readonly string[]
  /** What is written where the message names the shape for the first time. */
  readonly definition: Uint8Array
  /** The message that last used it, and its index there. */
  message: number
  index: number
}

let shapesByFirstKey = new Map<string, WrittenShape[]>()
let shapeCount = 0

const sameKeys = (a: readonly string[], b: readonly string[], count: number): boolean => {
  for (let i = 0; i < count; i++) if (a[i] !== b[i]) return false
  return true
}

/** Finds or makes the shape of an object with these own keys, in this order. */
export function writtenShapeOf(keys: readonly string[]): WrittenShape {
  const count = keys.length
  const first = count === 0 ? '' : keys[0]!
  let candidates = shapesByFirstKey.get(first)
  if (candidates !== undefined) {
    for (const shape of candidates)
      if (shape.keys.length === count && sameKeys(shape.keys, keys, count)) return shape
  }
  if (shapeCount >= SHAPES_MAX) {
    shapesByFirstKey = new Map()
    shapeCount = 0
    candidates = undefined
  }
  if (candidates === undefined) shapesByFirstKey.set(first, (candidates = []))
  const shape: WrittenShape = { keys, definition: encodeDefinition(keys), message: 0, index: 0 }
  if (candidates.length >= SHAPES_PER_FIRST_KEY_MAX) candidates[shapeCount % SHAPES_PER_FIRST_KEY_MAX] = shape
  else {
    candidates.push(shape)
    shapeCount++
  }
  return shape
}

/** A hash (4 bytes), the length of the rest (4 bytes), the number of keys (4 bytes), then the keys as strings. */
function encodeDefinition(keys: readonly string[]): Uint8Array {
  const parts: Buffer[] = []
  for (const key of keys) {
    const length = key.length
    if (isLatin1(key)) {
      if (length <= SHORT_STRING_MAX) parts.push(Buffer.from([SHORT_STRING + length]))
      else parts.push(longHeader(STRING_LATIN1, length))
      parts.push(Buffer.from(key, 'latin1'))
    } else parts.push(longHeader(STRING_UTF16, length), Buffer.from(key, 'utf16le'))
  }
  const block = Buffer.concat(parts)
  let hash = block.length
  for (const byte of block) hash = (Math.imul(hash, 31) + byte) | 0
  const head = Buffer.alloc(12)
  head.writeInt32LE(hash, 0)
  head.writeUInt32LE(block.length, 4)
  head.writeUInt32LE(keys.length, 8)
  return Buffer.concat([head, block])
}

function longHeader(tag: number, length: number): Buffer {
  const header = Buffer.alloc(6)
  header[0] = tag
  header[1] = 0xfd
  header.writeUInt32LE(length, 2)
  return header
}
