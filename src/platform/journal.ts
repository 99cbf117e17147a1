/**
 * The journal of a worker: which item it runs, and which items it finished with what result, in storage that
 * outlives it. The parent reads it after the worker's death, so that only the item that was running is lost.
 * Invariant: what `JournalReader` reports as finished did finish, with exactly those result bytes.
 *
 * Layout, all numbers little endian. Both sides have a cache line of their own to write to:
 *   0    u32  chunk that runs, 0 before the first
 *   4    u32  index within the chunk of the item that was started last
 *   8    u32  how many items from that one on may have been started without a further mark (1 = exact, 0 = none runs)
 *   12   u32  end of the records that are known to be complete
 *   16   f64  when it was started, by `monotonicMs()`
 *   24   f64  the worker's memory, in bytes
 *   32   u32  counts the marks that asked whether they may go on
 *   36   u32  1 while nothing runs but the item at 4 has ended and its outcome is not yet out of the worker's memory
 *   64   u32  written by the parent: 1 while nothing may be started (`hold()`)
 *   68   u32  written by the parent: number of the last message that is to be read before anything more is started
 *   128  u32  in memory only: index of the first item of those whose results follow, see `keep()`
 *   256  16384 f64  results of it and of those behind it
 *   ...  16384 u8   what kind of value each of them is
 *   ...  records: u32 chunk, u32 index, u32 length, bytes
 */
import { closeSync, readSync, writeSync } from 'node:fs'
import { type HeldSegment, allocateSegment } from './heap-segments.ts'
import { openNameless } from './nameless-file.ts'
import { sharedHeap } from './shared-heap.ts'

const headerSize = 256
/** What the worker writes of the header when that takes a system call. */
const markSize = 64
const WORD = {
  chunkId: 0,
  index: 1,
  count: 2,
  tail: 3,
  marks: 8,
  ended: 9,
  hold: 16,
  notice: 17,
  keptFirst: 32,
} as const
/** So many results of items are kept one beside the other; see `keep()`. */
export const keptResultsMax = 1 << 14
const KEPT_OFFSET = headerSize
const KINDS_OFFSET = KEPT_OFFSET + 8 * keptResultsMax
const RECORDS_OFFSET = KINDS_OFFSET + keptResultsMax
/** Kinds of values that are kept; numbers are 1. */
const KEPT_VALUES = [undefined, 0, undefined, null, false, true] as const
const KIND = { none: 0, number: 1, undefined: 2, null: 3, false: 4, true: 5 } as const
const HOLD_OFFSET = WORD.hold * 4
const TIME = 2
const MEMORY = 3

/** A held worker goes on by itself after this time. Its parent decides within one turn; a parent that died ends it. */
const HELD_MS_MAX = 10_000
const HELD_LOOK_MS = 1

/** Milliseconds of a clock that all processes of this machine share. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1e3 + nanoseconds / 1e6
}
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
  /** Results of the items right before the one that was marked last, where they are simple values. */
  kept: Map<number, unknown>
  /** An item that has ended, and whose outcome may not have left the worker. */
  endedIndex: number | undefined
  /** Results of chunks that it had before, by their ids. */
  earlier: Map<number, Map<number, Uint8Array>>
}

/** What the worker is doing, as its parent can see it at any time. */
export interface RunningMark {
  chunkId: number
  startedIndex: number
  startedCount: number
  /** By `monotonicMs()`; only of items that were marked by `begin()`. */
  startedAtMs: number
}

interface JournalStorage {
  /** The header itself, where it can be written in place: a mark then costs next to nothing. */
  readonly sharedHeader: Uint32Array | undefined
  /** The memory itself. */
  readonly memory?: ArrayBufferLike
  write(bytes: Uint8Array, length: number, offset: number): void
  /** The words that the parent writes, where they cannot be read in place. */
  readOrders(into: Uint32Array): void
}

/** The worker's side. */
export class JournalWriter {
  /** Whether every item can have a mark of its own. */
  readonly isMemory: boolean
  readonly #storage: JournalStorage
  readonly #header: Uint32Array
  readonly #headerBytes: Uint8Array
  readonly #doubles: Float64Array
  readonly #kept: Float64Array
  readonly #kinds: Uint8Array
  // hold, notice: as they were when they were last read, where the storage is a file.
  readonly #orders = new Uint32Array(2)
  #tail: number = RECORDS_OFFSET
  #isFrozen = false

  private constructor(storage: JournalStorage) {
    this.#storage = storage
    this.#header = storage.sharedHeader ?? new Uint32Array(headerSize / 4)
    this.#headerBytes = new Uint8Array(this.#header.buffer, 0, markSize)
    this.#doubles = new Float64Array(this.#header.buffer, 0, headerSize / 8)
    const { memory } = storage
    this.#kept = memory ? new Float64Array(memory, KEPT_OFFSET, keptResultsMax) : new Float64Array()
    this.#kinds = memory ? new Uint8Array(memory, KINDS_OFFSET, keptResultsMax) : new Uint8Array()
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
      readOrders: into => {
        const bytes = new Uint8Array(into.buffer)
        // What cannot be read orders nothing: the messages of the parent still arrive.
        try {
          readSync(fd, bytes, 0, bytes.byteLength, HOLD_OFFSET)
        } catch {}
      },
    })
  }

  /** A journal in memory that parent and worker share. */
  static overMemory(memory: ArrayBufferLike): JournalWriter {
    const target = new Uint8Array(memory)
    return new JournalWriter({
      sharedHeader: new Uint32Array(memory, 0, headerSize / 4),
      memory,
      write: (bytes, length, offset) => target.set(bytes.subarray(0, length), offset),
      readOrders: () => {},
    })
  }

  /** Nothing more is written. */
  freeze(): void {
    this.#isFrozen = true
  }

  /** Forgets the records. Called when everything recorded so far is on its way to the parent. */
  clear(): void {
    this.#tail = RECORDS_OFFSET
  }

  /** Marks that the item at `index` starts now, or one of the `count` items from there on. */
  start(chunkId: number, index: number, count: number): void {
    if (this.#isFrozen) return
    const header = this.#header
    header[WORD.chunkId] = chunkId
    header[WORD.index] = index
    header[WORD.count] = count
    header[WORD.tail] = this.#tail
    if (!this.isMemory) this.#storage.write(this.#headerBytes, markSize, 0)
  }

  /**
   * Marks as `start()` does, with the time, and then asks whether it may go on; when it returns, the parent knows of
   * the mark or has not decided to kill this worker. (It writes the mark and reads the hold; the parent writes the hold
   * and reads the mark: one of them sees the other. See "Stopping what runs" in pool/README.md.)
   */
  begin(chunkId: number, index: number, count: number): void {
    if (this.#isFrozen) return
    this.#doubles[TIME] = monotonicMs()
    if (this.isMemory) {
      this.start(chunkId, index, count)
      Atomics.add(this.#header, WORD.marks, 1)
    } else {
      this.#header[WORD.marks]!++
      this.start(chunkId, index, count)
    }
    if (!this.#isHeld()) return
    const sleeper = new Int32Array(new SharedArrayBuffer(4))
    for (let heldMs = 0; heldMs < HELD_MS_MAX && this.#isHeld(); heldMs += HELD_LOOK_MS) {
      Atomics.wait(sleeper, 0, 0, HELD_LOOK_MS)
    }
    this.#doubles[TIME] = monotonicMs()
  }

  #isHeld(): boolean {
    if (this.isMemory) return Atomics.load(this.#header, WORD.hold) !== 0
    this.#storage.readOrders(this.#orders)
    return this.#orders[0] !== 0
  }

  /** Number of the last message that is to be read before anything more is started. In a file as of the last look. */
  get notice(): number {
    return this.isMemory ? Atomics.load(this.#header, WORD.notice) : this.#orders[1]!
  }

  /** Looks what `notice` is now, where that takes a system call. */
  look(): void {
    this.#storage.readOrders(this.#orders)
  }

  /** Says how much memory this worker has. It is written with the next mark. */
  tellMemory(bytes: number): void {
    this.#doubles[MEMORY] = bytes
  }

  /**
   * From here on results of the items from `index` on are kept. Those before are on their way to the parent, or belong
   * to a chunk of which nothing is marked any more.
   */
  keepFrom(index: number): void {
    const header = this.#header
    const used = header[WORD.index]! - header[WORD.keptFirst]! + 1
    this.#kinds.fill(KIND.none, 0, Math.max(0, used))
    header[WORD.keptFirst] = index
  }

  /**
   * Writes down the result of the item that was marked last, the one at `slot` from the first that is kept. It takes two
   * stores, so that it can be done for every item; the next mark makes it count. Returns false for values that need
   * encoding, and always in a file.
   */
  keep(slot: number, value: unknown): boolean {
    if (!this.isMemory) return false
    if (typeof value === 'number') {
      this.#kept[slot] = value
      this.#kinds[slot] = KIND.number
      return true
    }
    const kind = kindOf(value)
    this.#kinds[slot] = kind
    return kind !== KIND.none
  }

  /** Marks that the item at `index` has ended, but that its outcome would be lost with this worker. */
  markEnded(chunkId: number, index: number): void {
    this.#header[WORD.ended] = 1
    this.begin(chunkId, index, 0)
  }

  /** Its outcome is safe. It is written with the next mark. */
  clearEnded(): void {
    this.#header[WORD.ended] = 0
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

function kindOf(value: unknown): number {
  if (value === undefined) return KIND.undefined
  if (value === null) return KIND.null
  if (typeof value === 'boolean') return value ? KIND.true : KIND.false
  return KIND.none
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
    // A record of the journal that had this memory before would be taken for one of this worker, whose chunks have the
    // same numbers.
    const segment = allocateSegment(journalSizeBytes, { isLazy: true, isZero: true })
    return new Journal({ segment })
  }

  /**
   * A journal in a file without a name, so that nothing is left when every process dies by `kill -9`. Returns
   * `undefined` where no such file can be made; the pool then tells less exactly which item killed a worker.
   */
  static inFile(): Journal | undefined {
    const fd = openNameless('journal')
    return fd === undefined ? undefined : new Journal({ fd })
  }

  static inMemory(): Journal {
    return new Journal({ memory: new SharedArrayBuffer(journalSizeBytes) })
  }

  /** While it is held, the worker starts nothing. What it runs goes on. */
  hold(isHeld: boolean): void {
    this.#order(WORD.hold, isHeld ? 1 : 0)
  }

  /** Says that the worker is to read its messages up to this one before it starts anything more. */
  notice(message: number): void {
    this.#order(WORD.notice, message)
  }

  #order(word: number, value: number): void {
    const memory = this.memory ?? this.segment?.buffer
    if (memory) Atomics.store(new Uint32Array(memory, 0, headerSize / 4), word, value)
    else writeSync(this.fd!, new Uint32Array([value]), 0, 4, word * 4)
  }

  /** What the worker is doing now, or `undefined` when it has started nothing yet. */
  running(): RunningMark | undefined {
    const memory = this.memory ?? this.segment?.buffer
    // The other half of the agreement in `begin()`: this read comes after the store of `hold()`.
    if (memory) Atomics.load(new Uint32Array(memory, 0, headerSize / 4), WORD.marks)
    const header = this.#bytes(0, markSize)
    const chunkId = header.byteLength < markSize ? 0 : header.readUInt32LE(0)
    if (chunkId === 0) return undefined
    return {
      chunkId,
      startedIndex: header.readUInt32LE(4),
      startedCount: header.readUInt32LE(8),
      startedAtMs: header.readDoubleLE(TIME * 8),
    }
  }

  /** What the worker last said of its memory, in bytes. */
  memoryBytes(): number | undefined {
    const header = this.#bytes(0, markSize)
    const bytes = header.byteLength < markSize ? 0 : header.readDoubleLE(MEMORY * 8)
    return bytes > 0 && Number.isFinite(bytes) ? bytes : undefined
  }

  /** What the worker had done, or `undefined` when it had started nothing. Trusts nothing that it reads. */
  read(): JournalEntry | undefined {
    const header = this.#bytes(0, markSize)
    if (header.byteLength < markSize) return undefined
    const chunkId = header.readUInt32LE(0)
    if (chunkId === 0) return undefined
    const entry: JournalEntry = {
      chunkId,
      startedIndex: header.readUInt32LE(4),
      startedCount: header.readUInt32LE(8),
      finished: new Map(),
      kept: new Map(),
      endedIndex: header.readUInt32LE(WORD.ended * 4) === 1 ? header.readUInt32LE(4) : undefined,
      earlier: new Map(),
    }
    this.#readKept(entry)
    const end = Math.min(header.readUInt32LE(12), journalSizeBytes)
    let offset: number = RECORDS_OFFSET
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
      const recordedId = head.readUInt32LE(0)
      if (recordedId === chunkId) entry.finished.set(index, result)
      else if (entry.earlier.has(recordedId)) entry.earlier.get(recordedId)!.set(index, result)
      else entry.earlier.set(recordedId, new Map([[index, result]]))
      offset += recordHeaderSize + length
      if (isBeyondEnd) break
    }
    return entry
  }

  #readKept({ startedIndex, kept }: JournalEntry): void {
    if (this.fd !== undefined) return
    const header = this.#bytes(0, RECORDS_OFFSET)
    const first = header.readUInt32LE(WORD.keptFirst * 4)
    // The item that was marked last has not ended, or not yet said so. (While a function is loaded none has begun.)
    const end = startedIndex === 0xffffffff ? 0 : Math.min(startedIndex, first + keptResultsMax)
    for (let index = first; index < end; index++) {
      const slot = index - first
      const kind = header[KINDS_OFFSET + slot]!
      if (kind === KIND.number) kept.set(index, header.readDoubleLE(KEPT_OFFSET + 8 * slot))
      else if (kind in KEPT_VALUES && kind !== KIND.none) kept.set(index, KEPT_VALUES[kind])
    }
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
