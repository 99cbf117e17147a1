/** A directory for files that only this user may read. Whoever makes one removes it before it does anything else. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Makes a new directory (mode 0700) below the system's directory for temporary files, and gives its path. */
export function makeTemporaryDirectory(purpose: string): string {
  return mkdtempSync(join(tmpdir(), `multiproc-${purpose}-`))
}
