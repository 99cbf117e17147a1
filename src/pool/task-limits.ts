/**
 * What a call may say of how long its items may take, how often they may run, and who can call it off. A pool has the
 * same options as defaults of its calls. Invariant: what is checked here needs no further check.
 */
import { ProcessError, invalidArgument } from '../errors.ts'
import { checkMilliseconds } from './option-checks.ts'
import { type Requirements, type TaskRequirements, checkRequires } from './requirements.ts'
import { type Retries, type RetryPolicy, checkRetries } from './retry-policy.ts'

/** Options of `Pool.apply`, and of each item of a map. */
export interface TaskOptions {
  /**
   * Milliseconds that a task (or each item of a map) may run; then it fails with a {@link TimeoutError}. The time counts
   * from when it begins to run in a worker, not from the call. Default: that of the pool, or no limit.
   */
  timeout?: number | undefined
  /**
   * Milliseconds that a task which was timed out or cancelled has to end by itself: it learns of it by
   * `currentTask().signal`. Then its worker is killed and replaced. Default: that of the pool, or 1000.
   */
  gracePeriod?: number | undefined
  /** How often a task that failed runs again, or a policy. Default: that of the pool, or 0. */
  retries?: number | RetryPolicy | undefined
  /**
   * What waits with a higher number goes first, among all calls of the pool. What runs is not interrupted. Any finite
   * number. Default: that of the pool, or 0.
   */
  priority?: number | undefined
  /**
   * With `cluster`: what the machine must have that runs a task, as labels and resources of its agent (Ray's `num_gpus` and
   * `resources`, Dask's `resources`). The task is given to no other one. Default: that of the pool, or nothing; a call
   * passes `{}` for nothing.
   */
  requires?: TaskRequirements | undefined
  /** Calls everything off when it aborts; what is not done fails with the signal's reason. */
  signal?: AbortSignal | undefined
}

/** The names of these options. */
export const TASK_OPTIONS = ['timeout', 'gracePeriod', 'retries', 'priority', 'requires', 'signal'] as const

/** The checked options of one call. */
export interface TaskLimits {
  timeoutMs: number | undefined
  graceMs: number
  retries: Retries | undefined
  priority: number
  /** What the machine must have. */
  requires?: Requirements | undefined
  /** Whether there are several machines, so that calls can require something of theirs. */
  hasMachines?: boolean
}

/** Those of a pool whose options say nothing. */
export const NO_LIMITS: TaskLimits = { timeoutMs: undefined, graceMs: 1000, retries: undefined, priority: 0 }
/** The same of a pool on a cluster. */
export const NO_LIMITS_ON_CLUSTER: TaskLimits = { ...NO_LIMITS, hasMachines: true }

/** The limits of a call, with what it leaves out from the pool's. */
export function checkLimits(options: TaskOptions | undefined, defaults: TaskLimits): TaskLimits {
  if (options === undefined) return defaults
  const { timeout, gracePeriod, retries, priority, requires, signal } = options
  if (signal !== undefined) checkSignal(signal)
  const isDefault =
    timeout === undefined &&
    gracePeriod === undefined &&
    retries === undefined &&
    priority === undefined &&
    requires === undefined
  if (isDefault) return defaults
  return {
    timeoutMs: checkMilliseconds('timeout', timeout, 1) ?? defaults.timeoutMs,
    graceMs: checkMilliseconds('gracePeriod', gracePeriod, 0) ?? defaults.graceMs,
    retries: checkRetries(retries) ?? defaults.retries,
    priority: checkPriority(priority) ?? defaults.priority,
    ...(defaults.hasMachines ? { hasMachines: true } : {}),
    ...requirementsFor(requires, defaults),
  }
}

function requirementsFor(
  given: unknown,
  { requires, hasMachines }: TaskLimits,
): Pick<TaskLimits, 'requires'> {
  if (given === undefined || given === null) return requires === undefined ? {} : { requires }
  const own = checkRequires(given)
  if (hasMachines !== true) {
    throw new ProcessError(
      'ERR_NOT_SUPPORTED',
      'The option "requires" chooses among machines, and this pool has workers on this machine alone\nTo fix: leave it out, or make a pool on a cluster: new Pool({ cluster, name, requires })',
    )
  }
  return own === undefined ? {} : { requires: own }
}

function checkPriority(value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value === 'number' && Number.isFinite(value)) return value
  throw invalidArgument(
    typeof value === 'number' ? RangeError : TypeError,
    `The option "priority" must be a finite number, but it is ${typeof value === 'number' ? value : `of the type ${typeof value}`}\nTo fix: pass such a number (higher ones go first), or leave "priority" out`,
  )
}

export function checkSignal(value: unknown): void {
  if (value instanceof AbortSignal) return
  throw invalidArgument(
    TypeError,
    `The option "signal" must be an AbortSignal, but it is ${value === null ? 'null' : `of the type ${typeof value}`}\nTo fix: pass the "signal" of an AbortController`,
  )
}
