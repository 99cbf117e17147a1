/**
 * Messages to a process with large data beside them: one frame with a table of the data and the message, and further
 * frames for data that is not in shared memory (see "Large data" in README.md). Nothing in a table is believed.
 */
import { ProcessError } from '../errors.ts'
import { LentBytes, takeLent } from '../platform/arena.ts'
import { type BlockHandle, sharedHeap } from '../platform/shared-heap.ts'
import { assertFrameLength } from './connection.ts'
import { attachmentsRefused } from './connection-errors.ts'
import { COUNT_BYTES, ENTRY_BYTES, HEADER_BYTES, tableBytes, writeHeader } from './frame-format.ts'

/** Otherwise 0: in a frame of its own behind this one. */
const IN_SEGMENT = 1

/** The pieces of memory to write for a message, in order. */
export function attachedPieces(
  message: Uint8Array,
  attachments: readonly unknown[],
  /** For whom what was lent is kept; without, it is copied into the stream. */
  reader: BlockHandle | undefined,
): Uint8Array[] {
  if (!attachments.every(isLarge)) throw attachmentsRefused()
  const table = tableBytes(attachments.length)
  const head = Buffer.alloc(HEADER_BYTES + table)
  writeHeader(head, 0, table + message.length, { isAttached: true })
  head.writeUInt32LE(attachments.length, HEADER_BYTES)
  const pieces: Uint8Array[] = [head, message]
  let at = HEADER_BYTES + COUNT_BYTES
  for (const item of attachments) {
    const isLent = item instanceof LentBytes
    head.writeDoubleLE(item.byteLength, at + 12)
    if (isLent && reader !== undefined) {
      head.writeUInt32LE(IN_SEGMENT, at)
      head.writeUInt32LE(item.handle.index, at + 4)
      head.writeInt32LE(item.handle.generation, at + 8)
      item.keepFor(reader)
    } else {
      assertFrameLength(item.byteLength)
      const header = Buffer.allocUnsafe(HEADER_BYTES)
      writeHeader(header, 0, item.byteLength)
      pieces.push(header, new Uint8Array(isLent ? item.copy() : item))
    }
    at += ENTRY_BYTES
  }
  return pieces
}

function isLarge(item: unknown): item is LentBytes | ArrayBuffer {
  return item instanceof LentBytes || item instanceof ArrayBuffer
}

type Deliver = (message: Uint8Array, attachments: unknown[]) => void

/** Puts messages together again. */
export class AttachedFrameReader {
  readonly #reader: BlockHandle | undefined
  readonly #deliver: Deliver
  /** A message of which pieces are still to come, and their places and lengths. */
  #message: Uint8Array | undefined
  #attachments: unknown[] = []
  #missing: { index: number; byteLength: number }[] = []

  constructor(reader: BlockHandle | undefined, deliver: Deliver) {
    this.#reader = reader
    this.#deliver = deliver
  }

  /** Whether the frames so far end between the pieces of a message. */
  get isInsideMessage(): boolean {
    return this.#message !== undefined
  }

  /** Takes the next frame; `false` for an ordinary one that belongs to no message with a table. */
  take(frame: Uint8Array, isAttached: boolean): boolean {
    if (this.#message !== undefined) {
      if (isAttached) throw garbled('a piece is missing')
      this.#takePiece(frame)
    } else if (isAttached) this.#takeTable(frame)
    else return false
    if (this.#missing.length > 0) return true
    const message = this.#message!
    const attachments = this.#attachments
    this.#message = undefined
    this.#attachments = []
    this.#deliver(message, attachments)
    return true
  }

  #takeTable(message: Uint8Array): void {
    const frame = Buffer.from(message.buffer, message.byteOffset, message.length)
    const count = frame.length < COUNT_BYTES ? Infinity : frame.readUInt32LE(0)
    const end = COUNT_BYTES + count * ENTRY_BYTES
    if (end > frame.length) throw garbled('its table is too long')
    for (let index = 0; index < count; index++) {
      const at = COUNT_BYTES + index * ENTRY_BYTES
      const byteLength = frame.readDoubleLE(at + 12)
      if (!Number.isSafeInteger(byteLength) || byteLength < 0) throw garbled('a length is none')
      if (frame.readUInt32LE(at) === IN_SEGMENT) {
        const handle = {
          heap: sharedHeap().id,
          index: frame.readUInt32LE(at + 4),
          generation: frame.readInt32LE(at + 8),
        }
        this.#attachments.push(this.#takeLent(handle, byteLength))
      } else {
        this.#missing.push({ index, byteLength })
        this.#attachments.push(undefined)
      }
    }
    this.#message = message.subarray(end)
  }

  /** Data that is not there any more is an error of the message alone, which the codec reports. */
  #takeLent(handle: BlockHandle, byteLength: number): ArrayBuffer | undefined {
    try {
      return takeLent(handle, byteLength, this.#reader)
    } catch (error) {
      if (error instanceof ProcessError) return undefined
      throw error
    }
  }

  #takePiece(frame: Uint8Array): void {
    const { index, byteLength } = this.#missing.shift()!
    if (frame.length !== byteLength) throw garbled('a piece has another length')
    // A long frame was gathered in memory of its own.
    const isOwn = frame.buffer.byteLength === byteLength
    this.#attachments[index] = isOwn ? frame.buffer : Uint8Array.from(frame).buffer
  }
}

function garbled(detail: string): ProcessError {
  return new ProcessError(
    'ERR_PROTOCOL',
    `Cannot read from the channel: a message with large data is damaged (${detail})\n` +
      'To fix: let nothing else write to the channel, and use the same version of multiproc on both sides',
  )
}
