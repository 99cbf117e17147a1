/**
 * Where a child's main file is. Entry files are named from the folder of all layers and have the extension of this
 * module, so the same code runs from compiled `.js` and from `.ts` sources.
 */
import { existsSync } from 'node:fs'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ProcessError } from '../errors.ts'

const seen = new Set<string>()

/** The URL of an entry file, such as `pool/worker-main`. */
export function childEntry(path: string): URL {
  return new URL(`../${path}${extname(new URL(import.meta.url).pathname)}`, import.meta.url)
}

/** Throws `ERR_START_FAILED` when the entry file of a child is not there. */
export function assertEntryExists(entry: URL): void {
  if (seen.has(entry.href)) return
  if (!existsSync(fileURLToPath(entry))) {
    throw new ProcessError(
      'ERR_START_FAILED',
      `Cannot start a child: its main file ${fileURLToPath(entry)} does not exist, most likely ` +
        'because multiproc was bundled into one file with the program\n' +
        'To fix: mark "multiproc" as external in the bundler (esbuild: --external:multiproc, ' +
        'webpack: externals, Vite: build.rollupOptions.external) and install it beside the bundle',
    )
  }
  seen.add(entry.href)
}
