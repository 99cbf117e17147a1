/**
 * Finds real files to work on: regular files that can be read and are not huge, in a fixed order, and alternately
 * from each directory, so that a limit leaves a mixture.
 */
import { type Dirent, existsSync, readFileSync, readdirSync, realpathSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const FILE_BYTES_MAX = 2 * 1024 * 1024

/** What every machine has that can run this: the project's dependencies, Node's own installation, /usr/share. */
export function defaultDirectories(): string[] {
  const node = dirname(dirname(realpathSync(process.execPath)))
  const project = fileURLToPath(new URL('../../', import.meta.url))
  const candidates = [
    join(project, 'node_modules'),
    join(node, 'lib', 'node_modules'),
    join(node, 'include', 'node'),
    '/usr/share',
  ]
  return candidates.filter(directory => existsSync(directory))
}

/** Up to `limit` files. Each has been read once, so that the system has all of them in memory. */
export function findFiles(directories: readonly string[], { limit }: { limit: number }): string[] {
  const found = new Set<string>()
  let walks = directories.map(directory => walk(resolve(directory)))
  while (walks.length > 0 && found.size < limit) {
    walks = walks.filter(walk => {
      const next = walk.next()
      if (next.done !== true && found.size < limit && canBeRead(next.value)) found.add(next.value)
      return next.done !== true
    })
  }
  return [...found]
}

/** All files below a directory. Links are not followed: they may lead round in circles. */
function* walk(directory: string): Generator<string, void> {
  for (const entry of entriesOf(directory)) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) yield* walk(path)
    else if (entry.isFile()) yield path
  }
}

function entriesOf(directory: string): Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))
  } catch {
    // A directory that this user may not read.
    return []
  }
}

function canBeRead(path: string): boolean {
  try {
    return statSync(path).size <= FILE_BYTES_MAX && readFileSync(path) !== undefined
  } catch {
    return false
  }
}
