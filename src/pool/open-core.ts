/**
 * Makes the core of a pool from the options that a user gave: checks them, ships the initializer and the finalizer, and
 * sees that a pool in a worker keeps within its limits.
 */
import { ProcessError, invalidArgument } from '../errors.ts'
import { cpuCount } from '../platform/cpu-count.ts'
import type { StartMethod } from '../process/child-boot.ts'
import { checkBundles } from './bundle-option.ts'
import { type ClusterSettings, checkCluster } from './cluster-option.ts'
import { newElsewhere } from './elsewhere.ts'
import { LIFE_OPTIONS, checkLife } from './life-options.ts'
import { workersOfAllPools } from './live-pools.ts'
import { WORKERS_MAX, assertMayNest, workersLeft } from './nesting.ts'
import { checkCount, checkMilliseconds } from './option-checks.ts'
import { PoolCore } from './pool-core.ts'
import { type PoolOptions, checkFunction, checkHeartbeat, resolveMethod } from './pool-options.ts'
import { type Body, encodeBody } from './protocol.ts'
import { type Called, atCaller } from './ship-call.ts'
import { TASK_OPTIONS } from './task-limits.ts'
import type { WorkerHooks } from './worker-launch.ts'

/** The names of all options of a pool. */
export const POOL_OPTIONS = [
  'processes',
  'initializer',
  'initArgs',
  'initializerTimeout',
  'heartbeat',
  'maxTasksPerChild',
  'maxDeathsPerItem',
  ...LIFE_OPTIONS,
  ...TASK_OPTIONS,
  'context',
  'resourceLimits',
  'name',
  'cluster',
  'bundle',
  'dashboard',
] as const

/** What a pool on a cluster can be told; the rest is up to its agents. */
const CLUSTER_POOL_OPTIONS: readonly string[] = [
  'cluster',
  'name',
  'bundle',
  'initializer',
  'initArgs',
  'dashboard',
  'maxDeathsPerItem',
  ...TASK_OPTIONS,
]

/** What users of a pool do not choose. */
export interface Opening {
  name: string
  /** Whose constructor the user has called. */
  opener: Called
  /** Default: `PoolWorker-1` and so on. */
  workerName?: (number: number) => string
  /** Default: false. */
  breaksOnDeath?: boolean
}

/** Dask gives up after as many (`allowed-failures`). */
const deathsMaxDefault = 3

/** @throws as the constructor of `Pool`. */
export function openCore(given: PoolOptions, opening: Opening): PoolCore {
  if (given.cluster !== undefined) return checkedClusterCore({ ...given, cluster: given.cluster }, opening)
  if (given.bundle !== undefined) {
    throw new ProcessError(
      'ERR_NOT_SUPPORTED',
      'The option "bundle" is for pools on a cluster: workers of this machine have its modules\nTo fix: leave it out, or make a pool on a cluster: new Pool({ cluster, name, bundle })',
    )
  }
  const method = resolveMethod(given.context)
  const workersHere = workersOfAllPools()
  const processes =
    checkCount('processes', given.processes, { max: WORKERS_MAX }) ??
    Math.min(cpuCount(), workersLeft(workersHere + (Number(given.spares) || 0)))
  const life = checkLife(given, { method, processes, workersMax: WORKERS_MAX })
  const maxTasksPerChild = checkCount('maxTasksPerChild', given.maxTasksPerChild)
  const deathsMax = checkCount('maxDeathsPerItem', given.maxDeathsPerItem) ?? deathsMaxDefault
  const initializerTimeoutMs = checkMilliseconds('initializerTimeout', given.initializerTimeout, 1)
  const heartbeatMs = checkHeartbeat(checkMilliseconds('heartbeat', given.heartbeat, 100), method)
  assertMayNest(processes + life.spares, workersHere)
  const hooks = atCaller(opening.opener, () => encodeHooks(given, method))
  const { name, workerName = number => `PoolWorker-${number}`, breaksOnDeath = false } = opening
  const { resourceLimits } = given
  return new PoolCore({
    method,
    processes,
    maxTasksPerChild,
    hooks,
    life,
    initializerTimeoutMs,
    heartbeatMs,
    deathsMax,
    resourceLimits,
    name,
    workerName,
    breaksOnDeath,
  })
}

/** The core of a pool whose workers belong to the agents of a cluster. */
function checkedClusterCore(
  given: PoolOptions & Required<Pick<PoolOptions, 'cluster'>>,
  { name }: Opening,
): PoolCore {
  const extra = Object.entries(given).find(
    ([key, value]) => value !== undefined && !CLUSTER_POOL_OPTIONS.includes(key),
  )
  if (extra) {
    throw new ProcessError(
      'ERR_NOT_SUPPORTED',
      `The option "${extra[0]}" is not for a pool on a cluster: its workers belong to the agents\nTo fix: leave it out, and see "multiproc worker --help" for what agents can be told`,
    )
  }
  const settings = checkCluster(given.cluster, given.name)
  return openClusterCore(
    { ...settings, bundles: checkBundles(given.bundle) },
    {
      name,
      deathsMax: checkCount('maxDeathsPerItem', given.maxDeathsPerItem),
    },
  )
}

/** The core of a pool on a cluster. */
export function openClusterCore(
  settings: ClusterSettings,
  { name, deathsMax = deathsMaxDefault }: { name: string; deathsMax: number | undefined },
): PoolCore {
  return new PoolCore({
    elsewhere: newElsewhere(settings),
    method: 'spawn',
    // One runner stands for all of them.
    processes: 1,
    maxTasksPerChild: undefined,
    hooks: { bodies: [], hasInitializer: false, hasFinalizer: false },
    life: checkLife({}, { method: 'spawn', processes: 1, workersMax: WORKERS_MAX }),
    initializerTimeoutMs: undefined,
    heartbeatMs: undefined,
    deathsMax,
    resourceLimits: undefined,
    name,
    workerName: () => 'cluster',
    breaksOnDeath: false,
  })
}

/** Checks and encodes what the workers run at their start and their end. */
function encodeHooks(given: PoolOptions, method: StartMethod): WorkerHooks {
  const { initializer, initArgs = [], finalizer } = given
  if (initializer !== undefined) checkFunction('The option "initializer"', initializer)
  if (finalizer !== undefined) checkFunction('The option "finalizer"', finalizer)
  if (!Array.isArray(initArgs)) {
    throw invalidArgument(
      TypeError,
      `The option "initArgs" must be an array, but it is a ${typeof initArgs}\nTo fix: pass [argument]`,
    )
  }
  const wire = { canAttach: method === 'thread' }
  const bodies: Body[] = []
  const add = (value: unknown, rootName: string): void => {
    bodies.push(encodeBody(value, wire, { rootName, isReadOften: true }))
  }
  if (initializer) {
    add(initializer, `initializer ${initializer.name}`)
    add([...initArgs], 'initArgs')
  }
  if (finalizer) add(finalizer, `finalizer ${finalizer.name}`)
  return { bodies, hasInitializer: initializer !== undefined, hasFinalizer: finalizer !== undefined }
}
