/**
 * Keeps what a message refers to while it is on its way. A handle does not hold its block, and who sent it may let go
 * of the block before it has arrived. So the codec counts, once a message is complete, the handles in it; and as long
 * as the bytes of the message are kept here, because they wait to be sent or may be sent again, the objects are too.
 */
import { type BlockHandle, sharedHeap } from './shared-heap.ts'

/** What the message that is being written carries: the object that holds the block, and how its handle is counted. */
type Cargo = Map<object, BlockHandle | (() => void)>

/** `undefined` while no message is being written, `null` as long as the one that is carries nothing. */
let cargo: Cargo | null | undefined
const cargoOfBytes = new WeakMap<object, readonly object[]>()

/**
 * Notes that the message which is being written carries the handle of a block that `keeper` holds. For a block of
 * another process: what has it counted there.
 */
export function carry(keeper: object, handle: BlockHandle | (() => void)): void {
  if (cargo === undefined) return
  cargo ??= new Map()
  cargo.set(keeper, handle)
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
  for (const handle of cargo.values()) {
    if (typeof handle === 'function') handle()
    else sharedHeap().noteSent(handle)
  }
  cargoOfBytes.set(bytes, [...cargo.keys()])
}

/** Ends what `beginMessage()` began, also when the message came to nothing. */
export function endMessage(outer: Cargo | null | undefined): void {
  cargo = outer
}
