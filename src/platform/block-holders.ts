/** Who keeps a block from being taken for something else: members that hold it, and a block that it was given to. */
import type { BlockHandle } from './block-handle.ts'
import { BLOCK, HEADER, blockAt } from './heap-layout.ts'

/** Whether the block at word `at` is held by any member but that of `ownSlot`, which may be -1. */
export function isHeldByOthers(words: Int32Array, at: number, ownSlot: number): boolean {
  const count = (Atomics.load(words, HEADER.memberLimit) + 31) >>> 5
  for (let word = 0; word < count; word++) {
    const own = ownSlot >>> 5 === word && ownSlot >= 0 ? 1 << (ownSlot & 31) : 0
    if ((Atomics.load(words, at + BLOCK.holders + word) & ~own) !== 0) return true
  }
  return false
}

/** Whether the block that keeps the one at word `at` is held. */
export function isKept(words: Int32Array, at: number): boolean {
  const keeper = Atomics.load(words, at + BLOCK.keeper) - 1
  if (keeper < 0 || keeper >= words[HEADER.blockCount]!) return false
  const keeperAt = blockAt(keeper)
  return (
    Atomics.load(words, keeperAt + BLOCK.generation) === Atomics.load(words, at + BLOCK.keeperGeneration) &&
    // In the order of SharedHeap.isFree(): a keeper may be on its way, and nobody's for the moment.
    (isHeldByOthers(words, keeperAt, -1) ||
      Atomics.load(words, keeperAt + BLOCK.inFlight) !== 0 ||
      isHeldByOthers(words, keeperAt, -1))
  )
}

/**
 * For how long the block of a handle is in use, as things are: `Infinity` while anybody holds it; while only handles
 * on their way need it, until the last of them has been so for `lostAfterSeconds`; 0 when nobody does.
 */
export function usedForMs(
  words: Int32Array,
  { index, generation }: BlockHandle,
  lostAfterSeconds: number,
): number {
  const at = blockAt(index)
  // A receiver holds it before its handle is counted as arrived: who looks at the holders, the count and the holders
  // again sees one of them.
  const isHeld = isHeldByOthers(words, at, -1)
  const isOnItsWay = Atomics.load(words, at + BLOCK.inFlight) !== 0
  const isUsed = isHeld || isHeldByOthers(words, at, -1)
  // The clock is asked only where it matters: this is called for every message of a pipe.
  const leftMs = isUsed ? Infinity : (lostAfterSeconds - secondsOnTheWay(words, at)) * 1000
  // Looked at last: in its next life the rest would be somebody else's.
  if (Atomics.load(words, at + BLOCK.generation) !== generation) return 0
  return isUsed || isOnItsWay ? Math.max(0, leftMs) : 0
}

/** How long ago the last handle of the block at word `at` was sent. */
export function secondsOnTheWay(words: Int32Array, at: number): number {
  return (steadySeconds() - Atomics.load(words, at + BLOCK.sentAt)) | 0
}

/** The system's steady clock, which all processes have in common. */
export function steadySeconds(): number {
  return process.hrtime()[0] | 0
}
