/**
 * A folder of this user among the temporary files, the same for all programs of the user. Invariant: nobody else can use
 * it or plant anything there, because it belongs to the user, is closed to all others, and is not used if it is not so.
 */
import { lstatSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** `undefined` when it is not there, or belongs to somebody else. */
export function privateFolder(name: string, { isMade }: { isMade: boolean }): string | undefined {
  const uid = process.getuid?.()
  const folder = join(tmpdir(), uid === undefined ? name : `${name}-${uid}`)
  try {
    if (isMade) mkdirSync(folder, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return undefined
  }
  try {
    // Not what a link leads to: anybody may make one in a directory for temporary files.
    const facts = lstatSync(folder)
    const isPrivate = uid === undefined || (facts.uid === uid && (facts.mode & 0o077) === 0)
    return facts.isDirectory() && isPrivate ? folder : undefined
  } catch {
    return undefined
  }
}
