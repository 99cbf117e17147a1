/** Looking at a word of shared memory in turns with everybody else who wants this processor. */
import { nativeAddon } from './native-addon.ts'

/**
 * Gives the processor away again and again as long as the word is `expected`, for so many microseconds at most: the event
 * loop stands still meanwhile. Returns at once without the addon.
 */
export function yieldWhile(words: Int32Array, index: number, expected: number, microseconds: number): void {
  nativeAddon()?.yieldWhile(words, index, expected, microseconds)
}
