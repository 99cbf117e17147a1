/**
 * Objects that stand for a block of the shared heap: locks, queues, shared arrays. A process or thread has one object
 * for each block, however often its handle arrives, and lets go of the block when that object is collected.
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
  readonly blocks: HeldBlocks
}

const remainsOf = new WeakMap<object, Remains>()
/** Of each member in this thread, by the index of the block. An entry goes when its object has been collected. */
const knownTo = new WeakMap<SharedHeap, Map<number, KnownObject>>()
/** The block for the object that is being made by `objectFor()`. */
let arriving: HeldBlock | undefined
let collected: FinalizationRegistry<Remains> | undefined

/** Called by the constructor of an object: its block, a fresh one unless the object is made for a handle. */
export function openBlock(object: object, kind: BlockKind): OpenedBlock {
  const heap = sharedHeap()
  const main = arriving ?? heap.allocate(kind)
  const isNew = arriving === undefined
  arriving = undefined
  const blocks: HeldBlocks = [main]
  collected ??= new FinalizationRegistry(letGo)
  const remains: Remains = { heap, blocks }
  collected.register(object, remains, object)
  remainsOf.set(object, remains)
  knownIn(heap).set(main.handle.index, {
    kind,
    generation: main.handle.generation,
    object: new WeakRef(object),
  })
  return { heap, blocks, isNew }
}

function knownIn(heap: SharedHeap): Map<number, KnownObject> {
  let known = knownTo.get(heap)
  if (known === undefined) knownTo.set(heap, (known = new Map()))
  return known
}

function letGo({ heap, blocks }: Remains): void {
  const { index } = blocks[0].handle
  const known = knownIn(heap)
  if (known.get(index)?.object.deref() === undefined) known.delete(index)
  for (const block of blocks) block.release()
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
  const { heap, blocks } = remains
  remainsOf.delete(object)
  collected?.unregister(object)
  const { index } = blocks[0].handle
  if (knownIn(heap).get(index)?.object.deref() === object) knownIn(heap).delete(index)
  for (const block of blocks) block.release()
  return blocks.map(({ handle }) => handle)
}

/**
 * The handle of an object's block, to be sent in its place. The message that is being written keeps the block until it
 * has arrived.
 *
 * @throws ClosedError for what the constructor of its class has not made.
 */
export function handleOf(object: object): BlockHandle {
  const blocks = remainsOf.get(object)?.blocks
  if (blocks === undefined) {
    throw new ClosedError(
      `Cannot send a ${object.constructor.name}: it was not made by its constructor\n` +
        `To fix: make it with new ${object.constructor.name}()`,
    )
  }
  carry(object, blocks[0].handle)
  return blocks[0].handle
}

/** Whether an object stands for a block already. */
export function hasBlock(object: object): boolean {
  return remainsOf.has(object)
}

/** Whether the object for a handle is here. */
export function isKnown({ heap, index, generation }: BlockHandle): boolean {
  const own = sharedHeap()
  const here = knownIn(own).get(index)
  return own.id === heap && here?.generation === generation && here.object.deref() !== undefined
}

/** The object for a handle that arrived: the one that is here already, or what `make` constructs. */
export function objectFor<T extends object>(handle: unknown, kind: BlockKind, make: () => T): T {
  assertHandle(handle)
  const heap = sharedHeap()
  const here = knownIn(heap).get(handle.index)
  if (here?.kind === kind && here.generation === handle.generation && handle.heap === heap.id) {
    const object = here.object.deref()
    if (object !== undefined) {
      heap.noteArrived(handle)
      return object as T
    }
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
