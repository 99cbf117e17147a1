/**
 * Whether and when an item that failed runs again. Pure, so that every case can be tried without workers. Invariant:
 * an item is run at most `limit + 1` times, and no delay exceeds `delayMax`.
 */
import {
  ClosedError,
  BrokenPoolError,
  PoisonedItemError,
  SerializeError,
  invalidArgument,
} from '../errors.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { TIMER_MS_MAX } from '../platform/long-timer.ts'

/**
 * When an item that failed is to run again.
 *
 * @example
 * ```ts
 * import { Pool, WorkerDiedError } from 'multiproc'
 *
 * const pool = new Pool(2)
 * const answer = await pool.apply(() => 42, [], {
 *   retries: { limit: 5, delay: 100, when: error => error instanceof WorkerDiedError },
 * })
 * console.log(answer) // 42
 * await pool.terminate()
 * ```
 */
export interface RetryPolicy {
  /** How often it may run again, 0 or more. */
  limit: number
  /** Milliseconds before the second run. Default: 0. */
  delay?: number | undefined
  /** What the delay is multiplied by for each further run, 1 or more. Default: 2. */
  factor?: number | undefined
  /** No delay is longer than this, in milliseconds. Default: 30000. */
  delayMax?: number | undefined
  /** Part of each delay that is left to chance, from 0 to 1, so that many do not come back together. Default: 0.5. */
  jitter?: number | undefined
  /**
   * Whether this failure is worth another run; `attempt` is 1 after the first. It is called in the parent. Default:
   * errors that the task threw, deaths of its worker and time-outs all are.
   */
  when?: ((error: unknown, attempt: number) => boolean) | undefined
}

/** A policy with everything filled in. */
export interface Retries {
  limit: number
  delayMs: number
  factor: number
  delayMsMax: number
  jitter: number
  when: ((error: unknown, attempt: number) => boolean) | undefined
}

/** @throws TypeError or RangeError for a policy that makes no sense. */
export function checkRetries(given: unknown): Retries | undefined {
  if (given === undefined || given === null) return undefined
  const policy = typeof given === 'number' ? { limit: given } : (given as Partial<RetryPolicy>)
  const known = ['limit', 'delay', 'factor', 'delayMax', 'jitter', 'when']
  if (typeof given !== 'number') assertKnownOptions('retries', given, known)
  const { when } = policy
  if (when !== undefined && typeof when !== 'function') {
    throw invalidArgument(
      TypeError,
      `The option "retries.when" must be a function, but it is a ${typeof when}\nTo fix: pass (error, attempt) => boolean`,
    )
  }
  const limit = inRange('limit', policy.limit, { min: 0, max: Infinity, fallback: Number.NaN })
  if (limit !== Infinity && !Number.isInteger(limit)) {
    throw invalidArgument(
      RangeError,
      `The option "retries" must be a whole number from 0, but it is ${limit}\nTo fix: pass such a number, as in { retries: 3 }`,
    )
  }
  return {
    limit,
    delayMs: inRange('delay', policy.delay, { min: 0, max: TIMER_MS_MAX, fallback: 0 }),
    factor: inRange('factor', policy.factor, { min: 1, max: 1000, fallback: 2 }),
    delayMsMax: inRange('delayMax', policy.delayMax, { min: 0, max: TIMER_MS_MAX, fallback: 30_000 }),
    jitter: inRange('jitter', policy.jitter, { min: 0, max: 1, fallback: 0.5 }),
    when,
  }
}

function inRange(
  name: string,
  value: unknown,
  { min, max, fallback }: { min: number; max: number; fallback: number },
): number {
  if (value === undefined && !Number.isNaN(fallback)) return fallback
  if (typeof value === 'number' && value >= min && value <= max) return value
  throw invalidArgument(
    typeof value === 'number' ? RangeError : TypeError,
    `The option "retries.${name}" must be a number from ${min} to ${max}, but it is ${typeof value === 'number' ? value : `of the type ${typeof value}`}\nTo fix: pass such a number${Number.isNaN(fallback) ? '' : ', or leave it out'}`,
  )
}

/**
 * Whether an item that failed with `error` in its run number `attempt` (from 1) is run again.
 *
 * @throws what the caller's `when` throws.
 */
export function isRetried(retries: Retries | undefined, error: unknown, attempt: number): boolean {
  if (retries === undefined || attempt > retries.limit || isFinal(error)) return false
  return retries.when === undefined || retries.when(error, attempt)
}

/** Failures that another run would only repeat, or that are meant to be the end. */
function isFinal(error: unknown): boolean {
  return (
    error instanceof SerializeError ||
    error instanceof ClosedError ||
    error instanceof BrokenPoolError ||
    error instanceof PoisonedItemError
  )
}

/** Milliseconds to wait after run number `attempt`. */
export function retryDelayMs(retries: Retries, attempt: number, random: () => number = Math.random): number {
  const fullMs = Math.min(retries.delayMsMax, retries.delayMs * retries.factor ** (attempt - 1))
  return fullMs * (1 - retries.jitter * random())
}
