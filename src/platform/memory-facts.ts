/**
 * What the system tells of the memory of processes, and of those that it killed for want of it. Whatever a system does
 * not tell is `undefined`.
 */
import { readFileSync } from 'node:fs'

/** The resident memory of a process, in bytes. Linux only. */
export function residentBytes(pid: number): number | undefined {
  if (process.platform !== 'linux') return undefined
  const [, kibibytes] = /^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`) ?? '') ?? []
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024
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
    (group === undefined ? undefined : readText(`/sys/fs/cgroup${group === '/' ? '' : group}/memory.events`)) ??
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
