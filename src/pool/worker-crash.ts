/** The end of a worker by an error outside of any task's own call. */
import { inspect } from 'node:util'
import { encodeThrown } from '../serialize/codec.ts'
import type { Connection } from '../transport/connection.ts'
import { sendMessage } from './protocol.ts'

/** As everywhere in Node.js such an error ends the process; the parent is told why, after what it is still owed. */
export function endByError(error: unknown, connection: Connection, flush: () => void): void {
  process.stderr.write(`${inspect(error)}\n`)
  try {
    flush()
    sendMessage(connection, { type: 'dying', bodies: 1 }, { bytes: encodeThrown(error) })
    connection.flush()
  } catch {
    // The connection is gone, and with it whoever would want to know.
  }
  process.exit(1)
}
