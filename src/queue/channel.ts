/**
 * A channel: messages in order from any number of writers to any number of readers, in shared memory. It is the ring
 * behind a queue and behind each direction of a pipe. Nothing here waits for the other side; see `wait-line.ts`.
 *
 * Whatever dies at whatever moment, a message is in the channel whole or not at all, and nobody is blocked; the
 * protocol is in README.md.
 */
import { ClosedError, ProcessError } from '../errors.ts'
import { type HeldSegment, attachSegment } from '../platform/heap-segments.ts'
import { type BlockHandle, type HeldBlock, type SharedHeap, sharedHeap } from '../platform/shared-heap.ts'
import {
  CHANNEL,
  CHANNEL_KIND,
  FRAME_HEADER_BYTES,
  FRAME_MARK,
  GROWING_INSIDE_MAX,
  OUTSIDE_BYTES,
  frameBytes,
} from './channel-layout.ts'
import {
  commitReader,
  commitWriter,
  loadReader,
  loadWriter,
  newReaderState,
  newWriterState,
} from './channel-states.ts'
import { doneWith, holdUntilRead } from './held-items.ts'
import { type OutgoingOutsideItem, type OutsideItem, insideItem, outsideItem } from './item-memory.ts'
import { OwnerLock } from './owner-lock.ts'
import {
  allocateRing,
  attachItem,
  capacityMax,
  copyBetween,
  portableMemory,
  type Ring,
  ringOver,
  viewRing,
} from './ring-memory.ts'

/** Names a channel in a message. Without the addon it contains the memory, which only threads can be given. */
export interface ChannelHandle {
  block: BlockHandle
  memory?: SharedArrayBuffer
}

export interface ChannelOptions {
  /** Most items at a time. Default: no limit. */
  maxSize?: number
  /** Whether the ring grows when it is full. Otherwise writers have to wait for readers. */
  isGrowing: boolean
  /** A power of two. */
  ringBytes: number
}

export type OutgoingItem = Uint8Array | OutgoingOutsideItem

/** So long does an operation block its thread for a lock whose holder is alive: it holds it for microseconds. */
const LOCK_MS = 5
/** Messages outside a ring that does not grow make writers wait from this many KiB on. */
const OUTSIDE_KIB_MAX = 8 * 1024
/** A ring that is larger than this and empty is exchanged for a small one. */
const SHRINK_FROM = 1 << 20
const SHRUNK_BYTES = 64 * 1024

export class Channel {
  readonly heap: SharedHeap
  readonly base: number
  readonly handle: ChannelHandle
  readonly maxSize: number
  readonly #block: HeldBlock
  readonly #isGrowing: boolean
  readonly #writerLock: OwnerLock
  readonly #readerLock: OwnerLock
  readonly #writer = newWriterState()
  readonly #reader = newReaderState()
  readonly #seenWriter = newWriterState()
  readonly #seenReader = newReaderState()
  /**
   * The counters that this object's last operation left. While one of them is the same, `#writer` (or `#reader`) is
   * still what was committed, and what was seen of the other side before is still true. See "Remembering" in README.md.
   */
  #ownCommits: number | undefined
  #ownTakes: number | undefined
  #ring: Ring | undefined
  #isReleased = false

  private constructor(heap: SharedHeap, block: HeldBlock, memory: SharedArrayBuffer | undefined) {
    this.heap = heap
    this.#block = block
    this.base = block.base
    this.handle = memory === undefined ? { block: block.handle } : { block: block.handle, memory }
    this.#writerLock = new OwnerLock(heap, this.base + CHANNEL.writerLock)
    this.#readerLock = new OwnerLock(heap, this.base + CHANNEL.readerLock)
    this.maxSize = heap.words[this.base + CHANNEL.maxSize]!
    this.#isGrowing = heap.words[this.base + CHANNEL.isGrowing] === 1
  }

  static create({ maxSize = 0, isGrowing, ringBytes }: ChannelOptions): Channel {
    const heap = sharedHeap()
    const block = heap.allocate(CHANNEL_KIND)
    try {
      heap.words[block.base + CHANNEL.maxSize] = maxSize
      heap.words[block.base + CHANNEL.isGrowing] = Number(isGrowing)
      const state = newWriterState()
      state.capacity = ringBytes
      if (!heap.isNative) {
        commitWriter(heap.words, block.base, state)
        return new Channel(heap, block, portableMemory(ringBytes))
      }
      const { ring, segment } = allocateRing(ringBytes)
      state.ringIndex = ring.index
      state.ringGeneration = ring.generation
      heap.keep(segment.handle as BlockHandle, block.handle)
      segment.release()
      commitWriter(heap.words, block.base, state)
      return new Channel(heap, block, undefined)
    } catch (error) {
      block.release()
      throw error
    }
  }

  /** @throws ClosedError when nobody kept it until the handle arrived here. */
  static attach({ block, memory }: ChannelHandle): Channel {
    const heap = sharedHeap()
    return new Channel(heap, heap.attach(block, CHANNEL_KIND), memory)
  }

  /** How many items are in it. */
  get size(): number {
    loadWriter(this.heap.words, this.base, this.#seenWriter)
    loadReader(this.heap.words, this.base, this.#seenReader)
    return Math.max(0, (this.#seenWriter.puts - this.#seenReader.gets) | 0)
  }

  /** How many items were ever put, as a number that wraps. */
  get puts(): number {
    loadWriter(this.heap.words, this.base, this.#seenWriter)
    return this.#seenWriter.puts
  }

  get isShutDown(): boolean {
    return Atomics.load(this.heap.words, this.base + CHANNEL.isShutDown) === 1
  }

  /** Nobody puts any more; everybody who waits looks. */
  shutDown(): void {
    // With the lock, so that who sees it and then an empty channel knows that nothing comes after.
    const acquired = this.#writerLock.acquire(LOCK_MS)
    Atomics.store(this.heap.words, this.base + CHANNEL.isShutDown, 1)
    if (acquired === 'recovered') {
      this.#ownCommits = undefined
      loadWriter(this.heap.words, this.base, this.#writer)
      this.#recoverWriter()
    }
    if (acquired !== 'busy') this.#writerLock.release()
    this.touch()
  }

  /** Has everybody who waits look again. Twice one: the states that count stay the same. */
  touch(): void {
    for (const counter of [CHANNEL.commits, CHANNEL.takes, CHANNEL.done]) {
      if (counter !== CHANNEL.done) Atomics.add(this.heap.words, this.base + counter, 2)
      this.heap.wake(this.base + counter)
    }
  }

  /** Lets go of it, once. What is in it goes with the last one who holds it. */
  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    const { heap } = this
    if (heap.isNative && heap.isOnlyHeldHere(this.#block)) this.#giveBack()
    this.#block.release()
    this.#ring = undefined
  }

  #giveBack(): void {
    try {
      loadWriter(this.heap.words, this.base, this.#seenWriter)
      loadReader(this.heap.words, this.base, this.#seenReader)
      if (this.#seenWriter.outsideKiB !== this.#seenReader.outsideKiB) {
        for (let taken = this.take(1024); taken !== 'busy' && taken.length > 0; taken = this.take(1024))
          taken.forEach(doneWith)
      }
      const { ringIndex, ringGeneration } = this.#seenWriter
      const segment = attachItem(this.heap, ringIndex, ringGeneration)
      this.heap.unkeep(segment.handle as BlockHandle, this.#block.handle)
      segment.release()
    } catch {
      // Its memory is damaged. It stays where it is, to be used again with the block.
    }
  }

  // ---- Writing ----

  /** What to put for an encoded message: the bytes, or a segment of its own. `letGoOf()` undoes it. */
  outgoing(bytes: Uint8Array): OutgoingItem {
    if (!this.heap.isNative) return bytes
    const insideMax = this.#isGrowing ? GROWING_INSIDE_MAX : this.#knownCapacity() / 2
    return bytes.length > insideMax ? outsideItem(bytes) : insideItem(bytes)
  }

  /**
   * Puts as many of the items as there is room for, in order, from `start` on.
   *
   * @returns how many, or `busy` when another process has stopped in the middle of an operation
   * @throws ClosedError after `shutDown()`; ProcessError `ERR_LIMIT` without memory, `ERR_PROTOCOL` when the memory is
   * damaged. What was put before stays.
   */
  put(items: readonly OutgoingItem[], start = 0): number | 'busy' {
    const { heap, base } = this
    const { words } = heap
    const acquired = this.#writerLock.acquire(LOCK_MS)
    if (acquired === 'busy') return 'busy'
    const writer = this.#writer
    const commits = Atomics.load(words, base + CHANNEL.commits)
    const isLastWriter = acquired === 'acquired' && commits === this.#ownCommits
    this.#ownCommits = undefined
    let index = start
    let isBusy = false
    let hasUncommitted = false
    try {
      if (!isLastWriter) {
        loadWriter(words, base, writer)
        loadReader(words, base, this.#seenReader)
      }
      if (acquired === 'recovered') this.#recoverWriter()
      if (this.isShutDown) throw shutDownError()
      let ring = this.#currentRing(writer)
      if (ring.capacity > SHRINK_FROM && heap.isNative) {
        loadReader(words, base, this.#seenReader)
        const isEmpty = writer.head === this.#seenReader.tail
        if (isEmpty && this.#moveRing(SHRUNK_BYTES)) ring = this.#currentRing(writer)
      }
      for (; index < items.length; index++) {
        const item = items[index]!
        const isInside = item instanceof Uint8Array
        const need = frameBytes(isInside ? item.length : OUTSIDE_BYTES)
        if (!this.#hasRoom(ring, need, isInside)) {
          loadReader(words, base, this.#seenReader)
          while (!isBusy && this.#mayGrow(ring, need)) {
            isBusy = !this.#moveRing(ring.capacity * 4)
            if (!isBusy) hasUncommitted = false
            ring = this.#currentRing(writer)
          }
          if (!this.#hasRoom(ring, need, isInside)) break
        }
        if (isInside) {
          this.#writeFrame(ring, item, FRAME_MARK.inside)
          writer.puts = (writer.puts + 1) | 0
          hasUncommitted = true
        } else {
          this.#putOutside(ring, item)
          hasUncommitted = false
        }
      }
    } finally {
      if (hasUncommitted) this.#ownCommits = commitWriter(words, base, writer)
      this.#writerLock.release()
      const count = index - start
      if (count > 0 && Atomics.load(words, base + CHANNEL.readersWaiting) > 0)
        heap.wake(base + CHANNEL.commits, count)
    }
    return isBusy && index === start ? 'busy' : index - start
  }

  /** Of the ring as it was seen last. */
  #knownCapacity(): number {
    if (this.#ring !== undefined) return this.#ring.capacity
    const state = newWriterState()
    loadWriter(this.heap.words, this.base, state)
    return state.capacity
  }

  #hasRoom(ring: Ring, need: number, isInside: boolean): boolean {
    const { maxSize } = this
    const writer = this.#writer
    const reader = this.#seenReader
    if (maxSize > 0 && ((writer.puts - reader.gets) | 0) >= maxSize) return false
    if (!isInside && !this.#isGrowing && ((writer.outsideKiB - reader.outsideKiB) | 0) >= OUTSIDE_KIB_MAX)
      return false
    const used = (writer.head - reader.tail) >>> 0
    if (used > ring.capacity || (used & 7) !== 0) throw damaged()
    return ring.capacity - used >= need
  }

  /** Whether a larger ring is what is missing. */
  #mayGrow(ring: Ring, need: number): boolean {
    const used = (this.#writer.head - this.#seenReader.tail) >>> 0
    if (ring.capacity - used >= need) return false
    if (!this.#isGrowing && used > 0) return false
    if (ring.capacity * 4 <= capacityMax(this.heap.isNative)) return true
    if (!this.#isGrowing) return false
    throw new ProcessError(
      'ERR_LIMIT',
      `Cannot put an item: ${used} bytes wait in the queue already, and it cannot become larger\n` +
        'To fix: give the queue a "maxSize", so that put() waits for those who get, or send fewer or smaller items',
    )
  }

  #writeFrame(ring: Ring, bytes: Uint8Array, mark: number): void {
    const writer = this.#writer
    const mask = ring.capacity - 1
    const { length } = bytes
    const at = (writer.head & mask) >>> 2
    // Capacity and frames are multiples of 8, so a header is never cut.
    ring.words[at] = length
    ring.words[at + 1] = length ^ mark
    const start = (writer.head + FRAME_HEADER_BYTES) & mask
    const first = Math.min(length, ring.capacity - start)
    if (first === length) ring.bytes.set(bytes, start)
    else {
      ring.bytes.set(bytes.subarray(0, first), start)
      ring.bytes.set(bytes.subarray(first), 0)
    }
    writer.head = (writer.head + frameBytes(length)) | 0
  }

  #putOutside(ring: Ring, { segment, byteLength }: OutsideItem): void {
    const { heap, base } = this
    const writer = this.#writer
    const handle = segment.handle as BlockHandle
    const limbo = base + CHANNEL.limbo
    heap.words[limbo + 1] = handle.generation
    Atomics.store(heap.words, limbo, handle.index + 1)
    heap.keep(handle, this.#block.handle)
    const place = new DataView(new ArrayBuffer(OUTSIDE_BYTES))
    place.setInt32(0, handle.index, true)
    place.setInt32(4, handle.generation, true)
    place.setFloat64(8, byteLength, true)
    this.#writeFrame(ring, new Uint8Array(place.buffer), FRAME_MARK.outside)
    writer.puts = (writer.puts + 1) | 0
    writer.lastIndex = handle.index + 1
    writer.lastGeneration = handle.generation
    writer.outsideKiB = (writer.outsideKiB + outsideKiB(byteLength)) | 0
    commitWriter(heap.words, base, writer)
    Atomics.store(heap.words, limbo, 0)
    segment.release()
  }

  /** Exchanges the ring for one of another size, with the writers' lock. False when a reader has stopped in it. */
  #moveRing(capacity: number): boolean {
    const { heap, base } = this
    const { words } = heap
    const writer = this.#writer
    const acquired = this.#readerLock.acquire(LOCK_MS)
    if (acquired === 'busy') return false
    try {
      if (acquired === 'recovered') this.#recoverReader()
      loadReader(words, base, this.#seenReader)
      const { tail } = this.#seenReader
      const used = (writer.head - tail) >>> 0
      const old = this.#currentRing(writer)
      if (used > old.capacity) throw damaged()
      if (used > capacity) return true
      // Readers that remember the ring look where it is now.
      Atomics.add(words, base + CHANNEL.takes, 2)
      const { memory } = this.handle
      if (memory !== undefined) {
        if (memory.byteLength < capacity) memory.grow(capacity)
        copyBetween(old, ringOver(memory, { index: 0, generation: 0, capacity }), tail, used)
        writer.capacity = capacity
        commitWriter(heap.words, base, writer)
        return true
      }
      const { ring, segment } = allocateRing(capacity)
      copyBetween(old, ring, tail, used)
      const oldHandle = { heap: heap.id, index: old.index, generation: old.generation }
      const oldSegment = attachSegment(oldHandle)
      const limbo = base + CHANNEL.limbo
      heap.words[limbo + 1] = ring.generation
      heap.words[limbo + 3] = old.generation
      Atomics.store(heap.words, limbo, ring.index + 1)
      Atomics.store(heap.words, limbo + 2, old.index + 1)
      heap.keep(segment.handle as BlockHandle, this.#block.handle)
      writer.ringIndex = ring.index
      writer.ringGeneration = ring.generation
      writer.capacity = capacity
      commitWriter(heap.words, base, writer)
      heap.unkeep(oldHandle, this.#block.handle)
      Atomics.store(heap.words, limbo, 0)
      Atomics.store(heap.words, limbo + 2, 0)
      oldSegment.release()
      segment.release()
      return true
    } finally {
      this.#readerLock.release()
    }
  }

  /** A writer was killed: segments that it was moving belong to the channel only if it had committed them. */
  #recoverWriter(): void {
    const { heap, base } = this
    const { words } = heap
    const writer = this.#writer
    for (const limbo of [base + CHANNEL.limbo, base + CHANNEL.limbo + 2]) {
      const index = Atomics.load(words, limbo) - 1
      const generation = words[limbo + 1]!
      if (index < 0) continue
      const isRing = index === writer.ringIndex && generation === writer.ringGeneration
      const isLast = index + 1 === writer.lastIndex && generation === writer.lastGeneration
      if (!isRing && !isLast) heap.unkeep({ heap: heap.id, index, generation }, this.#block.handle)
      Atomics.store(words, limbo, 0)
    }
  }

  // ---- Reading ----

  /**
   * Takes up to `max` messages; none when there are none. Who has read them, or keeps them, says so: see `held-items.ts`.
   *
   * @param accept - sees each message before it is taken; when it throws, that one and those after it stay
   * @throws ProcessError `ERR_PROTOCOL` when the memory is damaged.
   */
  take(max: number, accept?: (bytes: Uint8Array) => void): Uint8Array[] | 'busy' {
    const { heap, base } = this
    const { words } = heap
    const acquired = this.#readerLock.acquire(LOCK_MS)
    if (acquired === 'busy') return 'busy'
    const reader = this.#reader
    const messages: Uint8Array[] = []
    let outside: OutsideItem | undefined
    const takes = Atomics.load(words, base + CHANNEL.takes)
    const isLastReader = acquired === 'acquired' && takes === this.#ownTakes
    this.#ownTakes = undefined
    try {
      if (!isLastReader) loadReader(words, base, reader)
      if (acquired === 'recovered') this.#recoverReader()
      const writer = this.#seenWriter
      let left = isLastReader ? (writer.head - reader.tail) >>> 0 : 0
      if (left === 0) {
        loadWriter(words, base, writer)
        left = (writer.head - reader.tail) >>> 0
      }
      if (left === 0) {
        this.#ownTakes = takes
        return messages
      }
      const ring = this.#currentRing(writer)
      if (left > ring.capacity || (left & 7) !== 0) throw damaged()
      while (left > 0 && messages.length < max && outside === undefined) {
        let next: { bytes: Uint8Array; size: number; outside: OutsideItem | undefined }
        try {
          next = this.#readFrame(ring, left, accept)
        } catch (error) {
          if (messages.length === 0) throw error
          break
        }
        outside = next.outside
        messages.push(next.bytes)
        reader.tail = (reader.tail + next.size) | 0
        reader.gets = (reader.gets + 1) | 0
        left -= next.size
      }
      if (outside !== undefined) {
        const { index, generation } = outside.segment.handle as BlockHandle
        reader.lastIndex = index + 1
        reader.lastGeneration = generation
        reader.outsideKiB = (reader.outsideKiB + outsideKiB(outside.byteLength)) | 0
      }
      if (messages.length > 0) this.#ownTakes = commitReader(words, base, reader)
      if (outside !== undefined) heap.unkeep(outside.segment.handle as BlockHandle, this.#block.handle)
    } finally {
      this.#readerLock.release()
    }
    if (outside !== undefined) {
      // It is this reader's alone now, who reads it where it is.
      holdUntilRead(messages.at(-1)!, outside.segment)
    }
    if (Atomics.load(words, base + CHANNEL.writersWaiting) > 0)
      heap.wake(base + CHANNEL.takes, messages.length)
    return messages
  }

  #readFrame(
    ring: Ring,
    left: number,
    accept: ((bytes: Uint8Array) => void) | undefined,
  ): { bytes: Uint8Array; size: number; outside: OutsideItem | undefined } {
    const { tail } = this.#reader
    const at = (tail & (ring.capacity - 1)) >>> 2
    const length = ring.words[at]!
    const mark = ring.words[at + 1]! ^ length
    const size = frameBytes(length)
    const isOutside = mark === FRAME_MARK.outside
    if (length < 0 || size > left || (mark !== FRAME_MARK.inside && !isOutside)) throw damaged()
    if (isOutside && length !== OUTSIDE_BYTES) throw damaged()
    const inside = readBytes(ring, tail + FRAME_HEADER_BYTES, length)
    const outside = isOutside ? this.#attachOutside(inside) : undefined
    const bytes =
      outside === undefined ? inside : new Uint8Array(outside.segment.buffer, 0, outside.byteLength)
    try {
      accept?.(bytes)
    } catch (error) {
      outside?.segment.release()
      throw error
    }
    return { bytes, size, outside }
  }

  #attachOutside(place: Uint8Array): OutsideItem {
    const view = new DataView(place.buffer, place.byteOffset, place.length)
    const byteLength = view.getFloat64(8, true)
    let segment: HeldSegment
    try {
      segment = attachItem(this.heap, view.getInt32(0, true), view.getInt32(4, true))
    } catch {
      throw damaged()
    }
    if (Number.isInteger(byteLength) && byteLength >= 0 && byteLength <= segment.buffer.byteLength)
      return { segment, byteLength }
    segment.release()
    throw damaged()
  }

  /** A reader was killed after it had taken a message, perhaps before the channel had let go of its segment. */
  #recoverReader(): void {
    const { heap, base } = this
    loadReader(heap.words, base, this.#seenReader)
    const { lastIndex, lastGeneration: generation } = this.#seenReader
    if (lastIndex > 0) heap.unkeep({ heap: heap.id, index: lastIndex - 1, generation }, this.#block.handle)
  }

  #currentRing(place: { ringIndex: number; ringGeneration: number; capacity: number }): Ring {
    const { ringIndex: index, ringGeneration: generation, capacity } = place
    const known = this.#ring
    if (known !== undefined && known.index === index && known.generation === generation) {
      if (known.capacity === capacity) return known
    }
    if (capacity < 64 || (capacity & (capacity - 1)) !== 0) throw damaged()
    const { memory } = this.handle
    try {
      this.#ring =
        memory === undefined
          ? viewRing(this.heap, { index, generation, capacity })
          : ringOver(memory, { index, generation, capacity })
    } catch {
      throw damaged()
    }
    return this.#ring
  }
}

function readBytes(ring: Ring, position: number, length: number): Uint8Array {
  const start = position & (ring.capacity - 1)
  if (start + length <= ring.capacity) return ring.bytes.slice(start, start + length)
  const bytes = new Uint8Array(length)
  const first = ring.capacity - start
  bytes.set(ring.bytes.subarray(start))
  bytes.set(ring.bytes.subarray(0, length - first), first)
  return bytes
}

/** At least 1, so that a channel with something outside is known by it. */
function outsideKiB(byteLength: number): number {
  return Math.ceil(byteLength / 1024) || 1
}

function shutDownError(): ClosedError {
  return new ClosedError(
    'Cannot put an item: the queue has been shut down\nTo fix: call shutdown() when nobody puts any more',
  )
}

function damaged(): ProcessError {
  return new ProcessError(
    'ERR_PROTOCOL',
    'Cannot use a queue or pipe: what is in its shared memory is no message\n' +
      'To fix: look for native code that writes where it should not, and make a new queue',
  )
}
