/**
 * What a Process object hides: the child behind it, the result it sent, and those who wait for either. It is kept
 * apart from the object, which may be an instance of a user's class and is sent to the child with its own fields
 * only.
 */
import { TimeoutError, invalidState } from '../errors.ts'
import { boundedWait, type WaitOptions } from '../platform/bounded-wait.ts'
import { decode, decodeThrown, prepare } from '../serialize/codec.ts'
import { releaseAttachments } from '../transport/attachments.ts'
import type { ChildBoot } from './child-boot.ts'
import { childEntry } from '../platform/child-entry.ts'
import { stackText } from '../platform/stack-text.ts'
import { diedWithoutResult, pythonExitCode } from './exit-description.ts'
import type { FollowedProcess } from './followed-process.ts'
import { popen, type ExitStatus, type Popen, type PopenOptions } from './popen.ts'

/** What a child says before the frame with its result. */
export const OUTCOME_TAGS = { returned: 1, threw: 2 } as const

/** What a child says before it runs its work, if its parent wants to know. */
export const READY_TAG = 3

/** The states of a Process object, in the order of its life. */
export type ProcessStatus = 'initial' | 'started' | 'stopped' | 'closed'

interface Outcome {
  tag: number
  bytes: Uint8Array
  attachments: readonly unknown[]
}

export class ProcessLife {
  #status: ProcessStatus = 'initial'
  #popen: Popen | undefined
  #isDaemon = false
  #name = ''
  #exitStatus: ExitStatus | undefined
  #waiters = 0
  #callerStack: string | undefined
  #outcome: Promise<Outcome> | undefined
  #result: Promise<unknown> | undefined
  #ended: Promise<void> | undefined

  get status(): ProcessStatus {
    return this.#status
  }

  get popen(): Popen | undefined {
    return this.#popen
  }

  /** Python's exit code, or `null` before the end. */
  get exitCode(): number | null {
    return this.#exitStatus === undefined ? null : pythonExitCode(this.#exitStatus)
  }

  get signal(): NodeJS.Signals | null {
    return this.#exitStatus?.signal ?? null
  }

  /** Settles at the end of the child; `undefined` before the start. */
  get ended(): Promise<void> | undefined {
    return this.#ended
  }

  /** Starts the child. `onEnded` is called before anybody who waits is told. */
  start(
    boot: ChildBoot,
    payload: { bytes: Uint8Array; attachments: readonly unknown[] },
    {
      options,
      onEnded,
      followed,
    }: {
      options: Omit<PopenOptions, 'entry' | 'boot'>
      onEnded: () => void
      followed: FollowedProcess | undefined
    },
  ): void {
    const child = popen(boot.startMethod, {
      ...options,
      boot,
      entry: childEntry('process/process-main'),
    })
    if (child.exitStatus?.error) throw child.exitStatus.error
    followed?.started(child)
    this.#popen = child
    this.#status = 'started'
    this.#name = boot.name
    this.#isDaemon = boot.isDaemon
    this.#callerStack = stackText(new Error('Started here'))
    child.connection.send(payload.bytes, payload.attachments)
    releaseAttachments(payload.attachments)
    // The caller may block this thread now, until the child has put something into a queue.
    child.connection.flush()
    this.#outcome = new Promise<Outcome>((resolve, reject) => {
      let tag: number | undefined
      child.connection.onMessage = (bytes, attachments) => {
        if (tag === undefined && bytes[0] === READY_TAG) followed?.ready()
        else if (tag === undefined) tag = bytes[0]
        else resolve({ tag, bytes, attachments })
      }
      this.#ended = new Promise<void>(resolveEnded => {
        child.onExit = status => {
          this.#exitStatus = status
          this.#status = 'stopped'
          onEnded()
          followed?.ended(status)
          reject(
            diedWithoutResult({ name: boot.name, pid: child.pid, callerStack: this.#callerStack }, status),
          )
          resolveEnded()
        }
      })
    })
    // Whoever asks for the result gets the rejection; nobody has to ask.
    this.#outcome.catch(() => {})
    if (boot.isDaemon) child.unref()
  }

  /** Waits for the end; `null` when the timeout came first. */
  async join(wait: WaitOptions = {}): Promise<number | null> {
    const ended = this.#startedPromise(this.#ended, 'join')
    return await this.#holding(() =>
      boundedWait(
        ended.then(() => this.exitCode),
        wait,
        { onTimeout: () => null },
      ),
    )
  }

  async result(wait: WaitOptions = {}): Promise<unknown> {
    const outcome = this.#startedPromise(this.#outcome, 'get the result of')
    this.#result ??= this.#decode(outcome)
    this.#result.catch(() => {})
    return await this.#holding(() =>
      boundedWait(this.#result!, wait, {
        onTimeout: () => {
          throw new TimeoutError(
            `Process "${this.#name}" has not returned within ${wait.timeout} ms\nTo fix: wait longer, or call terminate(); the process goes on`,
          )
        },
      }),
    )
  }

  #startedPromise<T>(promise: Promise<T> | undefined, action: string): Promise<T> {
    if (promise !== undefined) return promise
    throw invalidState(`Cannot ${action} a process that has not been started\nTo fix: call start() first`)
  }

  async #decode(outcome: Promise<Outcome>): Promise<unknown> {
    const { tag, bytes, attachments } = await outcome
    await prepare(bytes)
    if (tag === OUTCOME_TAGS.returned) return decode(bytes, { attachments })
    throw decodeThrown(bytes, {
      pid: this.#popen?.pid,
      workerName: this.#name,
      ...(this.#callerStack === undefined ? {} : { callerStack: this.#callerStack }),
    })
  }

  // A daemon does not keep this process alive, but somebody who waits for it does: otherwise the program would end
  // in the middle of an await.
  async #holding<T>(work: () => Promise<T>): Promise<T> {
    if (!this.#isDaemon || this.#status !== 'started') return await work()
    if (this.#waiters++ === 0) this.#popen?.ref()
    try {
      return await work()
    } finally {
      if (--this.#waiters === 0) this.#popen?.unref()
    }
  }

  close(): void {
    if (this.#status === 'started') {
      throw invalidState(
        `Cannot close process "${this.#name}" (pid ${this.#popen?.pid}) while it is running\nTo fix: await join() first, or terminate() and then join()`,
      )
    }
    this.#status = 'closed'
    this.#popen = undefined
    this.#outcome = this.#result = undefined
  }
}
