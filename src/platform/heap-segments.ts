/**
 * Segments: larger pieces of memory that processes share, mapped where they are used. A segment keeps its place in the
 * heap for ever; when nobody holds it any more, the next one of its size gets the place, and memory that the system
 * has provided already (fresh memory costs ten times as much as copying into it). See "Segments" in README.md.
 */
import { totalmem } from 'node:os'
import { getSystemErrorName } from 'node:util'
import { ProcessError } from '../errors.ts'
import { PAGE_BYTES, SEGMENT, SEGMENT_KIND } from './heap-layout.ts'
import { type BlockHandle, type HeldBlock, type SharedHeap, sharedHeap } from './shared-heap.ts'

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
}

export interface SegmentOptions {
  /** Whether it must read zeros; otherwise it has what its last user left. */
  isZero?: boolean
  /** Whether the system provides the memory only as it is used; a system that has none left then ends the process. */
  isLazy?: boolean
  /** Whether `release()` takes the mapping away, so that views which are left read zeros. */
  isUnmapped?: boolean
}

/** The largest segment has 2 to the power of this many pages: 128 GiB. */
const SIZE_MAX = 25
/** Free segments keep their memory up to this for each process or thread that let them go. */
const WARM_BYTES_MAX = 64 << 20
/** Mappings are kept to be used again, up to this. */
const MAPPED_BYTES_MAX = 512 << 20

/**
 * Takes a segment of at least `byteLength` bytes.
 *
 * @throws {ProcessError} `ERR_LIMIT` When the system has not as much memory to give.
 */
export function allocateSegment(byteLength: number, options: SegmentOptions = {}): HeldSegment {
  const heap = sharedHeap()
  if (!heap.isNative) return portableSegment(new SharedArrayBuffer(byteLength))
  const pages = Math.max(1, Math.ceil(byteLength / PAGE_BYTES))
  const size = Math.ceil(Math.log2(pages))
  if (size > SIZE_MAX || byteLength > totalmem())
    throw noMemory(byteLength, 'it is more than this machine has')
  const block = takeWarm(heap, size) ?? takeAny(heap, size) ?? create(heap, size)
  const error = heap.providePages(block, pages, options)
  if (error !== 0) {
    heap.discardPages(block)
    block.release()
    throw noMemory(byteLength, getSystemErrorName(-error))
  }
  const { words } = heap
  const segment = held(heap, block, options)
  if (options.isZero === true && words[block.base + SEGMENT.isUsed] === 1) {
    new Uint8Array(segment.buffer, 0, byteLength).fill(0)
  }
  words[block.base + SEGMENT.isUsed] = 1
  return segment
}

/**
 * Holds a segment that another process or thread has.
 *
 * @throws {ClosedError} When it was not kept until it arrived here.
 */
export function attachSegment(handle: SegmentHandle, options: SegmentOptions = {}): HeldSegment {
  if ('buffer' in handle) return portableSegment(handle.buffer)
  const heap = sharedHeap()
  return held(heap, heap.attach(handle, SEGMENT_KIND), options)
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

function portableSegment(buffer: SharedArrayBuffer): HeldSegment {
  let isHeld = true
  return {
    handle: { buffer },
    buffer,
    get isHeld() {
      return isHeld
    },
    release: () => {
      isHeld = false
    },
  }
}

function held(heap: SharedHeap, block: HeldBlock, { isUnmapped = false }: SegmentOptions): HeldSegment {
  const buffer = isUnmapped ? mapPagesOf(heap, block) : mappingOf(heap, block)
  let isHeld = true
  return {
    handle: block.handle,
    buffer,
    get isHeld() {
      return isHeld
    },
    release: () => {
      if (!isHeld) return
      isHeld = false
      if (isUnmapped) heap.unmap(buffer)
      letGo(heap, block)
    },
  }
}

// ---- Places ----

/** Segments that this process or thread let go of with their memory, by size, the last one last. */
const warm = new Map<number, { index: number; bytes: number }[]>()
let warmBytes = 0

function takeWarm(heap: SharedHeap, size: number): HeldBlock | undefined {
  const list = warm.get(size)
  for (let place = list?.pop(); place !== undefined; place = list?.pop()) {
    warmBytes -= place.bytes
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
  const firstPage = heap.takePages(2 ** size)
  if (firstPage === undefined) throw noMemory(PAGE_BYTES * 2 ** size, 'all addresses of the heap are in use')
  const block = heap.allocate(SEGMENT_KIND)
  heap.words[block.base + SEGMENT.size] = size
  heap.words[block.base + SEGMENT.firstPage] = firstPage
  return block
}

function letGo(heap: SharedHeap, block: HeldBlock): void {
  // Two that let go at the same time may both see the other: then the memory stays with the free segment.
  if (heap.isOnlyHeldHere(block)) {
    const size = heap.words[block.base + SEGMENT.size]!
    const bytes = heap.words[block.base + SEGMENT.providedPages]! * PAGE_BYTES
    if (warmBytes + bytes > WARM_BYTES_MAX) heap.discardPages(block)
    else {
      warmBytes += bytes
      if (!warm.has(size)) warm.set(size, [])
      warm.get(size)!.push({ index: block.handle.index, bytes })
    }
  }
  block.release()
}

// ---- Mappings ----

/** By the index of the block, the one used last at the end: a segment has its place for ever. */
const mappings = new Map<number, ArrayBufferLike>()
let mappedBytes = 0

function mapPagesOf(heap: SharedHeap, { base }: HeldBlock): ArrayBufferLike {
  return heap.mapPages(heap.words[base + SEGMENT.firstPage]!, 2 ** heap.words[base + SEGMENT.size]!)
}

function mappingOf(heap: SharedHeap, block: HeldBlock): ArrayBufferLike {
  return mapping(block.handle.index, () => mapPagesOf(heap, block))
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

function noMemory(byteLength: number, reason: string): ProcessError {
  return new ProcessError(
    'ERR_LIMIT',
    `Cannot make shared memory of ${byteLength} bytes: ${reason}\n` +
      'To fix: make it smaller, let go of shared memory that is no longer needed, or give the container more memory',
  )
}
