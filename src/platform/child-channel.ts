/** The descriptor that connects a child process with its parent, on this system. */
import { fstatSync } from 'node:fs'

/** The descriptor of the connection in the child: the first after the standard streams. */
export const CHANNEL_FD = 3

const isWindows = process.platform === 'win32'

/** What `stdio` says for it. Windows can only wait for a pipe that is "overlapped"; elsewhere it is a socket pair. */
export const CHANNEL_STDIO = isWindows ? 'overlapped' : 'pipe'

/** Whether this process can have been given a channel. */
export function hasChannel(): boolean {
  // A named pipe of Windows cannot be told from other descriptors without reading from it.
  if (isWindows) return true
  try {
    return fstatSync(CHANNEL_FD).isSocket()
  } catch {
    return false
  }
}
