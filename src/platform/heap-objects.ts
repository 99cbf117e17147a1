/**
 * Objects that stand for a block of the shared heap: locks, queues, ends of pipes, shared arrays. A process or thread
 * has one object for each block, however often its handle arrives, and lets go of the block when that object is
 * collected.
 */
import { ClosedError, ProcessError } from '../errors.ts'
import { carry } from './in-flight.ts'
import {
  type BlockHandle,
  type BlockKind,
  type HeldBlock,
  type SharedHeap,
  sharedHeap,
} from './shared-heap.ts'

/** What an object holds on to: its block first, then those that it took later. All are released with the object. */
export type HeldBlocks = [main: HeldBlock, ...more: HeldBlock[]]

/** What `openBlock()` gives to the constructor of an object. */
export interface OpenedBlock {
  readonly heap: SharedHeap
  /** The object may add further blocks to it. */
  readonly blocks: HeldBlocks
  /** Whether the block is fresh and all zeros; otherwise another object somewhere has filled it. */
  readonly isNew: boolean
}

interface KnownObject {
  readonly kind: BlockKind
  readonly generation: number
  readonly object: WeakRef<object>
}

/** What is left of an object that has been collected, or is not used any more. */
interface Remains {
  readonly heap: SharedHeap
  readonly handle: BlockHandle
  /** Must not refer to the object. */
  release(): void
}

const remainsOf = new WeakMap<object, Remains>()
const blocksOf = new WeakMap<object, HeldBlocks>()
/** Of each member in this thread, by the index of the block. An entry goes when its object has been collected. */
const knownTo = new WeakMap<SharedHeap, Map<number, KnownObject>>()
/** The block for the object that is being made by `objectFor()`. */
let arriving: HeldBlock | undefined
let collected: FinalizationRegistry<Remains> | undefined
let holdsCollected: FinalizationRegistry<() => void> | undefined

/** Called by the constructor of an object: its block, a fresh one unless the object is made for a handle. */
export function openBlock(object: object, kind: BlockKind): OpenedBlock {
  const heap = sharedHeap()
  const main = arriving ?? heap.allocate(kind)
  const isNew = arriving === undefined
  arriving = undefined
  const blocks: HeldBlocks = [main]
  blocksOf.set(object, blocks)
  standFor(object, kind, {
    heap,
    handle: main.handle,
    release: () => {
      for (const block of blocks) block.release()
    },
  })
  return { heap, blocks, isNew }
}

/**
 * For an object that holds its block by other means: the handle means this object from now on. When it is collected,
 * `release()` is called.
 */
export function standFor(object: object, kind: BlockKind, remains: Remains): void {
  const { heap, handle } = remains
  collected ??= new FinalizationRegistry(letGo)
  collected.register(object, remains, object)
  remainsOf.set(object, remains)
  const { index, generation } = handle
  knownIn(heap).set(index, { kind, generation, object: new WeakRef(object) })
}

/** Undoes it for one that is closed: the handle means another object from now on, and nothing is released. */
export function standNoMore(object: object): void {
  const remains = remainsOf.get(object)
  if (remains === undefined) return
  remainsOf.delete(object)
  collected?.unregister(object)
  const { heap, handle } = remains
  if (knownIn(heap).get(handle.index)?.object.deref() === object) knownIn(heap).delete(handle.index)
}

/**
 * What stands in messages for a block whose object can be closed: for as long as the bytes of one are here, because
 * they wait or may be sent again, what it holds stays held. `release` is called when nobody has it any more.
 */
export function holdForMessages(release: () => void): object {
  const hold = {}
  holdsCollected ??= new FinalizationRegistry(action => action())
  holdsCollected.register(hold, release)
  return hold
}

function knownIn(heap: SharedHeap): Map<number, KnownObject> {
  let known = knownTo.get(heap)
  if (known === undefined) knownTo.set(heap, (known = new Map()))
  return known
}

function letGo({ heap, handle, release }: Remains): void {
  const known = knownIn(heap)
  if (known.get(handle.index)?.object.deref() === undefined) known.delete(handle.index)
  release()
}

/**
 * Lets go of an object's blocks without waiting until it is collected, for who knows that nobody uses it any more. The
 * handle means another object from now on.
 *
 * @returns the handles of the blocks
 */
export function letGoNow(object: object): BlockHandle[] {
  const remains = remainsOf.get(object)
  if (remains === undefined) return []
  standNoMore(object)
  remains.release()
  return blocksOf.get(object)?.map(({ handle }) => handle) ?? [remains.handle]
}

/**
 * The handle of an object's block, to be sent in its place. The message that is being written keeps the block until it
 * has arrived.
 *
 * @throws ClosedError for what the constructor of its class has not made.
 */
export function handleOf(object: object): BlockHandle {
  const handle = remainsOf.get(object)?.handle
  if (handle === undefined) {
    throw new ClosedError(
      `Cannot send a ${object.constructor.name}: it was not made by its constructor\n` +
        `To fix: make it with new ${object.constructor.name}()`,
    )
  }
  carry(object, handle)
  return handle
}

/** The number of an object's block: the same in all processes, for people who want to know which one it is. */
export function blockNumberOf(object: object): number | undefined {
  return remainsOf.get(object)?.handle.index
}

/** Whether an object stands for a block already. */
export function hasBlock(object: object): boolean {
  return remainsOf.has(object)
}

/** The object for a handle, if it is here. */
export function knownObject({ heap, index, generation }: BlockHandle, kind?: BlockKind): object | undefined {
  const own = sharedHeap()
  const here = knownIn(own).get(index)
  if (own.id !== heap || here?.generation !== generation) return undefined
  return kind === undefined || here.kind === kind ? here.object.deref() : undefined
}

/** Whether the object for a handle is here. */
export function isKnown(handle: BlockHandle): boolean {
  return knownObject(handle) !== undefined
}

/** The object for a handle that arrived: the one that is here already, or what `make` constructs. */
export function objectFor<T extends object>(handle: unknown, kind: BlockKind, make: () => T): T {
  assertHandle(handle)
  const heap = sharedHeap()
  const known = knownObject(handle, kind)
  if (known !== undefined) {
    heap.noteArrived(handle)
    return known as T
  }
  const block = heap.attach(handle, kind)
  heap.noteArrived(handle)
  arriving = block
  try {
    return make()
  } finally {
    if (arriving === block) block.release()
    arriving = undefined
  }
}

/** @throws ProcessError `ERR_NOT_DESERIALIZABLE` for what is no handle. */
export function assertHandle(value: unknown): asserts value is BlockHandle {
  const { heap, index, generation } = (value ?? {}) as Partial<BlockHandle>
  if ([heap, index, generation].every(field => Number.isSafeInteger(field))) return
  throw new ProcessError(
    'ERR_NOT_DESERIALIZABLE',
    'Cannot rebuild a shared object: what arrived is no handle\nTo fix: use the same version of multiproc on both sides',
  )
}
