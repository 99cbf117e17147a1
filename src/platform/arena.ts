/**
 * Lends memory to large data on its way: it is copied into a segment once, only the handle travels, and the receiver
 * copies it out. The segments stay here and are used again, since fresh memory costs ten times as much as copying.
 * Invariant: a segment is written to only when nobody can read what was in it: see "Arena" in README.md.
 */
import { totalmem } from 'node:os'
import { ProcessError } from '../errors.ts'
import { keepFreedWhileReceiving } from './freed-memory.ts'
import { copyOfSegment, takeSegment } from './heap-segments.ts'
import { type BlockHandle, type HeldBlock, existingHeap, sharedHeap } from './shared-heap.ts'

/** What is lent takes at most this part of the memory; it would take as much in the messages themselves. */
const MEMORY_PART_MAX = 1 / 4
/** And no more than this, where there is very much. */
const LENT_BYTES_MAX = 4 * 2 ** 30
/** So much is kept for the next when nothing was lent for a while. */
const IDLE_BYTES_MAX = 64 << 20
const IDLE_MS = 2000
/** So many of those whose readers lag are asked for before another is made: one of them may go to a slow reader. */
const SEARCHED_MAX = 8

/** One segment of the arena. */
interface Place {
  block: HeldBlock
  readonly bytes: number
  /** How many `LentBytes` may have to be sent again. */
  pins: number
}

/** The places of one size. */
interface Shelf {
  /** Nobody here needs them any more, the last one last: its memory is in the processor's cache. */
  readonly free: Place[]
  /** Those lent longest ago first. */
  readonly lent: Place[]
  /** Nobody here needs these either, but a reader was not done with them; the one that has been here longest first. */
  readonly lagging: Place[]
}

/** By the number of bytes, as `roundedBytes()` gives it. */
const shelves = new Map<number, Shelf>()
let placesBytes = 0
let placesBytesMax: number | undefined
let trimTimer: NodeJS.Timeout | undefined
/** What was lent last of a buffer: an array that many calls are given is lent once, as long as it does not change. */
const lastOf = new WeakMap<
  ArrayBufferLike,
  { place: Place; handle: BlockHandle; byteOffset: number; byteLength: number }
>()
let forgotten: FinalizationRegistry<Place> | undefined

/** Large data in a segment of this process or thread. What it was copied from may change afterwards. */
export class LentBytes {
  readonly byteLength: number
  readonly handle: BlockHandle
  readonly #place: Place
  #isPinned = true

  constructor(place: Place, byteLength: number) {
    this.#place = place
    this.byteLength = byteLength
    this.handle = place.block.handle
    place.pins++
    forgotten ??= new FinalizationRegistry(unpin)
    forgotten.register(this, place, this)
  }

  /** Has the data stay until it was read, or `reader` is held by nobody, even when this process ends. */
  keepFor(reader: BlockHandle): void {
    sharedHeap().keep(this.handle, reader)
  }

  /** A copy in memory of its own, for who cannot be given the handle. */
  copy(): ArrayBuffer {
    return copyOfSegment(this.handle, this.byteLength)
  }

  /** The data will not be sent again. Who forgets it costs memory until this object is collected. */
  release(): void {
    if (!this.#isPinned) return
    this.#isPinned = false
    forgotten?.unregister(this)
    unpin(this.#place)
  }
}

function unpin(place: Place): void {
  place.pins--
  if (place.pins > 0) return
  const shelf = shelves.get(place.bytes)!
  const index = shelf.lent.indexOf(place)
  if (index < 0) return
  shelf.lent.splice(index, 1)
  shelf.free.push(place)
}

/**
 * Copies data into a segment; `undefined` where there is none: without the addon, or without more memory.
 *
 * @param isReadOften - whether it goes to more than one reader, or is sent again; else it is released when it was sent
 */
export function lend(data: Uint8Array, { isReadOften }: { isReadOften: boolean }): LentBytes | undefined {
  const heap = sharedHeap()
  if (!heap.isNative) return undefined
  if (isReadOften) {
    const again = lentAlready(data)
    if (again !== undefined) return again
  }
  const bytes = roundedBytes(data.length)
  const place = takePlace(bytes) ?? makePlace(bytes)
  if (place === undefined) return undefined
  heap.pages.put(place.block, data)
  shelfOf(bytes).lent.push(place)
  if (placesBytes > IDLE_BYTES_MAX) trimLater()
  if (isReadOften) {
    const { byteOffset, byteLength } = data
    lastOf.set(data.buffer, { place, handle: place.block.handle, byteOffset, byteLength })
  }
  return new LentBytes(place, data.length)
}

/**
 * The same data in the same buffer, if it is still lent. Only what is pinned counts: that is not given away before all
 * who send it are done. Comparing costs less than copying, since both are in the processor's cache.
 */
function lentAlready(data: Uint8Array): LentBytes | undefined {
  const last = lastOf.get(data.buffer)
  if (last === undefined || last.byteOffset !== data.byteOffset || last.byteLength !== data.length)
    return undefined
  const { place, handle } = last
  if (place.pins === 0 || place.block.handle !== handle) return undefined
  return sharedHeap().pages.matches(place.block, data) ? new LentBytes(place, data.length) : undefined
}

/**
 * The data that a handle names, in memory of its own. Its place may be used again from then on.
 *
 * @param reader - for whom it was kept
 * @throws {ClosedError} When it was not kept until it arrived here.
 */
export function takeLent(handle: BlockHandle, byteLength: number, reader?: BlockHandle): ArrayBuffer {
  keepFreedWhileReceiving()
  return copyOfSegment(handle, byteLength, () => {
    if (reader !== undefined) sharedHeap().unkeep(handle, reader)
  })
}

/** For who let go of `reader`: what was kept for it and never read goes back to the system. */
export function discardLentTo(reader: BlockHandle): void {
  existingHeap()?.discardKeptBy(reader)
}

// ---- Places ----

/** Four sizes for each power of two: a place is at most a fourth larger than what is in it. */
function roundedBytes(byteLength: number): number {
  const step = 2 ** Math.max(12, Math.floor(Math.log2(byteLength)) - 2)
  return Math.ceil(byteLength / step) * step
}

function shelfOf(bytes: number): Shelf {
  let shelf = shelves.get(bytes)
  if (shelf === undefined) shelves.set(bytes, (shelf = { free: [], lent: [], lagging: [] }))
  return shelf
}

function takePlace(bytes: number): Place | undefined {
  const { free, lagging } = shelfOf(bytes)
  for (let place = free.pop(); place !== undefined; place = free.pop()) {
    if (renew(place)) return place
    // A reader is not done with it, though nobody here waits for that one.
    lagging.push(place)
    if (lagging.length > SEARCHED_MAX) break
  }
  for (let index = 0; index < Math.min(lagging.length, SEARCHED_MAX); index++) {
    const place = lagging[index]!
    if (!renew(place)) continue
    lagging.splice(index, 1)
    return place
  }
  return undefined
}

function renew(place: Place): boolean {
  const block = place.pins > 0 ? undefined : sharedHeap().renew(place.block)
  if (block === undefined) return false
  place.block = block
  return true
}

function makePlace(bytes: number): Place | undefined {
  placesBytesMax ??= bytesMax()
  if (placesBytes + bytes > placesBytesMax) return undefined
  let block: HeldBlock
  try {
    block = takeSegment(bytes)
  } catch (error) {
    // The data then travels as it does without the addon.
    if (error instanceof ProcessError && error.code === 'ERR_LIMIT') return undefined
    throw error
  }
  sharedHeap().pages.populate(block)
  placesBytes += bytes
  return { block, bytes, pins: 0 }
}

function bytesMax(): number {
  // 0 or a number beyond all memory where there is no limit.
  const limit = process.constrainedMemory() || Infinity
  return Math.min(LENT_BYTES_MAX, Math.min(limit, totalmem()) * MEMORY_PART_MAX)
}

// ---- Giving memory back ----

function trimLater(): void {
  if (trimTimer === undefined) trimTimer = setTimeout(trim, IDLE_MS).unref()
}

/** Lets go of what has not been used for a while, beyond what is kept for the next. */
function trim(): void {
  trimTimer = undefined
  for (const { free, lagging } of shelves.values()) {
    for (const list of [lagging, free]) {
      for (let index = list.length - 1; index >= 0 && placesBytes > IDLE_BYTES_MAX; index--) {
        const place = list[index]!
        if (!renew(place)) continue
        list.splice(index, 1)
        placesBytes -= place.bytes
        sharedHeap().pages.discard(place.block)
        place.block.release()
      }
    }
  }
  if (placesBytes > IDLE_BYTES_MAX) trimLater()
}
