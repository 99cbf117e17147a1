/** Writes a text whole, or throws: the system may take a part of it at a time. */
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
