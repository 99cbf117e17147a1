/**
 * Large messages that were taken and are read where they lie, in the segment that their writer gave them. Invariant: the
 * segment is held until somebody is done with the message, or has forgotten it.
 */
import type { HeldSegment } from '../platform/heap-segments.ts'

const held = new WeakMap<Uint8Array, HeldSegment>()
let forgotten: FinalizationRegistry<() => boolean> | undefined

/** For the reader of a message that lies in `segment`. */
export function holdUntilRead(bytes: Uint8Array, segment: HeldSegment): void {
  held.set(bytes, segment)
  forgotten ??= new FinalizationRegistry(letGo => letGo())
  forgotten.register(bytes, segment.letGo, bytes)
}

/** The message has been read: its memory is for others now. */
export function doneWith(bytes: Uint8Array): void {
  const segment = held.get(bytes)
  if (segment === undefined) return
  held.delete(bytes)
  forgotten?.unregister(bytes)
  segment.release()
}

/** The message in memory of its own, for who keeps it. */
export function ownBytes(bytes: Uint8Array): Uint8Array {
  if (!held.has(bytes)) return bytes
  const own = bytes.slice()
  doneWith(bytes)
  return own
}
