/** Starts one worker of a pool: its journal, its process or thread, and the runner that stands for it here. */
import type { ResourceLimits } from 'node:worker_threads'
import { childEntry } from '../platform/child-entry.ts'
import { Journal } from '../platform/journal.ts'
import type { StartMethod } from '../process/child-boot.ts'
import { FollowedProcess } from '../process/followed-process.ts'
import { popen } from '../process/popen.ts'
import { newChildBoot, nextChildIdentity } from '../process/process-state.ts'
import type { Elsewhere } from './elsewhere.ts'
import { ElsewherePopen } from './elsewhere-popen.ts'
import { Heartbeat } from './heartbeat.ts'
import type { Life } from './life-options.ts'
import { nestingOfWorkers } from './nesting.ts'
import type { Body, WorkerSetup } from './protocol.ts'
import { journalPlace } from './worker-journal.ts'
import { type RunnerEvents, WorkerRunner } from './worker-runner.ts'
import type { WorkerStart } from './workforce.ts'

/** What all workers of a pool have in common. */
export interface WorkerOptions {
  method: StartMethod
  maxTasksPerChild: number | undefined
  /** The encoded initializer and its arguments, and the finalizer. */
  hooks: WorkerHooks
  /** A worker without a sign of life for so long is killed. */
  heartbeatMs: number | undefined
  resourceLimits: ResourceLimits | undefined
  life: Life
  /** Set for a pool whose workers are on other machines. */
  elsewhere?: Elsewhere | undefined
}

/** Bodies of `initialize`. */
export interface WorkerHooks {
  hasInitializer: boolean
  hasFinalizer: boolean
  bodies: Body[]
}

export interface LaunchOptions {
  name: string
  workers: number
  start: WorkerStart
  kernelKillsAtStart: number | undefined
  events: RunnerEvents
}

/** The runner that stands for all workers of other machines. `onChange`: there are others than before. */
export function launchElsewhere(
  elsewhere: Elsewhere,
  { name, start, events }: LaunchOptions,
  onChange: () => void,
): WorkerRunner {
  const runner = new WorkerRunner({
    name,
    popen: new ElsewherePopen(elsewhere, onChange),
    journal: undefined,
    heartbeat: undefined,
    tasksMax: Infinity,
    kernelKillsAtStart: undefined,
    finalizerMsMax: Infinity,
    start,
    events,
    followed: undefined,
    elsewhere,
  })
  runner.initialize(setupElsewhere, [])
  return runner
}

/** What workers do at their start is up to their agents. */
const setupElsewhere: WorkerSetup = {
  hasInitializer: false,
  hasFinalizer: false,
  preload: undefined,
  niceness: undefined,
  cpus: undefined,
  memoryBytesMax: undefined,
}

/** @throws ProcessError `ERR_START_FAILED`. */
export function launchWorker(
  { method, maxTasksPerChild, hooks, heartbeatMs, resourceLimits, life }: WorkerOptions,
  { name, workers, start, kernelKillsAtStart, events }: LaunchOptions,
): WorkerRunner {
  const journal = method === 'thread' ? Journal.inMemory() : Journal.forProcess()
  const heartbeat = heartbeatMs === undefined ? undefined : Heartbeat.open(heartbeatMs)
  const { roleData, extraFds } = journalPlace(journal, heartbeat)
  const followed = FollowedProcess.begin({ kind: 'worker', name, startMethod: method })
  let child
  try {
    child = popen(method, {
      entry: childEntry('pool/worker-main'),
      boot: newChildBoot({
        name,
        identity: nextChildIdentity(),
        isDaemon: true,
        startMethod: method,
        nesting: nestingOfWorkers(workers),
        roleData,
      }),
      // What it writes there passes through this process, so that its last lines can be told when it dies.
      stdio: { stderr: 'pipe' },
      env: environment(life),
      resourceLimits,
      extraFds,
      sharedBuffers: journal?.memory === undefined ? [] : [journal.memory],
    })
  } catch (error) {
    journal?.close()
    heartbeat?.close()
    followed?.failed(error)
    throw error
  }
  followed?.started(child)
  child.unref()
  const runner = new WorkerRunner({
    name,
    popen: child,
    journal,
    heartbeat,
    tasksMax: maxTasksPerChild ?? Infinity,
    finalizerMsMax: life.finalizerMsMax,
    kernelKillsAtStart,
    start,
    events,
    followed,
  })
  const { hasInitializer, hasFinalizer, bodies } = hooks
  const { preload, niceness, memoryBytesMax } = life
  const { cpus } = start
  runner.initialize({ hasInitializer, hasFinalizer, preload, niceness, cpus, memoryBytesMax }, bodies)
  return runner
}

function environment({ threadPoolSize }: Life): NodeJS.ProcessEnv | undefined {
  return threadPoolSize === undefined
    ? undefined
    : { ...process.env, UV_THREADPOOL_SIZE: String(threadPoolSize) }
}
