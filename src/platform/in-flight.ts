/**
 * Keeps what a message refers to while it is on its way. A handle does not hold its block, and who sent it may let go
 * of the block before it has arrived. So the codec counts, once a message is complete, the handles in it; and as long
 * as the bytes of the message are kept here, because they wait to be sent or may be sent again, the objects are too.
 * What is no block (an open descriptor) is kept by a lease, which the message lets go of once.
 */
import { type BlockHandle, sharedHeap } from './shared-heap.ts'

/** Something that is kept for one message, until `release()` or, when it has one reader, until that one has it. */
export interface Lease {
  /** Whether the message may have several readers, so that only its end here is the end of the lease. */
  readonly isReadOften: boolean
  release(): void
}

/** What the message that is being written carries. */
interface Cargo {
  /** The objects that hold blocks, and how their handles are counted. */
  readonly blocks: Map<object, BlockHandle | (() => void)>
  /** By the object that is sent. */
  leases: Map<object, Lease> | undefined
}

/** `undefined` while no message is being written, `null` as long as the one that is carries nothing. */
let cargo: Cargo | null | undefined
/** The objects that hold the blocks in a message, with how the handles were counted. */
const cargoOfBytes = new WeakMap<object, ReadonlyMap<object, BlockHandle | (() => void)>>()
const leasesOfBytes = new WeakMap<object, readonly Lease[]>()
let collected: FinalizationRegistry<readonly Lease[]> | undefined

/**
 * Notes that the message which is being written carries the handle of a block that `keeper` holds. For a block of
 * another process: what has it counted there.
 */
export function carry(keeper: object, handle: BlockHandle | (() => void)): void {
  if (cargo === undefined) return
  cargo ??= { blocks: new Map(), leases: undefined }
  cargo.blocks.set(keeper, handle)
}

/** The lease of an object in the message that is being written: taken once, however often the object is written. */
export function leaseFor<L extends Lease>(object: object, take: () => L): L {
  if (cargo === undefined) return take()
  cargo ??= { blocks: new Map(), leases: undefined }
  cargo.leases ??= new Map()
  const known = cargo.leases.get(object) as L | undefined
  if (known !== undefined) return known
  const lease = take()
  cargo.leases.set(object, lease)
  return lease
}

/** Begins a message, perhaps within another. Its result belongs to `endMessage()`. */
export function beginMessage(): Cargo | null | undefined {
  const outer = cargo
  cargo = null
  return outer
}

/** The message is complete: from now on its handles are on their way. */
export function sealMessage(bytes: object): void {
  if (cargo === undefined || cargo === null) return
  const { blocks, leases } = cargo
  if (blocks.size > 0) {
    for (const handle of blocks.values()) {
      if (typeof handle === 'function') handle()
      else sharedHeap().noteSent(handle)
    }
    cargoOfBytes.set(bytes, blocks)
  }
  if (leases === undefined) return
  cargo.leases = undefined
  const kept = [...leases.values()]
  leasesOfBytes.set(bytes, kept)
  const readOften = kept.filter(lease => lease.isReadOften)
  if (readOften.length === 0) return
  collected ??= new FinalizationRegistry(releaseAll)
  collected.register(bytes, readOften, bytes)
}

/** Ends what `beginMessage()` began, also when the message came to nothing. */
export function endMessage(outer: Cargo | null | undefined): void {
  const leases = cargo?.leases
  cargo = outer
  if (leases !== undefined) releaseAll([...leases.values()])
}

/** Whether a message names what only this machine has: a block of the shared heap, or an open descriptor. */
export function isBoundToMachine(bytes: object): boolean {
  return cargoOfBytes.has(bytes) || leasesOfBytes.has(bytes)
}

/** Whether something is kept for a message beside its bytes, which would be kept as long as they are. */
export function hasLeases(bytes: object): boolean {
  return leasesOfBytes.has(bytes)
}

/** The bytes of a message are elsewhere now. */
export function moveMessage(from: object, to: object): void {
  const blocks = cargoOfBytes.get(from)
  if (blocks !== undefined) {
    cargoOfBytes.delete(from)
    cargoOfBytes.set(to, blocks)
  }
  const leases = leasesOfBytes.get(from)
  if (leases === undefined) return
  leasesOfBytes.delete(from)
  leasesOfBytes.set(to, leases)
  collected?.unregister(from)
  const readOften = leases.filter(lease => lease.isReadOften)
  if (readOften.length > 0) collected?.register(to, readOften, to)
}

/**
 * The message was never sent: its handles are not on their way, and nothing is kept for it. (What has been counted in
 * another process stays counted there, as for a message that got lost.)
 */
export function unsendMessage(bytes: object): void {
  const blocks = cargoOfBytes.get(bytes)
  if (blocks !== undefined) {
    cargoOfBytes.delete(bytes)
    for (const handle of blocks.values()) if (typeof handle !== 'function') sharedHeap().noteArrived(handle)
  }
  dropMessage(bytes)
}

/** The message has been read, and will not be read again: what was kept for it is let go of. */
export function dropMessage(bytes: object): void {
  const leases = leasesOfBytes.get(bytes)
  if (leases === undefined) return
  leasesOfBytes.delete(bytes)
  collected?.unregister(bytes)
  releaseAll(leases)
}

function releaseAll(leases: readonly Lease[]): void {
  for (const lease of leases) lease.release()
}

/** `undefined` while no message is being rebuilt, `null` as long as the one that is has brought nothing. */
type Arrivals = (() => void)[] | null | undefined
let arrivals: Arrivals

/** Begins to rebuild a message, perhaps within another. Its result belongs to `endArrival()`. */
export function beginArrival(): Arrivals {
  const outer = arrivals
  arrivals = null
  return outer
}

/** What arrived with the message that is being rebuilt would stay open: `close` is called if the message fails. */
export function noteArrival(close: () => void): void {
  if (arrivals === undefined) return
  arrivals ??= []
  arrivals.push(close)
}

export function endArrival(outer: Arrivals, { isWhole }: { isWhole: boolean }): void {
  const arrived = arrivals
  arrivals = outer
  if (arrived === null || arrived === undefined) return
  // Within another message, that one decides.
  if (isWhole) {
    if (outer !== undefined) arrivals = [...(outer ?? []), ...arrived]
  } else for (const close of arrived) close()
}
