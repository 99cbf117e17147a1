/** What users can import from `multiproc/futures`: all of Python's `concurrent.futures`. */
import '../dashboard/attach-dashboard.ts'
export {
  BrokenExecutor,
  BrokenInterpreterPool,
  BrokenProcessPool,
  BrokenThreadPool,
  CancelledError,
  InvalidStateError,
  TimeoutError,
} from '../errors.ts'
export type { WaitOptions } from '../platform/bounded-wait.ts'
export type { ContextOption } from '../pool/pool-options.ts'
export type { PoolStats, WorkerStats } from '../pool/pool-stats.ts'
export { asCompleted, type AsCompletedOptions, type CompletedFutures } from './as-completed.ts'
export { Executor, type ExecutorMapOptions, type InputsOf, type ShutdownOptions } from './executor.ts'
export { ExecutorMap } from './executor-map.ts'
export type {
  ExecutorOptions,
  ProcessPoolExecutorOptions,
  ThreadPoolExecutorOptions,
} from './executor-options.ts'
export { Future, type FutureState } from './future.ts'
export { ProcessPoolExecutor } from './process-pool-executor.ts'
export { InterpreterPoolExecutor, ThreadPoolExecutor } from './thread-pool-executor.ts'
export {
  ALL_COMPLETED,
  FIRST_COMPLETED,
  FIRST_EXCEPTION,
  wait,
  type DoneAndNotDone,
  type FuturesWaitOptions,
} from './wait.ts'
