/**
 * Buffers that stand for shared memory and travel as a handle. A process or thread has one buffer for each piece of
 * memory, however often its handle arrives, and lets go of the memory when the buffer is collected, which is when no
 * view of it is left.
 */
import { randomInt } from 'node:crypto'
import { ClosedError, ProcessError } from '../errors.ts'
import { allocateSegment, attachSegment } from './heap-segments.ts'
import { carry } from './in-flight.ts'
import { type NamedMemory, mapNamedMemory, unmapNamedMemory } from './named-memory.ts'
import { nativeAddon } from './native-addon.ts'
import { type BlockHandle, sharedHeap } from './shared-heap.ts'

/** Names shared memory in a message. */
export type SharedBufferHandle =
  | { kind: 'segment'; block: BlockHandle; byteLength: number }
  /** Without the addon: the memory travels beside the message, to another thread. */
  | { kind: 'thread'; id: number; buffer: SharedArrayBuffer }
  | { kind: 'named'; name: string; byteLength: number }

interface Kept {
  /** `undefined` once the memory was closed. */
  handle: SharedBufferHandle | undefined
  /** Under which others find the buffer; `undefined` when it is its maker's own. */
  key: string | undefined
  weight: number
  letGo: (() => void) | undefined
}

/** The buffers that are here. */
const kept = new WeakMap<object, Kept>()
/** By what tells the memory apart from other memory that is here. An entry goes when the buffer has been collected. */
const known = new Map<string, WeakRef<ArrayBufferLike>>()
let collected: FinalizationRegistry<Kept> | undefined

/** New memory of zeros, of exactly so many bytes. */
export function allocateSharedBuffer(byteLength: number): ArrayBufferLike {
  const { buffer, handle, letGo } = allocate(byteLength, { isUnmapped: false })
  return keep(buffer, handle, letGo, { isFound: true })
}

/**
 * The buffer over the memory that a handle names.
 *
 * @throws {ClosedError} When it was not kept until it arrived here.
 */
export function openSharedBuffer(handle: SharedBufferHandle): ArrayBufferLike {
  let buffer = known.get(keyOf(handle))?.deref()
  if (buffer === undefined) {
    const opened = open(handle, { isUnmapped: false })
    buffer = keep(opened.buffer, handle, opened.letGo, { isFound: true })
  }
  if (handle.kind === 'segment') sharedHeap().noteArrived(handle.block)
  return buffer
}

// ---- Buffers that can be closed ----

/** A mapping that belongs to one object. */
export interface OwnMapping {
  readonly buffer: ArrayBufferLike
  /** Lets go of the memory, once. Views that are left read zeros with the addon; without it they keep the memory. */
  close(): void
}

/** New memory of zeros. */
export function allocateMapping(byteLength: number): OwnMapping {
  const { buffer, handle, letGo, release } = allocate(byteLength, { isUnmapped: true })
  return own(buffer, handle, letGo, release)
}

/** The memory of a buffer that arrived, mapped once more. */
export function mapAgain(buffer: ArrayBufferLike): OwnMapping {
  const handle = kept.get(buffer)?.handle
  if (handle === undefined) throw memoryClosed()
  const { buffer: again, letGo, release } = open(handle, { isUnmapped: true })
  return own(again, handle, letGo, release)
}

/** Memory of another thread that came without a handle; without the addon only. */
export function mapThreadMemory(buffer: SharedArrayBuffer): OwnMapping {
  const handle: SharedBufferHandle = { kind: 'thread', id: randomInt(2 ** 47), buffer }
  return own(buffer, handle, undefined, () => {})
}

/** Memory with a name. */
export function ownNamedMapping(memory: NamedMemory): OwnMapping {
  const { name, byteLength, buffer } = memory
  return own(buffer, { kind: 'named', name, byteLength }, undefined, () => unmapNamedMemory(memory))
}

function own(
  buffer: ArrayBufferLike,
  handle: SharedBufferHandle,
  letGo: (() => void) | undefined,
  release: () => void,
): OwnMapping {
  keep(buffer, handle, letGo, { isFound: false })
  return {
    buffer,
    close: () => {
      const entry = kept.get(buffer)!
      if (entry.handle === undefined) return
      entry.handle = undefined
      collected?.unregister(entry)
      if (entry.weight > 0) nativeAddon()?.weigh(-entry.weight)
      release()
    },
  }
}

// ---- Memory ----

interface Opened {
  buffer: ArrayBufferLike
  letGo: (() => void) | undefined
  release: () => void
}

function allocate(
  byteLength: number,
  options: { isUnmapped: boolean },
): Opened & { handle: SharedBufferHandle } {
  if (!sharedHeap().isNative) {
    const buffer = new SharedArrayBuffer(byteLength)
    return {
      buffer,
      handle: { kind: 'thread', id: randomInt(2 ** 47), buffer },
      letGo: undefined,
      release: () => {},
    }
  }
  const segment = allocateSegment(byteLength, { isZero: true, exactBytes: byteLength, ...options })
  return { ...segment, handle: { kind: 'segment', block: segment.handle as BlockHandle, byteLength } }
}

function open(handle: SharedBufferHandle, options: { isUnmapped: boolean }): Opened {
  if (handle.kind === 'segment')
    return attachSegment(handle.block, { exactBytes: handle.byteLength, ...options })
  if (handle.kind === 'thread') return { buffer: handle.buffer, letGo: undefined, release: () => {} }
  const memory = mapNamedMemory(handle.name, { byteLength: handle.byteLength })
  return { buffer: memory.buffer, letGo: undefined, release: () => unmapNamedMemory(memory) }
}

function keyOf(handle: SharedBufferHandle): string {
  if (handle.kind === 'thread') return `thread ${handle.id}`
  if (handle.kind === 'named') return `named ${handle.byteLength} ${handle.name}`
  const { heap, index, generation } = handle.block
  return `segment ${heap} ${index} ${generation} ${handle.byteLength}`
}

function keep(
  buffer: ArrayBufferLike,
  handle: SharedBufferHandle,
  letGo: (() => void) | undefined,
  { isFound }: { isFound: boolean },
): ArrayBufferLike {
  // V8 counts what an ArrayBuffer keeps, and collects it in time; of a SharedArrayBuffer it has to be told.
  const isWeighed = handle.kind !== 'thread' && buffer instanceof SharedArrayBuffer
  const weight = isWeighed ? buffer.byteLength : 0
  if (isWeighed) nativeAddon()?.weigh(weight)
  const key = isFound ? keyOf(handle) : undefined
  if (key !== undefined) known.set(key, new WeakRef(buffer))
  kept.set(buffer, { handle, key, weight, letGo })
  collected ??= new FinalizationRegistry(forget)
  // What is registered must not lead to the buffer, which a handle for threads does.
  const rest: Kept = { handle: undefined, key, weight, letGo }
  collected.register(buffer, rest, kept.get(buffer))
  return buffer
}

function forget({ key, weight, letGo }: Kept): void {
  // The same memory may have arrived again after the buffer was found dead.
  if (key !== undefined && known.get(key)?.deref() === undefined) known.delete(key)
  if (weight > 0) nativeAddon()?.weigh(-weight)
  letGo?.()
}

// ---- Handles of buffers ----

/** Whether views of the buffer travel as a handle. */
export function isSharedBuffer(buffer: ArrayBufferLike): boolean {
  return kept.has(buffer)
}

/**
 * What is sent in the place of a buffer; `undefined` for an ordinary one. The message that is being written keeps the
 * memory until it has arrived.
 *
 * @param isSameProcess - whether the message is for a thread of this process
 * @throws ProcessError `ERR_NOT_SUPPORTED` when only threads can be given it; ClosedError when it was closed.
 */
export function handleToSend(
  buffer: ArrayBufferLike,
  { isSameProcess }: { isSameProcess: boolean },
): SharedBufferHandle | undefined {
  const entry = kept.get(buffer)
  if (entry === undefined) return undefined
  const { handle } = entry
  if (handle === undefined) throw memoryClosed()
  if (handle.kind === 'thread' && !isSameProcess)
    throw onlyForThreads('send shared memory to another process')
  if (handle.kind === 'segment') carry(buffer, handle.block)
  return handle
}

function memoryClosed(): ClosedError {
  return new ClosedError('Cannot send shared memory: it is closed\nTo fix: send it before close()')
}

/** What cannot be done without the addon. */
export function onlyForThreads(action: string): ProcessError {
  return new ProcessError(
    'ERR_NOT_SUPPORTED',
    `Cannot ${action}: without the native addon, memory is shared with threads only\n` +
      'To fix: use threads (the option context: "thread"), or install multiproc where its addon loads ("multiproc doctor" tells why it does not)',
  )
}
