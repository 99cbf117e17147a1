/**
 * Starts a child, as a process or as a thread, behind one interface: a connection, an end that is reported exactly
 * once, and a way to stop it. The protocols of start and death are in README.md.
 */
import type { Readable, Writable } from 'node:stream'
import type { ResourceLimits } from 'node:worker_threads'
import type { Connection } from '../transport/connection.ts'
import type { ChildBoot, StartMethod } from './child-boot.ts'
import { assertEntryExists } from '../platform/child-entry.ts'
import { SpawnPopen } from './spawn-popen.ts'
import { ThreadPopen } from './thread-popen.ts'

/** How a child ended. */
export interface ExitStatus {
  /** The code it ended with, or `null` when a signal ended it (or when it never started). */
  exitCode: number | null
  /** The signal that ended it; for a thread, the one given to `kill()`. */
  signal: NodeJS.Signals | null
  /** Why, where more is known: it could not be started, ran out of memory, or broke its channel. */
  error?: Error
}

/** A started child. */
export interface Popen {
  readonly method: StartMethod
  /** The operating system's process; a thread has that of its process. `undefined` when it could not be started. */
  readonly pid: number | undefined
  /** Set for threads. */
  readonly threadId: number | undefined
  readonly connection: Connection
  /** Set from the end of the child on; at once when it could not be started. */
  readonly exitStatus: ExitStatus | undefined
  /** Called once, after the connection has delivered everything and closed and the output is complete. */
  onExit: ((status: ExitStatus) => void) | undefined
  /** Sends a signal to a process; any signal ends a thread. `SIGTERM` by default. Nothing happens after the end. */
  kill(signal?: NodeJS.Signals): void
  /** Lets the child keep this process alive (the default). */
  ref(): void
  /** Lets this process end while the child runs. */
  unref(): void
  readonly stdin: Writable | null
  readonly stdout: Readable | null
  readonly stderr: Readable | null
}

/** What a child's standard streams are connected to. */
export interface ChildStdio {
  /** Default: `ignore` (the null device), since several processes cannot read one terminal. */
  stdin?: 'ignore' | 'inherit' | 'pipe'
  /** Default: `inherit`. */
  stdout?: 'ignore' | 'inherit' | 'pipe'
  /** Default: `inherit`. */
  stderr?: 'ignore' | 'inherit' | 'pipe'
}

export interface PopenOptions {
  /** The compiled main file of the child; see `childEntry()`. */
  entry: URL
  boot: ChildBoot
  /** The whole environment of the child. Default: a copy of this process's. */
  env?: NodeJS.ProcessEnv | undefined
  stdio?: ChildStdio | undefined
  /** Flags of Node.js. Default: those of this process that make sense for a child. */
  execArgv?: readonly string[] | undefined
  resourceLimits?: ResourceLimits | undefined
  /** Processes only: threads share the working directory. */
  cwd?: string | undefined
  /** Processes only: descriptors that the child inherits as 4, 5 and so on. */
  extraFds?: readonly number[] | undefined
  /** Threads only: memory that is there before the first message. */
  sharedBuffers?: readonly SharedArrayBuffer[] | undefined
}

/**
 * Starts a child. A system that refuses (no executable, no more processes) is reported through `exitStatus.error`
 * and `onExit`, like any other end.
 *
 * @throws ProcessError `ERR_START_FAILED` when the entry file does not exist.
 */
export function popen(method: StartMethod, options: PopenOptions): Popen {
  assertEntryExists(options.entry)
  return method === 'thread' ? new ThreadPopen(options) : new SpawnPopen(options)
}
