/** What Node.js keeps in a socket or server beside its documented properties; in one place, to be found if it changes. */
import type { Server, Socket } from 'node:net'

export interface HandleHolder {
  /** For as long as it is open. Another connection or port of the same object has another handle. */
  _handle: { close(): void } | null
  /** The path of a server of a Unix socket. */
  _pipeName?: string | undefined
}

export function handleHolder(object: Socket | Server): HandleHolder {
  return object as unknown as HandleHolder
}
