/**
 * What this machine offers a program that starts processes, for people to read. Every fact that a system does not
 * tell is `undefined`: nothing is guessed.
 */
import { readFileSync, readlinkSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os'
import { dirname } from 'node:path'
import { cgroupCpuQuota, cpuCount } from './cpu-count.ts'
import { Journal } from './journal.ts'

/** A limit of this process, and how far it may raise it. */
export interface ResourceLimit {
  soft: number | 'unlimited'
  hard: number | 'unlimited'
}

export interface MachineFacts {
  platform: NodeJS.Platform
  arch: string
  cpus: {
    /** What `cpuCount()` says. */
    usable: number
    machine: number
    /** How many of them the affinity mask of this process allows. */
    affinity: number
    /** CPUs' worth of time that the container may use. */
    quota: number | undefined
  }
  /** Bytes. */
  memory: { machine: number; container: number | undefined }
  openFiles: ResourceLimit | undefined
  processes: ResourceLimit | undefined
  /** The folder that holds the journals of workers, or `undefined` where none can be made. */
  journalFolder: string | undefined
}

export function machineFacts(): MachineFacts {
  const isLinux = process.platform === 'linux'
  const limits = isLinux ? readText('/proc/self/limits') : undefined
  return {
    platform: process.platform,
    arch: process.arch,
    cpus: {
      usable: cpuCount(),
      machine: cpus().length,
      affinity: affinityCount(),
      quota: isLinux ? cgroupCpuQuota(readText) : undefined,
    },
    memory: { machine: totalmem(), container: containerMemory() },
    openFiles: limits === undefined ? undefined : resourceLimit(limits, 'Max open files'),
    processes: limits === undefined ? undefined : resourceLimit(limits, 'Max processes'),
    journalFolder: journalFolder(),
  }
}

/** Reads a row of /proc/self/limits: name, soft limit, hard limit, unit, separated by many spaces. */
export function resourceLimit(limits: string, name: string): ResourceLimit | undefined {
  const row = limits.split('\n').find(line => line.startsWith(name))
  const [, soft, hard] = /^\s+(\S+)\s+(\S+)/.exec(row?.slice(name.length) ?? '') ?? []
  if (soft === undefined || hard === undefined) return undefined
  const number = (text: string): number | 'unlimited' => (text === 'unlimited' ? text : Number(text))
  return { soft: number(soft), hard: number(hard) }
}

/** Where Node does not know a mask (macOS), it counts the machine's CPUs. */
function affinityCount(): number {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readText('/proc/self/status') ?? '')?.[1]
  return list === undefined ? availableParallelism() : cpuListLength(list)
}

/** How many numbers a list such as `0-3,8` has. */
export function cpuListLength(list: string): number {
  let count = 0
  for (const range of list.split(',')) {
    const [first, last] = range.split('-').map(Number)
    count += (last ?? first)! - first! + 1
  }
  return count
}

/** Without a limit, Node gives nothing, 0, or a number beyond all memory. */
function containerMemory(): number | undefined {
  const bytes = process.constrainedMemory()
  return bytes > 0 && bytes < totalmem() ? bytes : undefined
}

/** Makes a journal and looks where it is. */
function journalFolder(): string | undefined {
  const journal = Journal.inFile()
  if (journal?.fd === undefined) return undefined
  try {
    // The journal lies in a folder of its own, and both have been unlinked: "/dev/shm/multiproc-x/journal (deleted)".
    return dirname(dirname(readlinkSync(`/proc/self/fd/${journal.fd}`)))
  } catch {
    // No /proc: the journal is where temporary files are.
    return tmpdir()
  } finally {
    journal.close()
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
