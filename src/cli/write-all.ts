/** Writes a text whole, or throws: the system may take a part of it at a time. And says what to do when it throws. */
import { once } from 'node:events'
import { writeSync } from 'node:fs'
import type { Writable } from 'node:stream'

/** Writes to a file, at its current position. */
export function writeAllSync(file: number, text: string): void {
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at)
}

/** Writes to a stream, no faster than it takes. */
export async function writeAll(stream: Writable, text: string): Promise<void> {
  if (!stream.write(text)) await once(stream, 'drain')
}

/** What is said when results, or the lines of the log, cannot be written. */
export function writeFailure(path: string, cause: unknown, { isLogged }: { isLogged: boolean }): Error {
  const after = isLogged ? '; then the same command with --resume goes on' : ''
  return new Error(
    `Cannot write to "${path}"${isLogged ? ' or to the job log' : ''}: ${(cause as Error).message}\nTo fix: make room there, or see why it cannot be written${after}`,
    { cause },
  )
}
