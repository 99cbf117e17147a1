/** The files that names and globs stand for, in one order on every run, each once. */
import { statSync } from 'node:fs'
import { UsageError } from './usage-error.ts'

/**
 * Paths of files, with slashes, in the order of the patterns and by name within each.
 *
 * @throws UsageError for a pattern that no file matches, or a folder.
 */
export async function findFiles(patterns: readonly string[]): Promise<string[]> {
  // Loaded here because most runs get their files from the shell.
  const { glob } = await import('tinyglobby')
  const found = new Set<string>()
  for (const pattern of patterns) {
    const stats = statSync(pattern, { throwIfNoEntry: false })
    // A name may have characters of globs in it.
    if (stats?.isFile() === true) {
      found.add(pattern)
      continue
    }
    if (stats?.isDirectory() === true) {
      throw new UsageError(
        `Cannot use "${pattern}" as an input: it is a folder\nTo fix: say which of its files, such as "${pattern.replace(/\/+$/, '')}/**/*"`,
      )
    }
    const matches = await glob(pattern, { expandDirectories: false, onlyFiles: true })
    if (matches.length === 0) {
      throw new UsageError(
        `No file matches "${pattern}"\nTo fix: look whether the path is right from this folder; a glob is "*.jpg" or "pictures/**/*.{jpg,png}", in quotes, and names that begin with a dot must be written so`,
      )
    }
    for (const path of matches.sort(byCodeUnits)) found.add(path)
  }
  return [...found]
}

/** The same in every language. */
function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : 1
}
