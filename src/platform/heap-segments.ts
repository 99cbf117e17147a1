/**
 * Segments: larger pieces of memory that processes share, mapped where they are used. A segment keeps its place in the
 * heap for ever; when nobody holds it any more, the next one of its size gets the place, and memory that the system
 * has provided already (fresh memory costs ten times as much as copying into it). See "Segments" in README.md.
 */
import { constants, freemem, totalmem } from 'node:os'
import { ProcessError } from '../errors.ts'
import { PAGE_BYTES, SEGMENT, SEGMENT_KIND, WARM_BYTES_MAX } from './heap-layout.ts'
import { type BlockHandle, type HeldBlock, type SharedHeap, sharedHeap } from './shared-heap.ts'
import { systemError } from './system-error.ts'

/** Names a segment in a message. Without the addon it is the memory itself, which only threads can be given. */
export type SegmentHandle = BlockHandle | { buffer: SharedArrayBuffer }

/** A piece of shared memory that this process or thread holds. */
export interface HeldSegment {
  readonly handle: SegmentHandle
  /** Maps at least as many bytes as were asked for. */
  readonly buffer: ArrayBufferLike
  /** Whether it was not released yet. */
  readonly isHeld: boolean
  /** Lets go of it, once. Nobody may use `buffer` afterwards: the memory can belong to others then. */
  release(): void
  /** The same, for when the buffer has been collected: it does not keep it, and leaves the mapping. */
  readonly letGo: () => boolean
}

export interface SegmentOptions {
  /** Whether it must read zeros; otherwise it has what its last user left. */
  isZero?: boolean
  /** Whether the system provides the memory only as it is used; a system that has none left then ends the process. */
  isLazy?: boolean
  /**
   * Whether `release()` takes the mapping away, so that views which are left read zeros. On Windows, where that cannot
   * be done, they keep the memory until they are collected.
   */
  isUnmapped?: boolean
  /**
   * Maps exactly so many bytes, in a buffer of its own that ends with the last view of it. It may be collected while
   * the segment is held.
   */
  exactBytes?: number
}

/** The largest segment has 2 to the power of this many pages: 128 GiB. */
const SIZE_MAX = 25
/** Mappings are kept to be used again, up to this. */
const MAPPED_BYTES_MAX = 512 << 20
/** Segments that only handles on their way keep are looked through when more memory is taken, at most this often. */
const LOOK_THROUGH_MS = 1000
/** Above this, those whose handles are overdue are taken for lost. */
const IN_FLIGHT_BYTES_MAX = 256 << 20
/** For smaller pieces the system is not asked beforehand how much it has. */
const ASKED_BYTES_MIN = 64 << 20

/**
 * Takes a segment of at least `byteLength` bytes.
 *
 * @throws {ProcessError} `ERR_LIMIT` When the system has not as much memory to give.
 */
export function allocateSegment(byteLength: number, options: SegmentOptions = {}): HeldSegment {
  const heap = sharedHeap()
  if (!heap.isNative) return portableSegment(new SharedArrayBuffer(byteLength))
  const block = takeSegment(byteLength, options)
  const { words } = heap
  const segment = held(heap, block, options)
  if (options.isZero === true && words[block.base + SEGMENT.isUsed] === 1) {
    new Uint8Array(segment.buffer, 0, byteLength).fill(0)
  }
  words[block.base + SEGMENT.isUsed] = 1
  return segment
}

/**
 * A segment of at least `byteLength` bytes, provided by the system, that is not mapped here: for who copies into it.
 * Only with the addon. Who releases it discards its pages first, unless it is to be used again as it is.
 *
 * @throws {ProcessError} `ERR_LIMIT` When the system has not as much memory to give.
 */
export function takeSegment(byteLength: number, options: SegmentOptions = {}): HeldBlock {
  const heap = sharedHeap()
  const pages = Math.max(1, Math.ceil(byteLength / PAGE_BYTES))
  const size = Math.ceil(Math.log2(pages))
  if (size > SIZE_MAX || byteLength > totalmem())
    throw noMemory(byteLength, 'it is more than this machine has')
  const block = takeWarm(heap, size) ?? takeAny(heap, size) ?? create(heap, size)
  const error = providePages(heap, block, pages, options)
  if (error !== undefined) {
    heap.pages.discard(block)
    block.release()
    throw noMemory(byteLength, 'the system has no more to give', error)
  }
  return block
}

/**
 * Holds a segment that another process or thread has.
 *
 * @throws {ClosedError} When it was not kept until it arrived here.
 */
export function attachSegment(handle: SegmentHandle, options: SegmentOptions = {}): HeldSegment {
  if ('buffer' in handle) return portableSegment(handle.buffer)
  const heap = sharedHeap()
  const block = heap.attach(handle, SEGMENT_KIND)
  const bytes = 2 ** heap.words[block.base + SEGMENT.size]! * PAGE_BYTES
  if (options.exactBytes === undefined || options.exactBytes <= bytes) return held(heap, block, options)
  block.release()
  throw tooShort(bytes, options.exactBytes)
}

function tooShort(bytes: number, expectedBytes: number): ProcessError {
  return new ProcessError(
    'ERR_PROTOCOL',
    `Cannot use shared memory that arrived here: it has ${bytes} bytes, and not ${expectedBytes}\n` +
      'To fix: use the same version of multiproc in parent and child',
  )
}

/** Has the system provide the first pages of a segment; its error when it has not as many. */
function providePages(
  heap: SharedHeap,
  block: HeldBlock,
  pages: number,
  options: SegmentOptions,
): Error | undefined {
  const fresh = pages - heap.words[block.base + SEGMENT.providedPages]!
  if (fresh <= 0) return undefined
  reclaimLost(heap)
  const provide = (): Error | undefined => {
    // Where memory is only short, the system ends processes rather than refuse it.
    if (fresh * PAGE_BYTES >= ASKED_BYTES_MIN && fresh * PAGE_BYTES > availableBytes())
      return systemError('fallocate', constants.errno.ENOMEM)
    const error = heap.pages.provide(block, pages, options)
    return error === 0 ? undefined : systemError('fallocate', error)
  }
  if (provide() === undefined) return undefined
  reclaimLost(heap, { isShort: true })
  return provide()
}

/** What the system can give without taking it from others, within the limit of the container. */
function availableBytes(): number {
  // In Node.js from 20.13 on.
  const { availableMemory } = process as { availableMemory?: () => number }
  return availableMemory?.() ?? freemem()
}

let lookedThroughAtMs = -Infinity

/**
 * Gives memory back whose handles were sent and never arrived: their receiver was killed, or the message dropped.
 * As long as there is room for it, it is kept, in case that they are still on their way.
 */
function reclaimLost(heap: SharedHeap, { isShort = false } = {}): void {
  const nowMs = performance.now()
  if (!isShort && nowMs - lookedThroughAtMs < LOOK_THROUGH_MS) return
  lookedThroughAtMs = nowMs
  const found = heap.inFlightOnly(SEGMENT_KIND)
  const pages = found.reduce((sum, { base }) => sum + heap.words[base + SEGMENT.providedPages]!, 0)
  if (!isShort && pages * PAGE_BYTES <= IN_FLIGHT_BYTES_MAX) return
  for (const { index } of found) discard(heap, heap.takeFree(index, SEGMENT_KIND, { isOverdue: true }))
}

/** The memory of a segment that was free goes back to the system. */
function discard(heap: SharedHeap, block: HeldBlock | undefined): void {
  if (block === undefined) return
  heap.pages.discard(block)
  block.release()
}

/**
 * The memory of a segment that another block keeps (see `SharedHeap.keep`) and that this process or thread does not
 * hold: whoever calls it knows that it is kept, for as long as it uses the memory. Only with the addon.
 */
export function viewSegment(handle: BlockHandle): ArrayBufferLike {
  const heap = sharedHeap()
  const segment = heap.attach(handle, SEGMENT_KIND)
  try {
    return mappingOf(heap, segment)
  } finally {
    segment.release()
  }
}

/**
 * The first bytes of a segment that its owner has lent, in memory of their own. It stays the owner's, however many read
 * it. Only with the addon.
 *
 * @param whenRead - called while the segment is held
 * @throws {ClosedError} When it was not kept until it arrived here.
 */
export function copyOfSegment(handle: BlockHandle, byteLength: number, whenRead?: () => void): ArrayBuffer {
  const heap = sharedHeap()
  const block = heap.attach(handle, SEGMENT_KIND)
  try {
    const bytes = heap.words[block.base + SEGMENT.providedPages]! * PAGE_BYTES
    if (byteLength > bytes) throw tooShort(bytes, byteLength)
    // Not zeroed first, and never of Node's pool.
    const { buffer } = Buffer.allocUnsafeSlow(byteLength)
    heap.pages.take(block, new Uint8Array(buffer))
    whenRead?.()
    return buffer
  } finally {
    block.release()
    // Its owner has ended meanwhile if nobody has it now.
    heap.discardIfFree(handle)
  }
}

function portableSegment(buffer: SharedArrayBuffer): HeldSegment {
  let isHeld = true
  return {
    handle: { buffer },
    buffer,
    get isHeld() {
      return isHeld
    },
    letGo: () => false,
    release: () => {
      isHeld = false
    },
  }
}

function held(heap: SharedHeap, block: HeldBlock, options: SegmentOptions): HeldSegment {
  const { isUnmapped = false, exactBytes } = options
  const bytes = exactBytes ?? 2 ** heap.words[block.base + SEGMENT.size]! * PAGE_BYTES
  let buffer: ArrayBufferLike
  try {
    buffer = isUnmapped || exactBytes !== undefined ? mapFrom(heap, block, bytes) : mappingOf(heap, block)
  } catch (cause) {
    block.release()
    throw noMemory(bytes, 'the process has no addresses for it', cause)
  }
  const letGo = lettingGo(heap, block)
  return {
    handle: block.handle,
    buffer,
    get isHeld() {
      return letGo.isHeld
    },
    letGo,
    release: () => {
      if (!letGo.isHeld) return
      // Where a mapping cannot be emptied, the memory is nobody else's as long as a view of it may be left.
      if (!isUnmapped || heap.pages.unmap(buffer)) letGo()
      else (collected ??= new FinalizationRegistry(last => last())).register(buffer, letGo)
    },
  }
}

/** Segments that were released while views of them could not be emptied; for Windows. */
let collected: FinalizationRegistry<() => boolean> | undefined

/** A function of its own, because functions that are made in one place keep each other's variables. */
function lettingGo(heap: SharedHeap, block: HeldBlock): (() => boolean) & { isHeld: boolean } {
  const letGo = (): boolean => {
    if (!letGo.isHeld) return false
    letGo.isHeld = false
    giveUp(heap, block)
    return true
  }
  letGo.isHeld = true
  return letGo
}

// ---- Places ----

/** Segments that this process or thread let go of with their memory, by size, the last one last. */
const warm = new Map<number, { index: number; bytes: number }[]>()
/** Those in the lists. Others may take one meanwhile and leave it to be let go of here again. */
const warmIndexes = new Set<number>()
let warmBytes = 0

function takeWarm(heap: SharedHeap, size: number): HeldBlock | undefined {
  const list = warm.get(size)
  for (let place = list?.pop(); place !== undefined; place = list?.pop()) {
    warmBytes -= place.bytes
    warmIndexes.delete(place.index)
    const block = heap.takeFree(place.index, SEGMENT_KIND)
    if (block !== undefined) return block
  }
  return undefined
}

function takeAny(heap: SharedHeap, size: number): HeldBlock | undefined {
  const { words } = heap
  return heap.findFree(
    SEGMENT_KIND,
    base => words[base + SEGMENT.size] === size && words[base + SEGMENT.firstPage] !== 0,
  )
}

function create(heap: SharedHeap, size: number): HeldBlock {
  const firstPage = heap.pages.setAside(2 ** size)
  if (firstPage === undefined) throw noMemory(PAGE_BYTES * 2 ** size, 'all addresses of the heap are in use')
  const block = heap.allocate(SEGMENT_KIND)
  heap.words[block.base + SEGMENT.size] = size
  heap.words[block.base + SEGMENT.firstPage] = firstPage
  return block
}

function giveUp(heap: SharedHeap, block: HeldBlock): void {
  const { index } = block.handle
  const size = heap.words[block.base + SEGMENT.size]!
  const bytes = heap.words[block.base + SEGMENT.providedPages]! * PAGE_BYTES
  block.release()
  if (!heap.isFree(block.handle)) return
  // Somebody may attach to it meanwhile: only who has taken it anew may throw its contents away.
  if (warmIndexes.has(index)) return
  if (warmBytes + bytes > WARM_BYTES_MAX) discard(heap, heap.takeFree(index, SEGMENT_KIND))
  else {
    warmBytes += bytes
    warmIndexes.add(index)
    if (!warm.has(size)) warm.set(size, [])
    warm.get(size)!.push({ index, bytes })
  }
}

// ---- Mappings ----

/** By the index of the block, the one used last at the end: a segment has its place for ever. */
const mappings = new Map<number, ArrayBufferLike>()
let mappedBytes = 0

function mapFrom(heap: SharedHeap, { base }: HeldBlock, byteLength: number): ArrayBufferLike {
  return heap.pages.mapFrom(heap.words[base + SEGMENT.firstPage]!, byteLength)
}

function mappingOf(heap: SharedHeap, block: HeldBlock): ArrayBufferLike {
  const bytes = 2 ** heap.words[block.base + SEGMENT.size]! * PAGE_BYTES
  return mapping(block.handle.index, () => mapFrom(heap, block, bytes))
}

function mapping(index: number, map: () => ArrayBufferLike): ArrayBufferLike {
  const known = mappings.get(index)
  const buffer = known ?? map()
  mappings.delete(index)
  mappings.set(index, buffer)
  if (known === undefined) mappedBytes += buffer.byteLength
  for (const [oldest, { byteLength }] of mappings) {
    if (mappedBytes <= MAPPED_BYTES_MAX || oldest === index) break
    // Who still uses it has it; it is unmapped when nobody does.
    mappings.delete(oldest)
    mappedBytes -= byteLength
  }
  return buffer
}

export function noMemory(byteLength: number, reason: string, cause?: unknown): ProcessError {
  return new ProcessError(
    'ERR_LIMIT',
    `Cannot make shared memory of ${byteLength} bytes: ${reason}\n` +
      'To fix: make it smaller, let go of shared memory that is no longer needed, or give the container more memory',
    { cause },
  )
}
