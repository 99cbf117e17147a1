/**
 * How many CPUs this process may use: the machine's, less what its affinity mask and the CPU quota of its container
 * (cgroup, version 1 or 2) leave out. Twice as many workers as that only wait for each other.
 */
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { posix } from 'node:path'

/** Reads a text file, or gives `undefined` where there is none. */
export type ReadText = (path: string) => string | undefined

const CGROUP_ROOT = '/sys/fs/cgroup'

/**
 * The number of CPUs that this process can use at once, at least 1: the smallest of the machine's CPUs, the affinity
 * of the process, and the CPU quota of its container (rounded up). Python's `cpu_count()` counts the machine's alone.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.cpu_count
 *
 * @example
 * ```ts
 * import { cpuCount } from 'multiproc'
 *
 * console.log(cpuCount()) // 2 in a container that was given "--cpus 1.5"
 * ```
 */
export function cpuCount(): number {
  const quota = process.platform === 'linux' ? cgroupCpuQuota(readTextFile) : undefined
  return Math.max(1, Math.min(availableParallelism(), Math.ceil(quota ?? Infinity)))
}

function readTextFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** The CPUs' worth of time that the control groups of this process allow, or `undefined` without a limit. */
export function cgroupCpuQuota(readText: ReadText): number | undefined {
  const quotas = readText('/proc/self/cgroup')
    ?.split('\n')
    .flatMap(line => {
      const [, id, controllers, path] = /^(\d+):([^:]*):(.*)$/.exec(line) ?? []
      if (path === undefined) return []
      if (id === '0' && controllers === '')
        return quotasUpwards(path, folder => quotaOfVersion2(readText, folder))
      if (!controllers!.split(',').includes('cpu')) return []
      // Version 1 mounts a hierarchy under the names of its controllers, which may be one or two.
      return [controllers!, 'cpu'].flatMap(mount =>
        quotasUpwards(path, folder => quotaOfVersion1(readText, posix.join(mount, folder))),
      )
    })
  return quotas === undefined || quotas.length === 0 ? undefined : Math.min(...quotas)
}

// A group has no more than any of its ancestors. In a container the path may be the host's, of which only the root
// is visible; the walk ends there and finds it.
function quotasUpwards(path: string, quotaOf: (folder: string) => number | undefined): number[] {
  const quotas: number[] = []
  for (let folder = posix.resolve('/', path); ; folder = posix.dirname(folder)) {
    const quota = quotaOf(folder)
    if (quota !== undefined) quotas.push(quota)
    if (folder === '/') return quotas
  }
}

function quotaOfVersion2(readText: ReadText, folder: string): number | undefined {
  const [quota, period] =
    readText(posix.join(CGROUP_ROOT, folder, 'cpu.max'))
      ?.trim()
      .split(' ') ?? []
  return ratio(quota, period)
}

function quotaOfVersion1(readText: ReadText, folder: string): number | undefined {
  return ratio(
    readText(posix.join(CGROUP_ROOT, folder, 'cpu.cfs_quota_us')),
    readText(posix.join(CGROUP_ROOT, folder, 'cpu.cfs_period_us')),
  )
}

/** "max" and -1 mean that there is no limit. */
function ratio(quotaText: string | undefined, periodText: string | undefined): number | undefined {
  const quota = Number(quotaText)
  const period = Number(periodText)
  return quota > 0 && period > 0 && Number.isFinite(quota / period) ? quota / period : undefined
}
