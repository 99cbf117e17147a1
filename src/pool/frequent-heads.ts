/**
 * The heads of the two messages that every task takes, a chunk and its results, as a few words instead of an object: what
 * encodes any object takes some three hundred calls of functions for both, which is most of what a small task costs in a
 * program that has just begun. A small body is in the same frame. Both sides run on one machine and in one version, so
 * the words are written as they lie in memory.
 *
 * | word | chunk                        | results                      |
 * | ---- | ---------------------------- | ---------------------------- |
 * | 0    | kind, flags in the next byte | kind, flags in the next byte |
 * | 1    | chunk                        | chunk                        |
 * | 2    | bodies                       | bodies                       |
 * | 3    | items                        | items                        |
 * | 4, 5 | index of the first           | milliseconds                 |
 * | 6    | function                     | index of the first           |
 */
import { FORMAT_VERSION } from '../serialize/tags.ts'
import type { ChunkHead, FromWorker, ResultsHead, ToWorker } from './protocol.ts'

/** Other than the first byte of what encode() makes. */
const CHUNK = FORMAT_VERSION + 1
const RESULTS = FORMAT_VERSION + 2

/** Flags of both. */
const IS_PACKED = 1
const HAS_BODY_INSIDE = 2
/** Flags of a chunk. */
const TAKES_ARGUMENTS = 4
const HAS_FIRST = 8
const IS_EXACT = 16
const WANTS_REPORTS = 32
const IS_RELAYED = 64

const WORDS = 7
const HEAD_BYTES = WORDS * 4
/** A larger body is sent from where it is. */
const BODY_INSIDE_BYTES_MAX = 1024

/** Everything is written and read here, because a frame may begin at any address. */
const words = new Uint32Array(WORDS + 1)
const bytesOfWords = new Uint8Array(words.buffer, 0, HEAD_BYTES)
const numbers = new Float64Array(words.buffer)
/** Words 4 and 5. */
const NUMBER = 2

/**
 * The frame for such a head, with `body` in it if that is given; `undefined` for every other head, which encode() takes.
 */
export function frequentFrame(
  head: ToWorker | FromWorker,
  body: Uint8Array | undefined,
): Uint8Array | undefined {
  let kind: number
  let flags: number
  if (head.type === 'results') {
    kind = RESULTS
    flags = 0
    numbers[NUMBER] = head.elapsedMs
    words[6] = head.first
  } else if (head.type === 'chunk') {
    const { functionId, first } = head
    if (saysMore(head)) return undefined
    kind = CHUNK
    flags =
      (head.mode === 'arguments' ? TAKES_ARGUMENTS : 0) |
      (first === undefined ? 0 : HAS_FIRST) |
      (head.isExact ? IS_EXACT : 0) |
      (head.wantsReports ? WANTS_REPORTS : 0) |
      (head.isRelayed ? IS_RELAYED : 0)
    numbers[NUMBER] = first ?? 0
    words[6] = functionId
    if (words[6] !== functionId) return undefined
  } else return undefined
  words[1] = head.chunkId
  if (words[1] !== head.chunkId) return undefined
  words[2] = head.bodies
  words[3] = head.count
  if (head.isPacked) flags |= IS_PACKED
  if (body === undefined) {
    words[0] = kind | (flags << 8)
    return bytesOfWords.slice()
  }
  words[0] = kind | ((flags | HAS_BODY_INSIDE) << 8)
  const frame = new Uint8Array(HEAD_BYTES + body.length)
  frame.set(bytesOfWords)
  frame.set(body, HEAD_BYTES)
  return frame
}

/** Whether the head of a chunk has fields for which there are no words. */
function saysMore({
  indexes,
  contexts,
  attempt,
  name,
  times,
  elsewhere,
  resources,
  bundles,
}: ChunkHead): boolean {
  return (
    indexes !== undefined ||
    contexts !== undefined ||
    attempt !== undefined ||
    name !== undefined ||
    times !== undefined ||
    elsewhere !== undefined ||
    resources !== undefined ||
    bundles !== undefined
  )
}

/** Whether a body may be in the frame of its head. */
export function fitsInside(body: Uint8Array): boolean {
  return body.length <= BODY_INSIDE_BYTES_MAX
}

/** The head in a frame; `undefined` when it is for decode(). */
export function frequentHead(frame: Uint8Array): ChunkHead | ResultsHead | undefined {
  const kind = frame[0]
  if ((kind !== CHUNK && kind !== RESULTS) || frame.length < HEAD_BYTES) return undefined
  bytesOfWords.set(frame.length === HEAD_BYTES ? frame : frame.subarray(0, HEAD_BYTES))
  const flags = words[0]! >>> 8
  const isPacked = (flags & IS_PACKED) !== 0
  const chunkId = words[1]!
  const bodies = words[2]!
  const count = words[3]!
  if (kind === RESULTS) {
    return {
      type: 'results',
      bodies,
      chunkId,
      first: words[6]!,
      count,
      isPacked,
      elapsedMs: numbers[NUMBER]!,
    }
  }
  const head: ChunkHead = {
    type: 'chunk',
    bodies,
    chunkId,
    functionId: words[6]!,
    mode: flags & TAKES_ARGUMENTS ? 'arguments' : 'item',
    count,
    isPacked,
  }
  if (flags & HAS_FIRST) head.first = numbers[NUMBER]!
  if (flags & IS_EXACT) head.isExact = true
  if (flags & IS_RELAYED) head.isRelayed = true
  if (flags & WANTS_REPORTS) head.wantsReports = true
  return head
}

/** The body that is in the frame of its head. */
export function bodyInside(frame: Uint8Array): Uint8Array | undefined {
  return (frame[1]! & HAS_BODY_INSIDE) !== 0 ? frame.subarray(HEAD_BYTES) : undefined
}
