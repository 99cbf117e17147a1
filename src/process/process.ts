/**
 * Process: a function, or the run() of a subclass, in a child of its own.
 * The object has no fields of its own: its state is kept in `records`, so that an instance of a subclass can be sent
 * to the child with nothing but what the subclass put there.
 */
import type { Readable, Writable } from 'node:stream'
import { inspect } from 'node:util'
import type { ResourceLimits } from 'node:worker_threads'
import { isMainThread, threadId } from 'node:worker_threads'
import { ClosedError, ProcessError, invalidArgument, invalidState } from '../errors.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { unsendMessage } from '../platform/in-flight.ts'
import { signalName } from '../platform/signals.ts'
import type { WaitOptions } from '../platform/bounded-wait.ts'
import { type Readiness, readiness } from '../queue/waitable.ts'
import { encode } from '../serialize/codec.ts'
import { AttachmentList, releaseAttachments } from '../transport/attachments.ts'
import type { StartMethod } from './child-boot.ts'
import { FollowedProcess } from './followed-process.ts'
import { assertNotImporting } from './import-guard.ts'
import type { ChildStdio } from './popen.ts'
import { ProcessLife } from './process-life.ts'
import { getAuthKey, newChildBoot, nextChildIdentity, processState } from './process-state.ts'
import { assertStartMethod, getStartMethod } from './start-methods.ts'
import { type WorkContext, runInContext, workContext } from './work-context.ts'

/** Something that names a start method: its name, or a context. */
export type ContextLike = StartMethod | { readonly startMethod: StartMethod }

interface ProcessSettings {
  /** Default: the class's name and the identity, `Process-1:2` for the second child of the first child. */
  name?: string | undefined
  /** A daemon does not keep its parent alive, and is terminated when its parent exits. Default: as the creator. */
  daemon?: boolean | undefined
  /** How to start it. Default: `getStartMethod()` at the time of `start()`. */
  context?: ContextLike | undefined
  /** The whole environment of the child. Default: this process's, at the time of `start()`. */
  env?: NodeJS.ProcessEnv | undefined
  /** Default: no input, and the output of this process. */
  stdio?: ChildStdio | undefined
  /** Memory limits, as in `worker_threads`; for a process they become V8's flags. */
  resourceLimits?: ResourceLimits | undefined
}

/** Options of {@link Process}. */
export type ProcessOptions<Args extends readonly unknown[], Result> = ProcessSettings & {
  /** The function to run in the child. What it captures is copied at `start()`. */
  target?: ((...args: Args) => Result) | undefined
} & ([] extends Args ? { args?: Readonly<Args> | undefined } : { args: Readonly<Args> })

interface ProcessRecord {
  life: ProcessLife
  identity: readonly number[]
  name: string
  isDaemon: boolean
  authKey: Uint8Array | undefined
  target: ((...args: readonly unknown[]) => unknown) | undefined
  args: readonly unknown[]
  settings: ProcessSettings
  /** Whether the object stands for the process that it is in. */
  isCurrent: boolean
}

const OPTIONS = ['target', 'args', 'name', 'daemon', 'context', 'env', 'stdio', 'resourceLimits']

const records = new WeakMap<object, ProcessRecord>()
const children = new Set<Process<never>>()
let isDaemonCleanupInstalled = false

function recordOf(process: object): ProcessRecord {
  const record = records.get(process)
  if (record === undefined) {
    throw invalidState(
      'Cannot use this Process object: it is a copy that was sent from another process, and only ' +
        'the process that made it can control the child\n' +
        'To fix: send its name or pid, or results and messages, instead of the object',
    )
  }
  return record
}

function openRecordOf(process: object): ProcessRecord {
  const record = recordOf(process)
  if (record.life.status === 'closed') {
    throw new ClosedError(
      `Cannot use process "${record.name}": it is closed\nTo fix: read what you need before close()`,
    )
  }
  return record
}

/**
 * A function that runs in a child process (or thread), as Python's `multiprocessing.Process`.
 *
 * The function, what it captures and its arguments are copied to the child when `start()` is called. Alternatively a
 * subclass overrides `run()`; then the instance itself is copied. The child runs until the function has returned and
 * nothing is left that keeps its event loop alive (timers, servers, its own children).
 *
 * A child that is no daemon keeps its parent alive. `process.exit()` in the parent, or its death, ends all children.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Process
 *
 * @example
 * ```ts
 * import { Process } from 'multiproc'
 *
 * const child = new Process({ target: (name: string) => `hello ${name}`, args: ['bob'] })
 * child.start()
 * console.log(await child.result()) // hello bob
 * console.log(await child.join()) // 0
 * ```
 */
export class Process<Args extends readonly unknown[] = [], Result = unknown> {
  /**
   * Nothing starts yet.
   *
   * @throws TypeError for an option of a wrong type.
   */
  constructor(
    ...[options = {} as ProcessOptions<Args, Result>]: [] extends Args
      ? [options?: ProcessOptions<Args, Result>]
      : [options: ProcessOptions<Args, Result>]
  ) {
    assertKnownOptions('Process', options, OPTIONS)
    const { target, args = [], name, daemon, context, env, stdio, resourceLimits } = options
    check('target', 'a function', target, target === undefined || typeof target === 'function')
    check('args', 'an array', args, Array.isArray(args))
    check('name', 'a string', name, name === undefined || typeof name === 'string')
    check('daemon', 'a boolean', daemon, daemon === undefined || typeof daemon === 'boolean')
    if (context !== undefined) assertStartMethod(methodOf(context))
    const identity = nextChildIdentity()
    records.set(this, {
      life: new ProcessLife(),
      identity,
      name: name ?? `${new.target.name || 'Process'}-${identity.join(':')}`,
      isDaemon: daemon ?? processState.isDaemon,
      authKey: undefined,
      target: target as ProcessRecord['target'],
      args: [...args],
      settings: { context, env, stdio, resourceLimits },
      isCurrent: false,
    })
  }

  /**
   * What the child does: calls `target(...args)`. Override it in a subclass instead of passing a target. Its result,
   * awaited, is what `result()` gives in the parent.
   */
  run(): Result | PromiseLike<Result> {
    const { target, args } = openRecordOf(this)
    return target?.(...args) as Result
  }

  /**
   * Starts the child, once. Arguments and captured variables are read now.
   *
   * @throws SerializeError when something cannot be sent; then nothing was started. ProcessError
   * `ERR_START_FAILED` when the system refuses, `ERR_INVALID_STATE` for a second start.
   */
  start(): void {
    const record = openRecordOf(this)
    const { life, identity, name, isDaemon, authKey, settings } = record
    if (record.isCurrent || life.status !== 'initial') {
      throw invalidState(
        `Cannot start process "${name}"${record.isCurrent ? ': it is the current process' : ' twice'}\nTo fix: make a new Process for each start; the same target and arguments may be used again`,
      )
    }
    assertNotImporting()
    const startMethod = settings.context === undefined ? getStartMethod() : methodOf(settings.context)
    const target = isOverridden(this) ? 'run' : record.target?.name
    const followed = FollowedProcess.begin({ kind: 'process', name, target, startMethod })
    let payload: ReturnType<typeof encodeWork> | undefined
    try {
      payload = encodeWork(this, record, { startMethod, followed })
      const { env, stdio, resourceLimits } = settings
      const boot = newChildBoot({ name, identity, isDaemon, startMethod, ...(authKey ? { authKey } : {}) })
      life.start(boot, payload, {
        options: { env, stdio, resourceLimits },
        onEnded: () => children.delete(this),
        followed,
      })
    } catch (error) {
      // What was to be sent with it is not kept any longer: a socket would stay open.
      if (payload) {
        unsendMessage(payload.bytes)
        releaseAttachments(payload.attachments)
      }
      followed?.failed(error)
      throw error
    }
    children.add(this)
    if (isDaemon) terminateDaemonsAtExit()
    // The child has its copy; whatever the target holds on to here can go.
    record.target = undefined
    record.args = []
  }

  /**
   * Waits for the end of the child. Its output is complete then.
   *
   * @returns the exit code as in `exitCode`, or `null` when the timeout came first
   * @throws the reason of `wait.signal` when it aborts; ProcessError `ERR_INVALID_STATE` before `start()`.
   */
  async join(wait?: WaitOptions): Promise<number | null> {
    return await childOf(this, 'join').join(wait)
  }

  /**
   * Waits for what the target returned. It may come before the end of the child.
   *
   * @throws what the target threw, with the child's stack in its `cause`; WorkerDiedError when the child ended
   * without a result; MaybeEncodingError when the result cannot be sent; TimeoutError after `wait.timeout`; the
   * reason of `wait.signal`.
   */
  async result(wait?: WaitOptions): Promise<Awaited<Result>> {
    return (await childOf(this, 'get the result of').result(wait)) as Awaited<Result>
  }

  /** Whether the child has been started and has not ended. */
  isAlive(): boolean {
    const { life, isCurrent } = openRecordOf(this)
    return isCurrent || life.status === 'started'
  }

  /**
   * Ends the child with SIGTERM; a thread is stopped wherever it is. Its `finally` blocks and exit listeners do not
   * run, unless it handles the signal. Nothing happens when it has ended already.
   */
  terminate(): void {
    signalChild(this, 'SIGTERM', 'terminate')
  }

  /** Ends the child with SIGKILL, which it cannot handle; a thread is stopped wherever it is. */
  kill(): void {
    signalChild(this, 'SIGKILL', 'kill')
  }

  /**
   * Sends SIGINT, as Ctrl-C does. A child that does not handle it ends with exit code -2.
   *
   * @throws ProcessError `ERR_INVALID_STATE` for a thread, which has no signals of its own.
   */
  interrupt(): void {
    const { life, name } = openRecordOf(this)
    if (life.popen?.method === 'thread') {
      throw invalidState(
        `Cannot interrupt process "${name}": it is a thread, and signals go to whole processes\n` +
          'To fix: send it a message, call terminate(), or use the start method "spawn"',
      )
    }
    signalChild(this, 'SIGINT', 'interrupt')
  }

  /**
   * Lets go of everything that belongs to an ended child. Afterwards the object can only be printed.
   *
   * @throws ProcessError `ERR_INVALID_STATE` while the child runs.
   */
  close(): void {
    const { life, isCurrent } = recordOf(this)
    if (isCurrent)
      throw invalidState('Cannot close the current process\nTo fix: call process.exit() to end it')
    life.close()
  }

  /** Waits for the end of the child, if it has been started: `await using child = ...` joins it. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (recordOf(this).life.ended !== undefined) await this.join()
  }

  /** A label without a meaning. */
  get name(): string {
    return recordOf(this).name
  }

  set name(name: string) {
    check('name', 'a string', name, typeof name === 'string')
    const record = recordOf(this)
    record.name = name
    if (record.isCurrent) processState.name = name
  }

  /** Whether the child is a daemon. It can be set until `start()`. */
  get daemon(): boolean {
    return openRecordOf(this).isDaemon
  }

  set daemon(isDaemon: boolean) {
    check('daemon', 'a boolean', isDaemon, typeof isDaemon === 'boolean')
    const record = openRecordOf(this)
    if (record.isCurrent || record.life.status !== 'initial') {
      throw invalidState(
        `Cannot make process "${record.name}" ${isDaemon ? 'a daemon' : 'no daemon'}: it has been started already\nTo fix: set "daemon" before start()`,
      )
    }
    record.isDaemon = isDaemon
  }

  /** The operating system's number of the process, that of this process for a thread; `undefined` before `start()`. */
  get pid(): number | undefined {
    const { life, isCurrent } = openRecordOf(this)
    return isCurrent ? process.pid : life.popen?.pid
  }

  /** Python's other name of `pid`. */
  get ident(): number | undefined {
    return this.pid
  }

  /** The number of the thread, for a child that is one. */
  get threadId(): number | undefined {
    const { life, isCurrent } = openRecordOf(this)
    if (isCurrent) return isMainThread ? undefined : threadId
    return life.popen?.threadId
  }

  /** `null` until the child has ended; then its exit code, or `-N` when signal N ended it. */
  get exitCode(): number | null {
    return openRecordOf(this).life.exitCode
  }

  /** The signal that ended the child, or `null`. */
  get signal(): NodeJS.Signals | null {
    return openRecordOf(this).life.signal
  }

  /**
   * Settles when the child has ended: `await Promise.race([a.sentinel, b.sentinel])`. It does not keep this process
   * alive for a daemon; `join()` does.
   *
   * @throws ProcessError `ERR_INVALID_STATE` before `start()`.
   */
  get sentinel(): Promise<void> {
    const { life, name } = openRecordOf(this)
    if (life.ended === undefined) {
      throw invalidState(`Process "${name}" has no sentinel before it is started\nTo fix: call start() first`)
    }
    return life.ended
  }

  /** The key by which the processes of this program know each other; children inherit it. A copy. */
  get authKey(): Uint8Array {
    const record = openRecordOf(this)
    return Uint8Array.from(record.authKey ?? getAuthKey())
  }

  set authKey(key: Uint8Array) {
    check('authKey', 'a Uint8Array', key, key instanceof Uint8Array)
    const record = openRecordOf(this)
    if (record.isCurrent) processState.authKey = Uint8Array.from(key)
    else record.authKey = Uint8Array.from(key)
  }

  /** The standard input of the child, with `stdio: { stdin: 'pipe' }`. */
  get stdin(): Writable | null {
    return openRecordOf(this).life.popen?.stdin ?? null
  }

  /** The standard output of the child, with `stdio: { stdout: 'pipe' }`. */
  get stdout(): Readable | null {
    return openRecordOf(this).life.popen?.stdout ?? null
  }

  /** The standard error of the child, with `stdio: { stderr: 'pipe' }`. */
  get stderr(): Readable | null {
    return openRecordOf(this).life.popen?.stderr ?? null
  }

  /** For `wait()`: ready when the child has ended. */
  [readiness](): Readiness {
    const ended = this.sentinel
    return {
      isReady: () => this.exitCode !== null,
      changed: onChange => void ended.then(onChange),
    }
  }

  /** What the console shows, as Python's `str()`. */
  toString(): string {
    return this[inspect.custom]()
  }

  [inspect.custom](): string {
    const record = records.get(this)
    const className = this.constructor.name
    if (record === undefined) return `<${className} copied>`
    const { life, name, isDaemon, isCurrent } = record
    const facts = [`name='${name}'`]
    const pid = isCurrent ? process.pid : life.popen?.pid
    if (pid !== undefined) facts.push(`pid=${pid}`)
    if (life.popen?.threadId !== undefined) facts.push(`thread=${life.popen.threadId}`)
    const parentPid = isCurrent ? processState.parent?.pid : process.pid
    if (parentPid !== undefined) facts.push(`parent=${parentPid}`)
    facts.push(isCurrent ? 'started' : life.status)
    if (life.status === 'stopped') {
      const exitCode = life.exitCode ?? 0
      facts.push(`exitcode=${exitCode < 0 ? `-${signalName(-exitCode)}` : exitCode}`)
    }
    if (isDaemon) facts.push('daemon')
    return `<${className} ${facts.join(' ')}>`
  }
}

function childOf(process: object, action: string): ProcessLife {
  const { life, isCurrent } = openRecordOf(process)
  if (isCurrent) throw invalidState(`Cannot ${action} the current process\nTo fix: do it in its parent`)
  return life
}

function signalChild(process: object, signal: NodeJS.Signals, action: string): void {
  const { popen } = childOf(process, action)
  if (popen === undefined) {
    throw invalidState(`Cannot ${action} a process that has not been started\nTo fix: call start() first`)
  }
  popen.kill(signal)
}

function check(option: string, expected: string, value: unknown, isValid: boolean): void {
  if (isValid) return
  throw invalidArgument(
    TypeError,
    `"${option}" of a Process must be ${expected}, got ${value === null ? 'null' : typeof value}\n` +
      `To fix: pass ${expected}${option === 'authKey' && typeof value === 'string' ? ', as Buffer.from(text)' : ''}`,
  )
}

function methodOf(context: ContextLike): StartMethod {
  return typeof context === 'object' && context !== null ? context.startMethod : context
}

/** What the child has to do, as bytes: a target with its arguments, or an instance whose class has its own `run()`. */
export type ProcessWork = { context?: WorkContext } & (
  | { target: ProcessRecord['target']; args: readonly unknown[] }
  | { instance: Process }
)

function isOverridden(process: Process<never>): boolean {
  return process.run !== (Process.prototype.run as unknown)
}

function encodeWork(
  process: Process<never>,
  { target, args, name }: ProcessRecord,
  { startMethod, followed }: { startMethod: StartMethod; followed: FollowedProcess | undefined },
): { bytes: Uint8Array; attachments: readonly unknown[] } {
  // Between threads, memory can be shared; between processes, what cannot be copied fails in encode().
  const list = new AttachmentList()
  const { attach, beside } = list
  const canAttach = startMethod === 'thread'
  const options = canAttach ? { attach, beside } : { beside }
  const context = workContext(followed)
  const work = isOverridden(process) ? { instance: process } : { target, args }
  const bytes = encode(context ? { ...work, context } : work, { ...options, rootName: `process "${name}"` })
  try {
    return { bytes, attachments: list.finish(bytes, { canAttach, isReadOften: false }) ?? [] }
  } catch (error) {
    unsendMessage(bytes)
    throw error
  }
}

/** Makes `process` stand for the process it is in: what `currentProcess()` gives there. */
function adopt(process: object): void {
  records.set(process, {
    life: new ProcessLife(),
    identity: processState.identity,
    name: processState.name,
    isDaemon: processState.isDaemon,
    authKey: undefined,
    target: undefined,
    args: [],
    settings: {},
    isCurrent: true,
  })
}

let current: Process | undefined

/** In a child: what its parent sent, as the function to run. The sent instance becomes `currentProcess()`. */
export function workOfChild(work: ProcessWork): () => unknown {
  const { context } = work
  if ('target' in work) {
    const { target, args } = work
    return () => runInContext(context, target?.name ?? '', () => target?.(...args))
  }
  const { instance } = work
  if (!(instance instanceof Process)) {
    throw new ProcessError(
      'ERR_NOT_DESERIALIZABLE',
      `Cannot run the process: what arrived is no Process\nTo fix: let the class extend the Process of the same installation of multiproc as the main program`,
    )
  }
  current = instance
  adopt(instance)
  return () => runInContext(context, 'run', () => instance.run())
}

/**
 * The Process object of this process.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.current_process
 *
 * @example
 * ```ts
 * import { currentProcess } from 'multiproc'
 *
 * console.log(currentProcess().name) // MainProcess
 * ```
 */
export function currentProcess(): Process {
  if (current === undefined) {
    current = Object.create(Process.prototype) as Process
    adopt(current)
  }
  return current
}

/**
 * The children of this process that have been started by `Process` and have not ended.
 *
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.active_children
 */
export function activeChildren(): Process<never>[] {
  return [...children]
}

// Daemons of a parent that ends without this (a signal, a crash) end by themselves when their connection does.
function terminateDaemonsAtExit(): void {
  if (isDaemonCleanupInstalled) return
  isDaemonCleanupInstalled = true
  process.on('exit', () => {
    for (const child of children) if (child.daemon) child.terminate()
  })
}
