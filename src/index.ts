/** The public API of the library: everything that users can import from `multiproc`. */
import './dashboard/attach-dashboard.ts'
export {
  AuthenticationError,
  BrokenBarrierError,
  BrokenExecutor,
  BrokenInterpreterPool,
  BrokenPoolError,
  ClusterError,
  BrokenProcessPool,
  BrokenThreadPool,
  CancelledError,
  ClosedError,
  type ErrorCode,
  InterruptedError,
  InvalidStateError,
  MaybeEncodingError,
  ModuleLoadError,
  LeaseLostError,
  OwnerDiedError,
  PoisonedItemError,
  ProcessError,
  QueueEmptyError,
  QueueFullError,
  RemoteError,
  SerializeError,
  type SerializeErrorFacts,
  TimeoutError,
  type WorkerDeathFacts,
  type WorkerDeathReason,
  WorkerDiedError,
} from './errors.ts'
export {
  type Span,
  startTrace,
  Trace,
  type TraceOptions,
  type TraceSummary,
  type Track,
} from './insights/trace-file.ts'
export type { Carrier } from './insights/carrier.ts'
export type {
  CallMessage,
  ChunkMessage,
  ChunkPart,
  LockWaitMessage,
  PartTime,
  ProcessMessage,
  QueueWaitMessage,
  TaskMessage,
} from './insights/channels.ts'
export type { ThrownText } from './insights/thrown-text.ts'
export type { LongTask } from './insights/longest-tasks.ts'
export type { Progress, ProgressCounts } from './insights/progress-meter.ts'
export { cpuCount } from './platform/cpu-count.ts'
export type { ElementOf, ElementType, TypedArrayConstructor, TypedArrayOf } from './memory/element-types.ts'
export { type Elements, rawArray } from './memory/raw-array.ts'
export { RawValue } from './memory/raw-value.ts'
export { type ListItem, ShareableList, type ShareableListOptions } from './memory/shareable-list.ts'
export { sharedArray } from './memory/shared-array.ts'
export { SharedMemory, type SharedMemoryOptions } from './memory/shared-memory.ts'
export { DupFd } from './socket/dup-fd.ts'
export type { SharedOptions } from './sync/locked.ts'
export { SharedArray } from './sync/shared-array.ts'
export { SharedValue } from './sync/shared-value.ts'
export type { BlockingOptions, WaitOptions } from './platform/bounded-wait.ts'
export type { StartMethod } from './process/child-boot.ts'
export type { ChildStdio } from './process/popen.ts'
export type { ParentProcess } from './process/parent-process.ts'
export { BaseContext } from './process/base-context.ts'
export { PoolContext } from './pool/pool-context.ts'
export { Context, getContext } from './managers/context.ts'
export { SpawnProcess, ThreadProcess } from './process/bound-processes.ts'
export { type Carrying, carryAcross } from './process/carried-context.ts'
export { setExecutable } from './process/executable.ts'
export { interruptSignal } from './process/interrupt-signal.ts'
export {
  activeChildren,
  currentProcess,
  Process,
  type ContextLike,
  type ProcessOptions,
} from './process/process.ts'
export { parentProcess } from './process/process-state.ts'
export { getAllStartMethods, getStartMethod, setStartMethod } from './process/start-methods.ts'
export { JoinableQueue, Queue, type QueueOptions, type ShutdownQueueOptions } from './queue/queue.ts'
export { Pipe } from './queue/pipe.ts'
export { PipeConnection } from './queue/pipe-connection.ts'
export { wait, type Waitable } from './queue/wait.ts'
export { SimpleQueue } from './queue/simple-queue.ts'
export { type Address, type AddressFamily, addressType, arbitraryAddress } from './connection/address.ts'
export type { AuthKey } from './connection/auth-key.ts'
export { Client, type ClientOptions } from './connection/client.ts'
export { Listener, type ListenerOptions } from './connection/listener.ts'
export { RemoteConnection } from './connection/remote-connection.ts'
export { AsyncResult } from './pool/async-result.ts'
export { currentTask, type TaskContext } from './pool/current-task.ts'
export { ImapIterator } from './pool/imap-iterator.ts'
export type { Input } from './pool/input-reader.ts'
export type { Affinity, LifeOptions } from './pool/life-options.ts'
export { defaultPool, type DefaultPoolOptions } from './pool/default-pool.ts'
export type { DashboardOptions } from './pool/dashboard-option.ts'
export { Pool } from './pool/pool.ts'
export type { PoolStats, WorkStats, WorkerStats } from './pool/pool-stats.ts'
export type { WorkerTimes } from './pool/worker-insights.ts'
export type { NumberArrayConstructor, NumberArrayOf, NumberIn } from './pool/number-array.ts'
export type {
  AttachOptions,
  ContextOption,
  ImapOptions,
  MapIntoOptions,
  MapOptions,
  PoolOptions,
} from './pool/pool-options.ts'
export type { ClusterOptions, ClusterTlsOptions } from './pool/cluster-option.ts'
export type { RetryPolicy } from './pool/retry-policy.ts'
export type {
  ApplyOptions,
  ProgressOptions,
  ReportInfo,
  ReportOptions,
  WatchOptions,
} from './pool/progress-options.ts'
export { SpawnPool } from './pool/spawn-pool.ts'
export type { ResourceShare, TaskRequirements } from './pool/requirements.ts'
export type { TaskOptions } from './pool/task-limits.ts'
export { ThreadPool } from './pool/thread-pool.ts'
export { asCompleted, type AsCompletedOptions, type CompletedFutures } from './futures/as-completed.ts'
export { Executor, type ExecutorMapOptions, type InputsOf, type ShutdownOptions } from './futures/executor.ts'
export { ExecutorMap } from './futures/executor-map.ts'
export type {
  ExecutorOptions,
  ProcessPoolExecutorOptions,
  ThreadPoolExecutorOptions,
} from './futures/executor-options.ts'
export { Future, type FutureState } from './futures/future.ts'
export { ProcessPoolExecutor } from './futures/process-pool-executor.ts'
export { InterpreterPoolExecutor, ThreadPoolExecutor } from './futures/thread-pool-executor.ts'
export type { AcquireOptions, AcquireSyncOptions, RecoverOptions } from './sync/acquirable.ts'
export { Barrier, type BarrierOptions } from './sync/barrier.ts'
export { BoundedSemaphore } from './sync/bounded-semaphore.ts'
export { Condition, type ConditionWaitOptions, type ConditionWaitSyncOptions } from './sync/condition.ts'
export { Event } from './sync/event.ts'
export { Held } from './sync/held.ts'
export { Lock } from './sync/lock.ts'
export { RLock } from './sync/rlock.ts'
export { Semaphore } from './sync/semaphore.ts'
export { withCaptures } from './serialize/function/with-captures.ts'
export { registerReducer, type Receiver, type Reducer } from './serialize/codec.ts'
export { AcquirerProxy, LockProxy, ManagedHeld, SemaphoreProxy } from './managers/acquirer.ts'
export {
  BaseManager,
  type ManagerOptions,
  type Proxied,
  type RegisterOptions,
} from './managers/base-manager.ts'
export { BaseProxy, makeProxyType, type ProxyType } from './managers/base-proxy.ts'
export { type DictEntries, DictProxy } from './managers/dict.ts'
export type { ManagedKey } from './managers/keys.ts'
export { ListProxy, type SortOrder } from './managers/list.ts'
export { AsyncResultProxy, IteratorProxy, PoolProxy } from './managers/managed-pool.ts'
export { JoinableQueueProxy, QueueProxy } from './managers/managed-queue.ts'
export { ManagerServer } from './managers/manager-server.ts'
export { NamespaceProxy } from './managers/namespace.ts'
export { type SetOperand, SetProxy } from './managers/set.ts'
export { SharedMemoryManager } from './managers/shared-memory-manager.ts'
export { BarrierProxy, ConditionProxy, EventProxy } from './managers/signalling.ts'
export { Manager, SyncManager } from './managers/sync-manager.ts'
export { ArrayProxy, ValueProxy } from './managers/value.ts'
