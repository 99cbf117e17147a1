/**
 * How the system treats this process or thread among others: its priority, and the CPUs that it may use. Invariant: what
 * a system cannot do is an error here, and never ignored.
 */
import { readFileSync, readdirSync } from 'node:fs'
import { constants, setPriority } from 'node:os'
import { isMainThread } from 'node:worker_threads'
import { ProcessError } from '../errors.ts'
import { nativeAddon } from './native-addon.ts'
import { systemErrorName } from './standard-streams.ts'

/** From the most to the least favoured. */
export const NICENESS = { min: constants.priority.PRIORITY_HIGHEST, max: constants.priority.PRIORITY_LOW }

const isLinux = process.platform === 'linux'

/** Throws `ERR_NOT_SUPPORTED` where a thread has no priority of its own. */
export function assertThreadNiceness(): void {
  if (isLinux) return
  throw new ProcessError(
    'ERR_NOT_SUPPORTED',
    'Cannot set the "niceness" of threads on this system: it has one for the whole process\nTo fix: use the context "spawn", or leave "niceness" out',
  )
}

/**
 * Sets the niceness of this process, or of this thread.
 *
 * @throws ProcessError `ERR_START_FAILED` when the system refuses.
 */
export function setNiceness(niceness: number): void {
  try {
    if (!isLinux) setPriority(niceness)
    else for (const thread of ownThreads()) ignoringEnded(() => setPriority(thread, niceness))
  } catch (error) {
    throw new ProcessError(
      'ERR_START_FAILED',
      `Cannot set the niceness ${niceness}: the system refused (${refusal(error)})\nTo fix: pass a "niceness" that is not below that of this program, or run it as a user who may raise priorities`,
      { cause: error },
    )
  }
}

/** The CPUs that this process may use. Throws `ERR_NOT_SUPPORTED` where it cannot choose among them. */
export function pinnableCpus(): number[] {
  const list = isLinux && nativeAddon() !== undefined ? allowedCpus() : undefined
  if (list !== undefined) return list
  throw new ProcessError(
    'ERR_NOT_SUPPORTED',
    `Cannot choose the CPUs of workers ("affinity") ${isLinux ? 'without the native addon' : 'on this system'}\nTo fix: leave "affinity" out${isLinux ? ', or see what "multiproc doctor" says of the addon' : ': it is for Linux'}`,
  )
}

/**
 * Lets this process, or this thread, run on these CPUs only. Where `pinnableCpus()` does not throw.
 *
 * @throws ProcessError `ERR_START_FAILED` when the system refuses: a CPU was taken away meanwhile, say.
 */
export function pinTo(cpus: readonly number[]): void {
  const list = new Uint32Array(cpus)
  for (const thread of ownThreads()) {
    const errno = nativeAddon()!.setAffinity(thread, list)
    if (errno === 0 || errno === constants.errno.ESRCH) continue
    throw new ProcessError(
      'ERR_START_FAILED',
      `Cannot pin ${isMainThread ? 'the process' : 'the thread'} to the CPUs ${cpus.join(', ')}: the system refused (error ${errno})\nTo fix: see whether they are still there, and allowed for this program`,
    )
  }
}

/** What belongs together: all threads of a process, or this one (whose helpers are those of the process). */
function ownThreads(): number[] {
  // 0 is the thread that calls.
  return isMainThread ? readdirSync('/proc/self/task').map(Number) : [0]
}

/** Node.js hides what the system said behind a code of its own. */
function refusal(error: unknown): string {
  return (error as { info?: { code?: string } }).info?.code ?? systemErrorName(error) ?? String(error)
}

/** Threads of V8 and libuv come and go. */
function ignoringEnded(act: () => void): void {
  try {
    act()
  } catch (error) {
    if (refusal(error) !== 'ESRCH') throw error
  }
}

function allowedCpus(): number[] | undefined {
  const path = isMainThread ? '/proc/self/status' : '/proc/thread-self/status'
  const [, list] = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync(path, 'utf8')) ?? []
  return list === undefined ? undefined : parseCpuList(list)
}

/** `0-3,8` as the kernel writes it. */
export function parseCpuList(text: string): number[] {
  return text.split(',').flatMap(range => {
    const [first, last = first] = range.split('-').map(Number)
    return Array.from({ length: last! - first! + 1 }, (_, index) => first! + index)
  })
}
