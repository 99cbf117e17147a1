/** The descriptor that connects a child process with its parent, on this system. */

/** The descriptor of the connection in the child: the first after the standard streams. */
export const CHANNEL_FD = 3

const isWindows = process.platform === 'win32'

/** What `stdio` says for it. Windows can only wait for a pipe that is "overlapped"; elsewhere it is a socket pair. */
export const CHANNEL_STDIO = isWindows ? 'overlapped' : 'pipe'

/**
 * Whether a byte may be sent through the channel past its stream. A pipe of Windows belongs to the event loop, which
 * would take the end of a write that it did not begin for one of its own.
 */
import { factsOf } from './file-facts.ts'
export const HAS_DOORBELL = !isWindows

/**
 * Gives a child a descriptor of the addon's, and returns what the child is told of it: the number that it has in the
 * child's list `stdio`. On Windows the child fetches it from its parent, by the number that it has there.
 */
export function passDescriptor(stdio: unknown[], fd: number): number {
  return isWindows ? fd : stdio.push(fd) - 1
}

/** Whether this process can have been given a channel. */
export function hasChannel(): boolean {
  // A named pipe of Windows cannot be told from other descriptors without reading from it.
  if (isWindows) return true
  try {
    return factsOf(CHANNEL_FD).isSocket()
  } catch {
    return false
  }
}
