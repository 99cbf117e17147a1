/**
 * Options of a pool that are about the life of its workers: how many there are and for how long, what they do at their
 * start and end, and how the system runs them. Invariant: what is checked here needs no further check; what the system
 * or the kind of worker cannot do is an error here, at the call.
 */
import { isAbsolute } from 'node:path'
import { pathToFileURL } from 'node:url'
import { invalidArgument } from '../errors.ts'
import { NICENESS, assertThreadNiceness, pinnableCpus } from '../platform/scheduling.ts'
import type { StartMethod } from '../process/child-boot.ts'
import { processState } from '../process/process-state.ts'
import { checkCount, checkMilliseconds, show } from './option-checks.ts'

/** Which CPUs the workers of a pool may use; see {@link LifeOptions.affinity}. */
export type Affinity = 'spread' | readonly (number | readonly number[])[]

/** Options of `new Pool()` about the life of its workers. */
export interface LifeOptions {
  /**
   * Bytes (at least 2 ** 20). A worker that has more is replaced between chunks: a process by its resident memory, a
   * thread by its JavaScript heap and buffers. Default: no limit.
   */
  maxMemoryPerChild?: number | undefined
  /**
   * Milliseconds after which a worker that has nothing to do ends. New ones start when there is work. Default: they stay.
   */
  idleTimeout?: number | undefined
  /**
   * Whether a worker starts only when there is work for which no other is free, instead of all at once. Default: false.
   */
  onDemand?: boolean | undefined
  /** So many workers stay, also when they have been idle for longer than `idleTimeout`. Default: 0. */
  minProcesses?: number | undefined
  /**
   * How many workers are kept started and initialized beside `processes`, to take the place of one that dies or is
   * replaced at once. Default: 0.
   */
  spares?: number | undefined
  /**
   * Modules that every worker imports before `initializer`: a URL, an absolute path, or what an `import` in the main file
   * of the program could name (`'./setup.js'`, `'some-package'`). If one fails, the pool rejects all its work.
   */
  preload?: string | URL | readonly (string | URL)[] | undefined
  /**
   * Called in a worker that ends in an orderly way (`close()`, replaced, idle, `resize()`), with what `initializer`
   * returned. If it throws or takes too long, the program gets a warning named `FinalizerWarning`.
   */
  finalizer?: ((state: never) => unknown) | undefined
  /** Milliseconds that `finalizer` may take; then its worker is killed. Default: 5000. */
  finalizerTimeout?: number | undefined
  /**
   * The priority of the workers, from -20 (needs a privilege) to 19, which gives way to everything else. Of threads on
   * Linux only. Default: that of the program.
   */
  niceness?: number | undefined
  /**
   * The CPUs that workers may use: `'spread'` gives each worker one, in turn; a list has one entry for each worker (a
   * CPU, or several) and begins again at its end. Linux with the native addon only. Default: those of the program.
   */
  affinity?: Affinity | undefined
  /**
   * Threads that Node.js in each worker has for files, DNS and compression (`UV_THREADPOOL_SIZE`), from 1 to 1024. Not
   * for threads, which share those of their process. Default: that of the program, or 4.
   */
  threadPoolSize?: number | undefined
}

/** The names of these options. */
export const LIFE_OPTIONS = [
  'maxMemoryPerChild',
  'idleTimeout',
  'onDemand',
  'minProcesses',
  'spares',
  'preload',
  'finalizer',
  'finalizerTimeout',
  'niceness',
  'affinity',
  'threadPoolSize',
] as const

/** The checked options. */
export interface Life {
  memoryBytesMax: number | undefined
  idleMsMax: number | undefined
  isOnDemand: boolean
  processesMin: number
  spares: number
  preload: Preload | undefined
  finalizerMsMax: number
  niceness: number | undefined
  /** The CPUs of the first worker, of the second, and so on; again from the first. */
  cpus: readonly (readonly number[])[] | undefined
  threadPoolSize: number | undefined
}

/** Modules to import, and the URL of the file that they are imported as if by. */
export interface Preload {
  modules: readonly string[]
  base: string | undefined
}

/** No worker has less. A smaller number was most likely meant in MiB. */
const memoryBytesMin = 2 ** 20
const finalizerMsDefault = 5000
/** The limit of libuv. */
const threadPoolSizeMax = 1024

/** @throws TypeError or RangeError for options that make no sense, ProcessError `ERR_NOT_SUPPORTED`. */
export function checkLife(
  given: LifeOptions,
  { method, processes, workersMax }: { method: StartMethod; processes: number; workersMax: number },
): Life {
  return {
    memoryBytesMax: checkMemory(given.maxMemoryPerChild),
    idleMsMax: finite(checkMilliseconds('idleTimeout', given.idleTimeout, 1)),
    isOnDemand: checkOnDemand(given.onDemand),
    processesMin: checkMinProcesses(given, processes),
    spares: checkCount('spares', given.spares, { min: 0, max: Math.max(0, workersMax - processes) }) ?? 0,
    preload: checkPreload(given.preload),
    finalizerMsMax: checkMilliseconds('finalizerTimeout', given.finalizerTimeout, 1) ?? finalizerMsDefault,
    niceness: checkNiceness(given.niceness, method),
    cpus: checkAffinity(given.affinity),
    threadPoolSize: checkThreadPoolSize(given.threadPoolSize, method),
  }
}

function finite(ms: number | undefined): number | undefined {
  return ms === Infinity ? undefined : ms
}

function checkMemory(value: unknown): number | undefined {
  if (value === undefined || value === null || value === Infinity) return undefined
  if (typeof value === 'number' && value >= memoryBytesMin) return value
  throw invalidArgument(
    typeof value === 'number' ? RangeError : TypeError,
    `The option "maxMemoryPerChild" must be a number of bytes from ${memoryBytesMin} on, but it is ${typeof value === 'number' ? value : show(value)}\nTo fix: pass bytes, such as 500 * 2 ** 20 for 500 MiB`,
  )
}

function checkMinProcesses({ minProcesses, idleTimeout }: LifeOptions, processes: number): number {
  const min = checkCount('minProcesses', minProcesses, { min: 0, max: processes })
  if (min !== undefined && (idleTimeout === undefined || idleTimeout === null)) {
    throw invalidArgument(
      TypeError,
      'The option "minProcesses" has no meaning without "idleTimeout": all workers stay\nTo fix: pass "idleTimeout" too, or leave "minProcesses" out',
    )
  }
  return min ?? 0
}

function checkOnDemand(value: unknown): boolean {
  if (value === undefined || value === null) return false
  if (typeof value === 'boolean') return value
  throw invalidArgument(
    TypeError,
    `The option "onDemand" must be true or false, but it is ${show(value)}\nTo fix: pass one of these, or leave "onDemand" out`,
  )
}

function checkPreload(value: unknown): Preload | undefined {
  if (value === undefined || value === null) return undefined
  const modules = (Array.isArray(value) ? value : [value]).map((module: unknown) => {
    if (module instanceof URL) return module.href
    if (typeof module === 'string' && module !== '') {
      return isAbsolute(module) ? pathToFileURL(module).href : module
    }
    throw invalidArgument(
      TypeError,
      `The option "preload" must be a URL, a path or the name of a module, or an array of these, but it has ${module === '' ? 'an empty string' : show(module)}\nTo fix: pass new URL('./file.js', import.meta.url), for instance`,
    )
  })
  const main = processState.argv[1]
  return { modules, base: main === undefined ? undefined : pathToFileURL(main).href }
}

function checkNiceness(value: unknown, method: StartMethod): number | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'number' || !Number.isInteger(value) || value < NICENESS.min || value > NICENESS.max) {
    throw invalidArgument(
      typeof value === 'number' ? RangeError : TypeError,
      `The option "niceness" must be a whole number from ${NICENESS.min} to ${NICENESS.max}, but it is ${typeof value === 'number' ? value : show(value)}\nTo fix: pass such a number; 10 gives way to ordinary programs`,
    )
  }
  if (method === 'thread') assertThreadNiceness()
  return value
}

function checkAffinity(value: unknown): readonly (readonly number[])[] | undefined {
  if (value === undefined || value === null) return undefined
  const isList = Array.isArray(value) && value.length > 0
  if (value !== 'spread' && !isList) {
    throw invalidArgument(
      TypeError,
      `The option "affinity" must be 'spread' or a list of CPUs, but it is ${Array.isArray(value) ? 'an empty list' : show(value)}\nTo fix: pass 'spread', or a list such as [0, 1, [2, 3]]`,
    )
  }
  const allowed = pinnableCpus()
  if (value === 'spread') return allowed.map(cpu => [cpu])
  return (value as unknown[]).map(entry => {
    const cpus: unknown[] = Array.isArray(entry) ? entry : [entry]
    const wrong = cpus.find(cpu => typeof cpu !== 'number' || !allowed.includes(cpu))
    if (cpus.length > 0 && wrong === undefined) return cpus as number[]
    throw invalidArgument(
      typeof wrong === 'number' ? RangeError : TypeError,
      `An entry of the option "affinity" must be CPUs that this program may use (${allowed.join(', ')}), but one is ${typeof wrong === 'number' ? wrong : cpus.length === 0 ? 'an empty list' : show(wrong)}\nTo fix: choose among these`,
    )
  })
}

function checkThreadPoolSize(value: unknown, method: StartMethod): number | undefined {
  const size = checkCount('threadPoolSize', value, { max: threadPoolSizeMax })
  if (size === undefined || method === 'spawn') return size
  throw invalidArgument(
    TypeError,
    'The option "threadPoolSize" is for processes, but the workers are threads, which share the thread pool of this process\nTo fix: leave it out and set UV_THREADPOOL_SIZE for the program, or use the context "spawn"',
  )
}
