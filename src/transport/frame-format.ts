/**
 * Frames as bytes: the one place that knows the header (see "Frame format" in README.md).
 * Every reader checks the header before it believes the length.
 */
import { ProcessError } from '../errors.ts'
import { MAX_FRAME_BYTES } from './connection.ts'

export const HEADER_BYTES = 8
/** Before a message with data beside it comes a table: a count, and for each piece how it travels and its length. */
export const COUNT_BYTES = 4
/** How a piece travels, index and generation of its segment, and its length. */
export const ENTRY_BYTES = 20

export function tableBytes(count: number): number {
  return COUNT_BYTES + count * ENTRY_BYTES
}

/** Says "this is a length of ours": the second word of a header is the first, exclusive-or this ("MPFR"). */
const HEADER_MARK = 0x5246504d
/** The same of a frame that has a table of large data before its message ("MPFA"). */
const ATTACHED_MARK = 0x4146504d
/** Bodies from this size on are written from where they are; smaller ones are copied together. */
const BODY_BYTES_BY_REFERENCE = 32 * 1024

/** Writes a header at `offset` and returns the offset after it. */
export function writeHeader(
  target: Uint8Array,
  offset: number,
  length: number,
  { isAttached = false } = {},
): number {
  const check = length ^ (isAttached ? ATTACHED_MARK : HEADER_MARK)
  target[offset] = length
  target[offset + 1] = length >>> 8
  target[offset + 2] = length >>> 16
  target[offset + 3] = length >>> 24
  target[offset + 4] = check
  target[offset + 5] = check >>> 8
  target[offset + 6] = check >>> 16
  target[offset + 7] = check >>> 24
  return offset + HEADER_BYTES
}

/** Reads the header at `offset`. Throws `ERR_PROTOCOL` when it cannot be one. */
export function readHeader(source: Uint8Array, offset: number, maxFrameBytes = MAX_FRAME_BYTES): number {
  const length = wordAt(source, offset)
  const mark = wordAt(source, offset + 4) ^ length
  if (mark !== HEADER_MARK && mark !== ATTACHED_MARK) {
    throw new ProcessError(
      'ERR_PROTOCOL',
      'Cannot read from the channel: the bytes ' +
        `${Buffer.from(source.subarray(offset, offset + HEADER_BYTES)).toString('hex')} are no frame header\n` +
        'To fix: let nothing else write to the channel (file descriptor 3 of a child), and use the ' +
        'same version of multiproc on both sides',
    )
  }
  if (length < 0 || length > maxFrameBytes) {
    throw new ProcessError(
      'ERR_PROTOCOL',
      `Cannot read from the channel: a frame of ${length >>> 0} bytes was announced, and the limit is ${maxFrameBytes}\nTo fix: send the data in smaller pieces`,
    )
  }
  return length
}

/** Whether the header at `offset`, which has been read, is that of a frame with a table. */
export function isAttachedHeader(source: Uint8Array, offset: number): boolean {
  return (wordAt(source, offset + 4) ^ wordAt(source, offset)) === ATTACHED_MARK
}

/** As readUInt32LE(), which calls four functions for it, but signed: `length` is below 2^31. */
function wordAt(source: Uint8Array, offset: number): number {
  return (
    source[offset]! | (source[offset + 1]! << 8) | (source[offset + 2]! << 16) | (source[offset + 3]! << 24)
  )
}

/** Writes the frames one after another into `target`, which is just large enough. */
export function packFrames(frames: readonly Uint8Array[], target: Uint8Array): void {
  let offset = 0
  for (const frame of frames) {
    offset = writeHeader(target, offset, frame.length)
    target.set(frame, offset)
    offset += frame.length
  }
}

/** The buffers to write for `frames`: runs of small ones joined, large bodies as they are. */
export function gatherFrames(frames: readonly Uint8Array[]): Uint8Array[] {
  const pieces: Uint8Array[] = []
  let first = 0
  while (first < frames.length) {
    let end = first
    let runBytes = 0
    let large: Uint8Array | undefined
    while (end < frames.length && large === undefined) {
      const frame = frames[end++]!
      if (frame.length >= BODY_BYTES_BY_REFERENCE) {
        large = frame
        runBytes += HEADER_BYTES
      } else {
        runBytes += HEADER_BYTES + frame.length
      }
    }
    const run = Buffer.allocUnsafe(runBytes)
    if (large === undefined) {
      packFrames(frames.slice(first, end), run)
      pieces.push(run)
    } else {
      packFrames(frames.slice(first, end - 1), run)
      writeHeader(run, runBytes - HEADER_BYTES, large.length)
      pieces.push(run, large)
    }
    first = end
  }
  return pieces
}
