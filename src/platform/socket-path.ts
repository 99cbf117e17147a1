/**
 * Names at which programs meet on one machine: files of Unix sockets, names of Linux without a file, pipes of Windows.
 * A file that a killed program left is told from one where somebody listens, and only the first is ever removed.
 */
import { randomBytes } from 'node:crypto'
import { closeSync, openSync, rmSync, statSync, unlinkSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { factsOf } from './file-facts.ts'
import { ProcessError, invalidArgument } from '../errors.ts'
import { removeSocketsOfTheDead } from './local-socket.ts'
import { makeTemporaryDirectory } from './temporary-directory.ts'

/** What a system takes in `sun_path`, without the zero at its end: Linux has 108 bytes, the BSDs and macOS 104. */
const PATH_BYTES_MAX = process.platform === 'linux' || process.platform === 'android' ? 107 : 103
/** Somebody who listens answers at once; who does not answer is taken to be alive. */
const LOOK_MS_MAX = 2000

/** The family of names that need no network here, as Python calls it. */
export const LOCAL_FAMILY: 'AF_UNIX' | 'AF_PIPE' = process.platform === 'win32' ? 'AF_PIPE' : 'AF_UNIX'

const PIPE_NAME = /^\\\\[^\\]+\\pipe\\/i

/** Whether it names a pipe of Windows: `\\.\pipe\name`. */
export function isPipeName(name: string): boolean {
  return PIPE_NAME.test(name)
}

/**
 * Throws for a name at which nothing can listen here.
 *
 * @throws ProcessError `ERR_NOT_SUPPORTED` for a kind of name that this system does not have; RangeError for one that
 * is too long, which the system would cut off in silence.
 */
export function assertLocalName(name: string): void {
  const isAbstract = name.startsWith('\0')
  const isWindows = process.platform === 'win32'
  if (isPipeName(name) !== isWindows) {
    throw new ProcessError(
      'ERR_NOT_SUPPORTED',
      `Cannot use the address "${shownName(name)}": ${isWindows ? 'Windows has named pipes, and no sockets with a path' : 'only Windows has named pipes'}\n` +
        `To fix: use ${isWindows ? String.raw`"\\\\.\\pipe\\name"` : 'the path of a file, such as "/tmp/name"'}, or a host and a port`,
    )
  }
  if (isAbstract && process.platform !== 'linux' && process.platform !== 'android') {
    throw new ProcessError(
      'ERR_NOT_SUPPORTED',
      `Cannot use the address "${shownName(name)}": only Linux has names of sockets without a file\n` +
        'To fix: use the path of a file, or a host and a port',
    )
  }
  const byteLength = Buffer.byteLength(name)
  if (!isWindows && byteLength > PATH_BYTES_MAX) {
    throw invalidArgument(
      RangeError,
      `The path of a socket has at most ${PATH_BYTES_MAX} bytes, and "${shownName(name)}" has ${byteLength}\n` +
        'To fix: use a shorter path, such as one below the directory for temporary files',
    )
  }
}

/** A name as people see it: "@name" for one without a file. */
export function shownName(name: string): string {
  return name.startsWith('\0') ? `@${name.slice(1)}` : name
}

/** Whether the name is a file, which stays when its program is killed. */
export function isSocketFile(name: string): boolean {
  return !name.startsWith('\0') && !isPipeName(name)
}

let directory: string | undefined

/**
 * A new name for one who listens, which nobody has and only this user can reach. What `kill -9` leaves of it is removed
 * by the next process that makes one.
 */
export function newLocalName(): string {
  const name = randomBytes(8).toString('hex')
  if (LOCAL_FAMILY === 'AF_PIPE') return `\\\\.\\pipe\\multiproc-${name}${randomBytes(8).toString('hex')}`
  if (directory === undefined) {
    removeSocketsOfTheDead()
    const made = makeTemporaryDirectory(`socket-${process.pid}`)
    directory = made
    process.once('exit', () => rmSync(made, { recursive: true, force: true }))
  }
  return join(directory, name)
}

/**
 * Has one listen at a path where a program that was killed did: its file is removed, and `listen` called again.
 *
 * Several programs may find the same file at once. One would remove it and listen, while another is about to remove what
 * is the first one's by then. So all of this is done under a lock, which is a file beside the socket; who cannot have it
 * in time takes the path for one where somebody listens. And as a socket has its file a moment before it takes
 * connections, it is looked at twice.
 *
 * @returns whether `listen` was called; not when somebody listens there, or the file is no socket
 * @throws what `listen` throws
 */
export async function replaceStaleSocket(path: string, listen: () => Promise<void>): Promise<boolean> {
  if (!isSocketFile(path) || !(await isStale(path))) return false
  const lock = `${path}.lock`
  if (!(await takeLock(lock))) return false
  try {
    for (let look = 0; look < 2; look++) {
      if (look > 0) await pause(LOOK_AGAIN_MS)
      if (!(await isStale(path))) return false
    }
    removeQuietly(path)
    await listen()
    return true
  } finally {
    removeQuietly(lock)
  }
}

/** Between `bind()` and `listen()` of a process that the system stops in between, and then some. */
const LOOK_AGAIN_MS = 20
/** One who has the lock looks around, and listens: some milliseconds. A lock that is as old was left by `kill -9`. */
const LOCK_MS_MAX = 5000

/** Whether it is a socket, or nothing any more, and nobody takes connections there. */
async function isStale(path: string): Promise<boolean> {
  try {
    if (!factsOf(path).isSocket()) return false
  } catch (error) {
    // Somebody else has removed it.
    return (error as NodeJS.ErrnoException).code === 'ENOENT'
  }
  return !(await isListening(path))
}

async function takeLock(lock: string): Promise<boolean> {
  const until = performance.now() + 2 * LOCK_MS_MAX
  while (performance.now() < until) {
    try {
      closeSync(openSync(lock, 'wx'))
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return false
    }
    const age = ageMs(lock)
    if (age !== undefined && age > LOCK_MS_MAX) removeQuietly(lock)
    else await pause(LOOK_AGAIN_MS / 4)
  }
  return false
}

function ageMs(path: string): number | undefined {
  const found = statSync(path, { throwIfNoEntry: false })
  return found && Date.now() - found.mtimeMs
}

function pause(delayMs: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, delayMs))
}

function removeQuietly(path: string): boolean {
  try {
    unlinkSync(path)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT'
  }
}

/** Whether somebody takes connections there. In doubt, as for a file of another user, yes. */
function isListening(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(path)
    const found = (isThere: boolean): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(isThere)
    }
    const timer = setTimeout(() => found(true), LOOK_MS_MAX)
    socket.once('connect', () => found(true))
    socket.once('error', ({ code }: NodeJS.ErrnoException) =>
      found(code !== 'ECONNREFUSED' && code !== 'ENOENT'),
    )
  })
}

/** Paths of sockets that are open here. A program that calls `process.exit()` does not close them, and they stay. */
const open = new Set<string>()
let removesAtExit = false

/** Has the file removed if the program ends before it is closed. */
export function noteSocketFile(path: string): void {
  if (!isSocketFile(path)) return
  open.add(path)
  if (removesAtExit) return
  removesAtExit = true
  process.once('exit', () => {
    for (const each of open) removeQuietly(each)
  })
}

export function forgetSocketFile(path: string): void {
  open.delete(path)
}
