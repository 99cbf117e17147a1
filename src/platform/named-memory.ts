/**
 * Shared memory with a name, for programs that have nothing else in common: a file in /dev/shm, as POSIX's shm_open()
 * and Python make it. Whoever makes it owns it: a second link to the file has the owner's process id, start time and
 * thread in its name, so that anybody can see when the owner has ended, and remove both. See "Named memory" in README.md.
 */
import { randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fstatSync,
  linkSync,
  lstatSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  unlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import { threadId } from 'node:worker_threads'
import { ProcessError, invalidArgument } from '../errors.ts'
import { noMemory } from './heap-segments.ts'
import { type NativeAddon, nativeAddon } from './native-addon.ts'
import { existingHeap, sharedHeap } from './shared-heap.ts'
import { systemError } from './system-error.ts'

/** Named memory as it is mapped here. */
export interface NamedMemory {
  readonly name: string
  readonly byteLength: number
  readonly buffer: ArrayBufferLike
}

const FOLDER = '/dev/shm'
const OWNER_PREFIX = '.multiproc-'
/** A file name may have 255 bytes; the owner's link has up to 55 before the name. */
const NAME_BYTES_MAX = 200
const NAME_ATTEMPTS_MAX = 100

/** Names that this process or thread owns. They are removed when it ends. */
const owned = new Set<string>()
let isExitHandled = false

/**
 * Makes memory of zeros under a name that nobody uses.
 *
 * @throws ProcessError `ERR_ALREADY_EXISTS`; `ERR_LIMIT` when /dev/shm is full; `ERR_NOT_SUPPORTED`.
 */
export function createNamedMemory(name: string | undefined, byteLength: number): NamedMemory {
  const addon = requireAddon()
  removeNamesOfTheDead()
  // So that the parent of this process removes its names, should it be killed.
  sharedHeap().noteNames()
  for (let attempt = 1; ; attempt++) {
    const chosen = name ?? `mp_${randomBytes(6).toString('hex')}`
    const made = tryCreate(addon, checkedName(chosen), byteLength)
    if (made !== undefined) return made
    if (name === undefined && attempt < NAME_ATTEMPTS_MAX) continue
    throw new ProcessError(
      'ERR_ALREADY_EXISTS',
      `Cannot make shared memory "${chosen}": there is such a name already\n` +
        'To fix: choose another name, leave out "create" to attach to it, or call unlink() first',
      { cause: systemError('link', 17) },
    )
  }
}

/** The file is complete before it has its name: whoever attaches never sees a part of it. */
function tryCreate(addon: NativeAddon, name: string, byteLength: number): NamedMemory | undefined {
  const path = join(FOLDER, name)
  if (existsSync(path)) return undefined
  const ownerPath = ownerPathOf(name)
  const fd = openSync(ownerPath, 'wx+', 0o600)
  try {
    const error = addon.reserveFile(fd, byteLength)
    if (error !== 0) throw noMemory(byteLength, `${FOLDER} is full`, systemError('fallocate', error))
    const buffer = mapped(addon, fd, byteLength)
    linkSync(ownerPath, path)
    owned.add(name)
    removeOwnedAtExit()
    return { name, byteLength, buffer }
  } catch (error) {
    unlinkSync(ownerPath)
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return undefined
    throw error
  } finally {
    closeSync(fd)
  }
}

/**
 * Maps memory that has a name, all of it unless a length is given.
 *
 * @throws ProcessError `ERR_NOT_FOUND`; `ERR_LIMIT` when /dev/shm is too full to provide what was only promised.
 */
export function mapNamedMemory(name: string, options: { byteLength?: number } = {}): NamedMemory {
  const addon = requireAddon()
  removeNamesOfTheDead()
  let fd: number
  try {
    fd = openSync(join(FOLDER, checkedName(name)), 'r+')
  } catch (cause) {
    throw notFound(name, cause)
  }
  try {
    const byteLength = options.byteLength ?? fstatSync(fd).size
    if (byteLength === 0 || byteLength > fstatSync(fd).size) throw notFound(name, undefined)
    // Other programs make files without storage: using it would end this process when there is none left.
    const error = addon.reserveFile(fd, byteLength)
    if (error !== 0) throw noMemory(byteLength, `${FOLDER} is full`, systemError('fallocate', error))
    return { name, byteLength, buffer: mapped(addon, fd, byteLength) }
  } finally {
    closeSync(fd)
  }
}

/**
 * Removes a name. Who has the memory mapped keeps it.
 *
 * @throws ProcessError `ERR_NOT_FOUND`.
 */
export function unlinkNamedMemory(name: string): void {
  const plain = checkedName(name)
  owned.delete(plain)
  const inode = inodeOf(join(FOLDER, plain))
  try {
    unlinkSync(join(FOLDER, plain))
  } catch (cause) {
    throw notFound(name, cause)
  } finally {
    // The owner's link would keep the memory, whoever the owner is.
    for (const { path, ...link } of ownerLinks()) {
      const isOwn = link.pid === process.pid && link.startTime === ownStartTime
      if (link.name === plain && (isOwn || inodeOf(path) === inode)) remove(path)
    }
  }
}

/** Takes a mapping away: views of it that are left read zeros. */
export function unmapNamedMemory({ buffer }: NamedMemory): void {
  requireAddon().unmap(new Uint8Array(buffer))
}

function mapped(addon: NativeAddon, fd: number, byteLength: number): ArrayBufferLike {
  try {
    return addon.mapFile(fd, byteLength)
  } catch (cause) {
    throw noMemory(byteLength, 'the process has no addresses for it', cause)
  }
}

function requireAddon(): NativeAddon {
  const addon = nativeAddon()
  if (addon !== undefined && process.platform === 'linux') return addon
  throw new ProcessError(
    'ERR_NOT_SUPPORTED',
    `Cannot use shared memory with a name: ${addon === undefined ? 'the native addon is not in use' : 'it is for Linux only'}\n` +
      'To fix: leave out the name, and pass the SharedMemory object to the children that use it',
  )
}

/** Python's names begin with a slash on some systems, which is no part of the file's name. */
function checkedName(name: string): string {
  const plain = name.startsWith('/') ? name.slice(1) : name
  const isValid = plain !== '' && plain !== '.' && plain !== '..' && !/[\0/]/.test(plain)
  if (isValid && !plain.startsWith(OWNER_PREFIX) && Buffer.byteLength(plain) <= NAME_BYTES_MAX) return plain
  throw invalidArgument(
    RangeError,
    `Cannot use ${JSON.stringify(name)} as a name of shared memory\n` +
      `To fix: choose a name of up to ${NAME_BYTES_MAX} bytes without "/" and NUL`,
  )
}

function notFound(name: string, cause: unknown): unknown {
  const { code } = (cause ?? {}) as NodeJS.ErrnoException
  if (code !== undefined && code !== 'ENOENT') return cause
  return new ProcessError(
    'ERR_NOT_FOUND',
    `Cannot find shared memory "${name}": nobody has made it, or it was unlinked\n` +
      'To fix: make it with create: true before others attach, and keep it until they have',
    { cause },
  )
}

// ---- Owners ----

let ownStartTime: string | undefined

/** When a process was started, in the kernel's ticks: with its id, it names one life. `undefined`: it has ended. */
function startTimeOf(pid: number): string | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return undefined
  }
  // The name of the program stands in parentheses, and may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
}

/** Process ids have a meaning among the processes of one container only, and /dev/shm may be shared by several. */
let ownNamespace: string | undefined

function ownerPathOf(name: string): string {
  ownStartTime ??= startTimeOf(process.pid) ?? '0'
  ownNamespace ??= /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0'
  const life = threadId === 0 ? ownStartTime : `${ownStartTime}.${threadId}`
  return join(FOLDER, `${OWNER_PREFIX}${ownNamespace}-${process.pid}-${life}-${name}`)
}

interface OwnerLink {
  path: string
  pid: number
  startTime: string
  /** 0 for the main thread. */
  thread: number
  name: string
}

/** The links of all owners whose process ids mean something here. */
function ownerLinks(): OwnerLink[] {
  // So that the namespace is known.
  ownerPathOf('')
  let entries: string[]
  try {
    entries = readdirSync(FOLDER)
  } catch {
    return []
  }
  return entries.flatMap(entry => {
    const [, namespace, pid, startTime, thread = '0', name] = OWNER_LINK.exec(entry) ?? []
    if (name === undefined || startTime === undefined || namespace !== ownNamespace) return []
    return [{ path: join(FOLDER, entry), pid: Number(pid), startTime, thread: Number(thread), name }]
  })
}

/** Removes names whose owner has ended without doing it, in this program or any other of the user. */
export function removeNamesOfTheDead(): void {
  for (const { path, pid, startTime, name } of ownerLinks()) {
    if (startTimeOf(pid) !== startTime) removeBoth(path, join(FOLDER, name))
    else if (pid === process.pid && owned.has(name) && inodeOf(join(FOLDER, name)) !== inodeOf(path)) {
      // Another program has removed the name.
      owned.delete(name)
      remove(path)
    }
  }
}

/** To be called when a child process has ended, in whatever way. */
export function removeNamesOfChild(): void {
  if (existingHeap()?.hasNames === true) removeNamesOfTheDead()
}

/** To be called when a thread of this process has ended: one that was terminated has not removed its names. */
export function removeNamesOfThread(ended: number): void {
  if (existingHeap()?.hasNames !== true) return
  for (const { path, pid, startTime, thread, name } of ownerLinks()) {
    const isOfThread = pid === process.pid && startTime === ownStartTime && thread === ended
    if (isOfThread) removeBoth(path, join(FOLDER, name))
  }
}

const OWNER_LINK = /^\.multiproc-(\d+)-(\d+)-(\d+)(?:\.(\d+))?-(.+)$/s

/** The name may belong to another file by now, or be gone. The link goes last: without it nobody would remove the name. */
function removeBoth(ownerPath: string, path: string): void {
  if (inodeOf(path) === inodeOf(ownerPath)) remove(path)
  remove(ownerPath)
}

function inodeOf(path: string): number | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.ino
}

function remove(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // Somebody else does the same, or it belongs to another user.
  }
}

function removeOwnedAtExit(): void {
  if (isExitHandled) return
  isExitHandled = true
  process.on('exit', () => {
    for (const name of owned) removeBoth(ownerPathOf(name), join(FOLDER, name))
  })
}
