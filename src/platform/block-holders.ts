/** Who keeps a block from being taken for something else: members that hold it, and a block that it was given to. */
import { BLOCK, HEADER, MEMBERS_MAX, blockAt } from './heap-layout.ts'

/** Whether the block at word `at` is held by any member but that of `ownSlot`, which may be -1. */
export function isHeldByOthers(words: Int32Array, at: number, ownSlot: number): boolean {
  for (let word = 0; word < MEMBERS_MAX / 32; word++) {
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
