/** Files without a name: nothing is left of them when every process that has them open dies by `kill -9`. */
import { mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * A descriptor of a new file, in memory where the system has a folder for that; the caller closes it. `undefined` where
 * no such file can be made.
 */
export function openNameless(name: string): number | undefined {
  for (const folder of process.platform === 'linux' ? ['/dev/shm', tmpdir()] : [tmpdir()]) {
    try {
      const own = mkdtempSync(join(folder, 'multiproc-'))
      try {
        const fd = openSync(join(own, name), 'wx+', 0o600)
        rmSync(own, { recursive: true, force: true })
        return fd
      } finally {
        rmSync(own, { recursive: true, force: true })
      }
    } catch {}
  }
  return undefined
}
