/**
 * Which module is the program itself. Other processes never load it, because its top-level code is the program: its
 * functions and classes travel by value.
 */
import { realpathSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'

let mainUrl: string | null | undefined

/** Whether a path or URL is that of the program's main module, or of this worker thread's. */
export function isMainModule(nameOrUrl: string): boolean {
  mainUrl ??= findMain() ?? ''
  if (mainUrl === '') return false
  const url = nameOrUrl.startsWith('file:') ? nameOrUrl.replace(/[?#].*$/, '') : pathToFileURL(nameOrUrl).href
  return url === mainUrl
}

function findMain(): string | undefined {
  const [, script] = process.argv
  if (script === undefined) return undefined
  try {
    return pathToFileURL(realpathSync(script.startsWith('file:') ? fileURLToPath(script) : script)).href
  } catch {
    return undefined // `-e`, stdin, or a file that is gone.
  }
}
