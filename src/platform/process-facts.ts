/**
 * What the system tells of other processes: whether they are there, their memory, whether it lets them run, which is
 * which, and how many it killed for want of memory. Whatever a system does not tell is `undefined`.
 */
import { existsSync, readFileSync, readdirSync, readlinkSync } from 'node:fs'

/** The resident memory of a process, in bytes. Linux only. */
export function residentBytes(pid: number): number | undefined {
  if (process.platform !== 'linux') return undefined
  const [, kibibytes] = /^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`) ?? '') ?? []
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024
}

/** The time of processors that a process has used so far, in milliseconds. Linux only. */
export function processorMs(pid: number): number | undefined {
  if (process.platform !== 'linux') return undefined
  const stat = read(`/proc/${pid}/stat`)
  // The name of the program, in parentheses, may have spaces and parentheses in it.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  if (fields === undefined) return undefined
  const ticks = Number(fields[11]) + Number(fields[12])
  return Number.isNaN(ticks) ? undefined : ticks * msPerTick
}

/** Linux tells times in hundredths of a second, on every machine that Node.js runs on (USER_HZ). */
const msPerTick = 10

/**
 * Whether a thread of the process could run if it got a processor. One that is stopped or sleeps cannot, and one that
 * only waits for its turn on a busy machine can. Linux only.
 */
export function isRunnable(pid: number): boolean | undefined {
  if (process.platform !== 'linux') return undefined
  try {
    return readdirSync(`/proc/${pid}/task`).some(thread => {
      const stat = read(`/proc/${pid}/task/${thread}/stat`) ?? ''
      return stat.slice(stat.lastIndexOf(')') + 2).startsWith('R')
    })
  } catch {
    return undefined
  }
}

/**
 * A name that no other process of this machine has had since it was started: the process id, and on Linux when it
 * began, so that a later process with the same id has another. `undefined` when there is no such process.
 */
export function processIdentity(pid: number): string | undefined {
  if (process.platform !== 'linux') return mayRun(pid) ? String(pid) : undefined
  const stat = read(`/proc/${pid}/stat`)
  // The name of the program, in parentheses, may have spaces and parentheses in it. Behind it are the state and so on.
  const [state, ...numbers] = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? []
  // One that has ended and that its parent has not asked about runs no more.
  return state === undefined || state === 'Z' || state === 'X' ? undefined : `${pid}@${numbers[18]}`
}

/** The system's number of this thread. Linux only, otherwise 0. */
export function ownSystemThread(): number {
  if (process.platform !== 'linux') return 0
  try {
    return Number(readlinkSync('/proc/thread-self').split('/').at(-1)) || 0
  } catch {
    return 0
  }
}

/** Whether a thread of this process with such a number has ended. */
export function hasThreadEnded(systemThread: number): boolean {
  return systemThread !== 0 && existsSync('/proc/self/task') && !existsSync(`/proc/self/task/${systemThread}`)
}

/** False for a process that is gone for certain. */
export function mayRun(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  return !isZombie(pid)
}

/** Of a process that has ended and whose parent has not looked yet, perhaps because it is blocked, only the id is left. */
function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return 'ZX'.includes(stat[stat.lastIndexOf(')') + 2] ?? ' ')
  } catch {
    // There is no /proc, or the process is gone: the next look tells.
    return false
  }
}

/**
 * How many processes the kernel has killed so far because there was no memory: those of this container (or control
 * group) where that is counted, else those of the machine. Linux only.
 */
export function outOfMemoryKills(): number | undefined {
  if (process.platform !== 'linux') return undefined
  return killsOfGroup(read) ?? killsOfMachine(read)
}

/** `readText` gives the content of a file, or `undefined`. */
export function killsOfGroup(readText: (path: string) => string | undefined): number | undefined {
  const group = /^0::(\/.*)$/m.exec(readText('/proc/self/cgroup') ?? '')?.[1]
  const counts =
    (group === undefined
      ? undefined
      : readText(`/sys/fs/cgroup${group === '/' ? '' : group}/memory.events`)) ??
    readText('/sys/fs/cgroup/memory.events') ??
    readText('/sys/fs/cgroup/memory/memory.oom_control')
  const [, count] = /^oom_kill (\d+)$/m.exec(counts ?? '') ?? []
  return count === undefined ? undefined : Number(count)
}

function killsOfMachine(readText: (path: string) => string | undefined): number | undefined {
  const [, count] = /^oom_kill (\d+)$/m.exec(readText('/proc/vmstat') ?? '') ?? []
  return count === undefined ? undefined : Number(count)
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
