/**
 * Where the programs of a user can be found by tools of the same user: a folder with a name for each program that takes
 * such connections. Invariant: nobody else can connect or plant a name, because the folder belongs to the user, is
 * closed to all others, and is not used if it is not so. What `kill -9` left is removed by the next one who looks.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { privateFolder } from './private-folder.ts'
import { mayRun } from './process-facts.ts'
import { assertLocalName } from './socket-path.ts'

/** A program that can be inspected. */
export interface InspectedName {
  pid: number
  /** Given by whoever started it, to find it again. */
  tag: string | undefined
  /** For `connect()`. */
  path: string
}

const isWindows = process.platform === 'win32'
const suffix = isWindows ? '.pipe' : '.sock'
const NAME = /^(\d+)\.([0-9a-f]{8})(?:\.([0-9a-z]{1,32}))?\.(?:sock|pipe)$/

/** The folder of this user, if it is there and nobody else can use it. */
function folderOf({ isMade }: { isMade: boolean }): string | undefined {
  return privateFolder('multiproc-inspect', { isMade })
}

/** A name at which this program can listen for inspectors. */
export interface NewInspectedName {
  /** For `listen()`. */
  path: string
  /** Called when it listens. */
  publish(): void
  /** Also to be called at the end of the program. */
  remove(): void
}

/** `undefined` when there is no place for it: the folder belongs to somebody else, or its path is too long. */
export function newInspectedName(tag?: string): NewInspectedName | undefined {
  const folder = folderOf({ isMade: true })
  if (folder === undefined) return undefined
  inspectedNames()
  const name = `${process.pid}.${randomBytes(4).toString('hex')}${tag === undefined ? '' : `.${tag}`}${suffix}`
  const file = join(folder, name)
  // The names of pipes are in a folder of all users, so that theirs cannot be guessed, and is in ours.
  const path = isWindows ? `\\\\.\\pipe\\multiproc-${randomBytes(16).toString('hex')}` : file
  try {
    assertLocalName(path)
  } catch {
    return undefined
  }
  return {
    path,
    publish: () => {
      if (isWindows) writeFileSync(file, path)
    },
    remove: () => rmSync(file, { force: true }),
  }
}

/** The programs of this user that can be inspected; those with `tag`, if one is given. */
export function inspectedNames(tag?: string): InspectedName[] {
  const folder = folderOf({ isMade: false })
  if (folder === undefined) return []
  const found: InspectedName[] = []
  for (const name of readdirSync(folder)) {
    const match = NAME.exec(name)
    if (!match) continue
    const pid = Number(match[1])
    const file = join(folder, name)
    if (!mayRun(pid)) rmSync(file, { force: true })
    else if (tag === undefined || match[3] === tag) {
      const path = isWindows ? readPath(file) : file
      if (path !== undefined) found.push({ pid, tag: match[3], path })
    }
  }
  return found.toSorted((a, b) => a.pid - b.pid)
}

/** Removes a name at which nobody listens any more although there is a process of that id. */
export function removeInspectedName({ path, pid }: InspectedName): void {
  if (!isWindows && pid !== process.pid) rmSync(path, { force: true })
}

function readPath(file: string): string | undefined {
  try {
    const path = readFileSync(file, 'utf8')
    return path.startsWith('\\\\.\\pipe\\multiproc-') ? path : undefined
  } catch {
    return undefined
  }
}
