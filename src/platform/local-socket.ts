/**
 * Where a local socket listens: a name that nobody guesses, and that is gone with its process where the system can do
 * that. Linux has names without a file, Windows named pipes; elsewhere it is a file in a directory of this user alone.
 */
import { randomBytes } from 'node:crypto'
import { readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { mayRun } from './process-facts.ts'
import { makeTemporaryDirectory } from './temporary-directory.ts'

/** Directories of sockets begin with it and the process id. */
const PURPOSE = 'socket'

/** A new path for `listen()` and `connect()`, for as long as this process lives. */
export function newSocketPath(platform: NodeJS.Platform = process.platform): string {
  const name = `multiproc-${randomBytes(16).toString('hex')}`
  if (platform === 'linux' || platform === 'android') return `\0${name}`
  if (platform === 'win32') return `\\\\.\\pipe\\${name}`
  removeSocketsOfTheDead()
  const directory = makeTemporaryDirectory(`${PURPOSE}-${process.pid}`)
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
  return join(directory, 's')
}

/** What `kill -9` left: the next process that makes such a socket removes it, and so does who was connected to it. */
export function removeSocketsOfTheDead(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = Number(new RegExp(`^multiproc-${PURPOSE}-(\\d+)-`).exec(name)?.[1] ?? 0)
    if (pid > 0 && !mayRun(pid)) removeQuietly(join(tmpdir(), name))
  }
}

/** Removes the file of a socket whose process has ended. */
export function removeSocket(path: string, pid: number): void {
  if (dirname(path) === '.' || path.startsWith('\0') || path.startsWith('\\\\')) return
  if (!mayRun(pid)) removeQuietly(dirname(path))
}

function removeQuietly(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true })
  } catch {
    // It belongs to another user, or somebody else removes it now.
  }
}
