/**
 * Has malloc keep what is freed while large data arrives. Copies of what was received become garbage, V8 frees some
 * hundred MiB of them at a time, and the pages of fresh memory cost the next copies more than the copying itself. Once
 * nothing large has come for a while, all but a little goes back to the system.
 */
import { nativeAddon } from './native-addon.ts'

/** What one collection of V8 frees: it collects after 64 MiB of garbage outside of its heap, and that goes on meanwhile. */
const BUSY_BYTES_MAX = 128 << 20
/** The most that glibc comes to keep by itself, after a program has freed one buffer of 32 MiB. */
const IDLE_BYTES_MAX = 64 << 20
const IDLE_MS = 2000

let timer: NodeJS.Timeout | undefined
let isStillReceiving = false

/** For who is about to copy large data into memory of its own. */
export function keepFreedWhileReceiving(): void {
  isStillReceiving = true
  if (timer === undefined) look()
}

/** Memory for a copy of large data, which has what was there before. */
export function memoryForLargeData(byteLength: number): Uint8Array<ArrayBuffer> {
  keepFreedWhileReceiving()
  // Never of Node's pool: it can be transferred and detached.
  return new Uint8Array(Buffer.allocUnsafeSlow(byteLength).buffer)
}

/** Other threads of this process have a timer of their own: who still receives sets the larger bound again. */
function look(): void {
  nativeAddon()?.keepFreedMemory(isStillReceiving ? BUSY_BYTES_MAX : IDLE_BYTES_MAX)
  timer = isStillReceiving ? setTimeout(look, IDLE_MS).unref() : undefined
  isStillReceiving = false
}
