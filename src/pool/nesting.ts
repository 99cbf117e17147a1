/**
 * Pools in workers of pools: how deep they may go, and how many workers there may be, so that a function which makes a
 * pool and gives it itself is an error and not the end of the machine. Invariant: the workers of a pool and of all pools
 * below it are never more than `TREE_WORKERS_MAX`, or than its own, if it is not resized; no process has to ask another
 * one for that.
 */
import { ProcessError, invalidArgument } from '../errors.ts'
import type { Nesting } from '../process/child-boot.ts'
import { assertNotImporting } from '../process/import-guard.ts'
import { processState } from '../process/process-state.ts'

/** One program has places in shared memory for 4096 processes and threads. */
export const WORKERS_MAX = 4000
/** With pools in its workers, a pool that somebody means to have is far smaller. */
const TREE_WORKERS_MAX = 500

/** A pool, a pool in its workers, and a pool in theirs. */
const depthMaxDefault = 3
const depthVariable = 'MULTIPROC_MAX_DEPTH'

/** How many workers a pool without the option `processes` may have here, at least 1. */
export function workersLeft(workersHere: number): number {
  const { nesting } = processState
  return nesting === undefined ? WORKERS_MAX : Math.max(1, nesting.workersMax - workersHere)
}

/**
 * Called before a pool starts or grows.
 *
 * @param workersHere - those of the other pools of this process
 * @throws ProcessError `ERR_LIMIT` when this process is too deep, or may not have so many workers; `ERR_INVALID_STATE`
 * while this worker imports what it preloads.
 */
export function assertMayNest(workers: number, workersHere: number): void {
  const { nesting } = processState
  // A module that is preloaded by the workers of the pool that it makes would make one in each of them.
  if (nesting) assertNotImporting()
  const depth = (nesting?.depth ?? 0) + 1
  const depthMax = maxDepth()
  if (depth > depthMax) {
    throw new ProcessError(
      'ERR_LIMIT',
      `Cannot make a pool in "${processState.name}": it would be ${depth} pools deep, and the limit is ${depthMax}\nTo fix: find out whether a function gives itself to a pool that it makes, or set the environment variable ${depthVariable} of the main program to ${depth}`,
    )
  }
  if (nesting && workersHere + workers > nesting.workersMax) {
    throw new ProcessError(
      'ERR_LIMIT',
      `Cannot have ${workers} workers for a pool in "${processState.name}": the pools of this worker may have ${nesting.workersMax} together, and have ${workersHere}, so that all of them do not exceed ${TREE_WORKERS_MAX}\nTo fix: ask for fewer "processes" in one of the nested pools, close those that are not used any more, or call the function directly`,
    )
  }
}

/** What the workers of a pool of this process are told. The places below it are divided among them. */
export function nestingOfWorkers(workers: number): Nesting {
  const { depth, workersMax } = processState.nesting ?? { depth: 0, workersMax: TREE_WORKERS_MAX }
  return { depth: depth + 1, workersMax: Math.max(0, Math.floor(workersMax / workers) - 1) }
}

function maxDepth(): number {
  const text = process.env[depthVariable]
  if (text === undefined || text === '') return depthMaxDefault
  const depth = Number(text)
  if (Number.isInteger(depth) && depth >= 1) return depth
  throw invalidArgument(
    RangeError,
    `The environment variable ${depthVariable} must be a whole number from 1, but it is ${JSON.stringify(text)}\nTo fix: set it to such a number, or unset it`,
  )
}
