/**
 * Makes the core of a pool from the options that a user gave: checks them, ships the initializer and the finalizer, and
 * sees that a pool in a worker keeps within its limits.
 */
import { cpuCount } from '../platform/cpu-count.ts'
import type { StartMethod } from '../process/child-boot.ts'
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
  'dashboard',
] as const

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

/** Checks and encodes what the workers run at their start and their end. */
function encodeHooks(given: PoolOptions, method: StartMethod): WorkerHooks {
  const { initializer, initArgs = [], finalizer } = given
  if (initializer !== undefined) checkFunction('The option "initializer"', initializer)
  if (finalizer !== undefined) checkFunction('The option "finalizer"', finalizer)
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
