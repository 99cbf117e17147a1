/**
 * The journal of a worker: which item it runs, and which items it finished with what result, in storage that
 * outlives it. The parent reads it after the worker's death, so that only the item that was running is lost.
 * Invariant: what `JournalReader` reports as finished did finish, with exactly those result bytes.
 *
 * Layout, all numbers little endian:
 *   0   u32  chunk that runs, 0 before the first
 *   4   u32  index within the chunk of the item that was started last
 *   8   u32  how many items from that one on may have been started without a further mark (1 = exact)
 *   12  u32  end of the records that are known to be complete
 *   16  records: u32 chunk, u32 index, u32 length, bytes
 */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type HeldSegment, allocateSegment } from './heap-segments.ts'
import { sharedHeap } from './shared-heap.ts'

const headerSize = 16
const recordHeaderSize = 12

/** Size of a journal. A result that does not fit is sent at once instead of being recorded. */
export const journalSizeBytes = 1 << 20

/** What a dead worker had done of the chunk that it ran. */
export interface JournalEntry {
  chunkId: number
  /** Index of the item that was marked last. */
  startedIndex: number
  /** The item that ran when the worker died is one of `startedIndex .. startedIndex + startedCount - 1`. */
  startedCount: number
  /** Results by index within the chunk, as they were encoded by the worker. */
  finished: Map<number, Uint8Array>
}

interface JournalStorage {
  /** The header itself, where it can be written in place: a mark then costs next to nothing. */
  readonly sharedHeader: Uint32Array | undefined
  write(bytes: Uint8Array, length: number, offset: number): void
}

/** The worker's side. */
export class JournalWriter {
  /** Whether every item can have a mark of its own. */
  readonly isMemory: boolean
  readonly #storage: JournalStorage
  readonly #header: Uint32Array
  readonly #headerBytes: Uint8Array
  #tail = headerSize
  #isFrozen = false

  private constructor(storage: JournalStorage) {
    this.#storage = storage
    this.#header = storage.sharedHeader ?? new Uint32Array(headerSize / 4)
    this.#headerBytes = new Uint8Array(this.#header.buffer, 0, headerSize)
    this.isMemory = storage.sharedHeader !== undefined
  }

  /** A journal in the file that the parent opened and handed over as descriptor `fd`. */
  static overFile(fd: number): JournalWriter {
    return new JournalWriter({
      sharedHeader: undefined,
      write: (bytes, length, offset) => {
        // A disc that is full must not fail the task: the parent then sees an older mark and runs more items
        // again than it would have to.
        try {
          writeSync(fd, bytes, 0, length, offset)
        } catch {}
      },
    })
  }

  /** A journal in memory that parent and worker share. */
  static overMemory(memory: ArrayBufferLike): JournalWriter {
    const target = new Uint8Array(memory)
    return new JournalWriter({
      sharedHeader: new Uint32Array(memory, 0, headerSize / 4),
      write: (bytes, length, offset) => target.set(bytes.subarray(0, length), offset),
    })
  }

  /** Nothing more is written. */
  freeze(): void {
    this.#isFrozen = true
  }

  /** Forgets the records. Called when everything recorded so far is on its way to the parent. */
  clear(): void {
    this.#tail = headerSize
  }

  /** Marks that the item at `index` starts now, or one of the `count` items from there on. */
  start(chunkId: number, index: number, count: number): void {
    if (this.#isFrozen) return
    const header = this.#header
    header[0] = chunkId
    header[1] = index
    header[2] = count
    header[3] = this.#tail
    if (!this.isMemory) this.#storage.write(this.#headerBytes, headerSize, 0)
  }

  /** Records the result of an item. Returns false when it does not fit. */
  finish(chunkId: number, index: number, result: Uint8Array): boolean {
    const size = recordHeaderSize + result.byteLength
    if (this.#isFrozen || this.#tail + size > journalSizeBytes) return false
    const record = Buffer.allocUnsafe(size)
    record.writeUInt32LE(chunkId, 0)
    record.writeUInt32LE(index, 4)
    record.writeUInt32LE(result.byteLength, 8)
    record.set(result, recordHeaderSize)
    this.#storage.write(record, size, this.#tail)
    // The header tells of this record only with the next mark. Until then the reader looks one record beyond
    // the known end, which is this one: the worker runs one item after the other.
    this.#tail += size
    return true
  }
}

/** The parent's side: makes the storage, hands it to the worker, and reads it after the worker's death. */
export class Journal {
  /** For a child process: the descriptor that it inherits. */
  readonly fd: number | undefined
  /** For a worker thread: the memory that it shares. */
  readonly memory: SharedArrayBuffer | undefined
  /** For a child process that shares the heap: where it is. */
  readonly segment: HeldSegment | undefined
  #isClosed = false

  private constructor(storage: { fd?: number; memory?: SharedArrayBuffer; segment?: HeldSegment }) {
    this.fd = storage.fd
    this.memory = storage.memory
    this.segment = storage.segment
  }

  /** The journal of a child process: in the shared heap where that reaches processes, else in a file. */
  static forProcess(): Journal | undefined {
    return sharedHeap().isNative ? Journal.inSegment() : Journal.inFile()
  }

  /** A journal in the shared heap. */
  static inSegment(): Journal {
    const segment = allocateSegment(journalSizeBytes, { isLazy: true })
    new Uint8Array(segment.buffer, 0, headerSize).fill(0)
    return new Journal({ segment })
  }

  /**
   * A journal in a file without a name, so that nothing is left when every process dies by `kill -9`. Returns
   * `undefined` where no such file can be made; the pool then tells less exactly which item killed a worker.
   */
  static inFile(): Journal | undefined {
    for (const folder of process.platform === 'linux' ? ['/dev/shm', tmpdir()] : [tmpdir()]) {
      try {
        const own = mkdtempSync(join(folder, 'multiproc-'))
        try {
          const fd = openSync(join(own, 'journal'), 'wx+', 0o600)
          rmSync(own, { recursive: true, force: true })
          return new Journal({ fd })
        } finally {
          rmSync(own, { recursive: true, force: true })
        }
      } catch {}
    }
    return undefined
  }

  static inMemory(): Journal {
    return new Journal({ memory: new SharedArrayBuffer(journalSizeBytes) })
  }

  /** What the worker had done, or `undefined` when it had started nothing. Trusts nothing that it reads. */
  read(): JournalEntry | undefined {
    const header = this.#bytes(0, headerSize)
    if (header.byteLength < headerSize) return undefined
    const chunkId = header.readUInt32LE(0)
    if (chunkId === 0) return undefined
    const entry: JournalEntry = {
      chunkId,
      startedIndex: header.readUInt32LE(4),
      startedCount: header.readUInt32LE(8),
      finished: new Map(),
    }
    const end = Math.min(header.readUInt32LE(12), journalSizeBytes)
    let offset = headerSize
    while (offset <= end) {
      const head = this.#bytes(offset, recordHeaderSize)
      if (head.byteLength < recordHeaderSize) break
      const index = head.readUInt32LE(4)
      const length = head.readUInt32LE(8)
      if (offset + recordHeaderSize + length > journalSizeBytes) break
      const isBeyondEnd = offset >= end
      // Beyond the known end there may be an old record: only that of the item that was started last counts.
      if (isBeyondEnd && (head.readUInt32LE(0) !== chunkId || index < entry.startedIndex)) break
      const result = this.#bytes(offset + recordHeaderSize, length)
      if (result.byteLength < length) break
      if (head.readUInt32LE(0) === chunkId) entry.finished.set(index, result)
      offset += recordHeaderSize + length
      if (isBeyondEnd) break
    }
    return entry
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    if (this.fd !== undefined) closeSync(this.fd)
    this.segment?.release()
  }

  #bytes(offset: number, length: number): Buffer {
    const bytes = Buffer.alloc(length)
    const memory = this.memory ?? this.segment?.buffer
    if (memory) {
      const source = new Uint8Array(memory, 0, journalSizeBytes)
      bytes.set(source.subarray(offset, offset + length))
      return bytes.subarray(0, Math.max(0, Math.min(length, source.byteLength - offset)))
    }
    return bytes.subarray(0, readSync(this.fd!, bytes, 0, length, offset))
  }
}
