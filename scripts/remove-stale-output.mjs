// Deletes compiled files whose source is gone. `tsc -b` never does: without this a deleted test would go on
// running from build/, and a deleted module would go on being published from dist/.
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const OUTPUTS = [
  ['src', 'build/src'],
  ['src', 'dist'],
  ['test', 'build/test'],
  ['examples', 'build/examples'],
  ['demo', 'build/demo'],
]
/** Files that scripts/bundle-library.mjs makes of many. */
const JOINED = `library${sep}`
const SOURCE_SUFFIXES = { js: ['.ts', '.tsx'], mjs: ['.mts'], cjs: ['.cts'] }

/** The source files that may have produced a compiled file, or undefined when the compiler does not write such files. */
function sourcesOf(name) {
  const match = /^(.*?)(?:\.d\.([mc]?)ts|\.([mc]?)js)(?:\.map)?$/.exec(name)
  if (match === null || name.startsWith(JOINED)) return undefined
  const [, stem, declarationKind, scriptKind] = match
  return SOURCE_SUFFIXES[`${declarationKind ?? scriptKind}js`].map(suffix => stem + suffix)
}

/** Returns the paths, relative to the project's root, of the files that were deleted. */
export function removeStaleOutput() {
  const removed = []
  for (const [sourceFolder, outputFolder] of OUTPUTS) {
    const outputRoot = join(root, outputFolder)
    if (!existsSync(outputRoot)) continue
    for (const entry of readdirSync(outputRoot, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      // Node 20.19 calls the folder of an entry `parentPath`; older spellings (`path`) are gone in Node 24.
      const file = join(entry.parentPath, entry.name)
      const sources = sourcesOf(relative(outputRoot, file))
      if (sources === undefined) continue
      if (sources.some(source => existsSync(join(root, sourceFolder, source)))) continue
      rmSync(file)
      removed.push(relative(root, file))
    }
  }
  return removed
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const file of removeStaleOutput()) console.log(`Removed ${file}: its source is gone`)
}
