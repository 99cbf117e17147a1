/** One byte to the other side of a socket, past the event loop: it says "look". For systems with the native addon. */
import type { Server, Socket } from 'node:net'
import { nativeAddon } from './native-addon.ts'

/** Numbers of errors that leave the other side reachable: a full socket has a byte in it that was not read yet. */
const HARMLESS: ReadonlySet<number> = new Set([0, 11 /* EAGAIN of Linux */, 35 /* EAGAIN of macOS */])

/** Rings without waiting. Returns whether the other side is there to hear it. */
export function ringDoorbell(fd: number, byte: number): boolean {
  return HARMLESS.has(nativeAddon()!.ring(fd, byte))
}

/** The descriptor of an open socket or of a server that listens, or -1. */
export function descriptorOf(socket: Socket | Server): number {
  const { _handle: handle } = socket as unknown as { _handle?: { fd?: number } | null }
  return handle?.fd ?? -1
}
