/** Options of executors, checked before they become those of a pool. */
import { invalidArgument } from '../errors.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { checkCount, show } from '../pool/option-checks.ts'
import type { ContextOption, PoolOptions } from '../pool/pool-options.ts'

/** Options of all executors. */
export interface ExecutorOptions {
  /** How many workers it may have; they start when they are needed. Default: `cpuCount()`. */
  maxWorkers?: number | undefined
  /** Called once in every worker before its first task. If it throws, the executor is broken. */
  initializer?: ((...args: never[]) => unknown) | undefined
  /** Arguments of `initializer`. */
  initArgs?: readonly unknown[] | undefined
  /** A worker is replaced after so many tasks. Default: never. */
  maxTasksPerChild?: number | undefined
  /**
   * What the death of a worker means: `'break'`, as in Python, breaks the executor, so that everything that is not done
   * fails, and later calls throw; with `'replace'` only the task that the worker was running fails, with a
   * {@link WorkerDiedError}, and another worker takes its place. Default: `'break'`.
   */
  onWorkerDeath?: 'break' | 'replace' | undefined
}

/** Options of {@link ProcessPoolExecutor}. */
export interface ProcessPoolExecutorOptions extends ExecutorOptions {
  /** The context, or start method, that workers are started by. Default: `getStartMethod()`. */
  mpContext?: ContextOption | undefined
}

/** Options of {@link ThreadPoolExecutor} and {@link InterpreterPoolExecutor}. */
export interface ThreadPoolExecutorOptions extends ExecutorOptions {
  /** Workers are called `prefix_0`, `prefix_1` and so on. Default: `ThreadPoolExecutor-0` and so on. */
  threadNamePrefix?: string | undefined
}

type AllOptions = ProcessPoolExecutorOptions & ThreadPoolExecutorOptions

/** The options as those of a pool. */
export interface CheckedOptions {
  pool: PoolOptions
  breaksOnDeath: boolean
  prefix: string
}

/** @throws TypeError or RangeError. */
export function checkExecutorOptions(
  options: number | AllOptions | undefined,
  { className, own, index }: { className: string; own: 'mpContext' | 'threadNamePrefix'; index: number },
): CheckedOptions {
  const given: AllOptions = typeof options === 'number' ? { maxWorkers: options } : (options ?? {})
  assertKnownOptions(className, given, [
    'maxWorkers',
    'initializer',
    'initArgs',
    'maxTasksPerChild',
    'onWorkerDeath',
    own,
  ])
  const { initializer, initArgs, mpContext, onWorkerDeath = 'break', threadNamePrefix } = given
  if (onWorkerDeath !== 'break' && onWorkerDeath !== 'replace') {
    throw invalidArgument(
      TypeError,
      `The option "onWorkerDeath" must be 'break' or 'replace', but it is ${show(onWorkerDeath)}\nTo fix: pass one of these, or leave it out`,
    )
  }
  if (threadNamePrefix !== undefined && typeof threadNamePrefix !== 'string') {
    throw invalidArgument(
      TypeError,
      `The option "threadNamePrefix" must be a string, but it is ${show(threadNamePrefix)}\nTo fix: pass a string, or leave it out`,
    )
  }
  return {
    pool: {
      processes: checkCount('maxWorkers', given.maxWorkers),
      initializer,
      initArgs,
      maxTasksPerChild: checkCount('maxTasksPerChild', given.maxTasksPerChild),
      context: mpContext,
    },
    breaksOnDeath: onWorkerDeath === 'break',
    prefix: threadNamePrefix || `${className}-${index}`,
  }
}
