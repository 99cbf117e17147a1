/**
 * The life of a started child from this side, the same for processes and threads: it waits for three ends, of the
 * child itself, of its connection and of its output, and then reports once. Two bounded waits see to it that the
 * report comes although one of them fails to (see "Death" in README.md).
 */
import type { Readable, Writable } from 'node:stream'
import { ProcessError } from '../errors.ts'
import type { PortConnection } from '../transport/port-connection.ts'
import type { RingConnection } from '../transport/ring-connection.ts'
import type { SocketConnection } from '../transport/socket-connection.ts'
import type { StartMethod } from './child-boot.ts'
import type { ExitStatus, Popen } from './popen.ts'

/** The child has ended: how long its channel and output may stay silent before they are closed here. */
const SILENT_CHANNEL_MS_MAX = 1000
/** The child closed its channel: how long it may take to end before it is killed. */
const ENDING_MS_MAX = 3000

export abstract class StartedChild implements Popen {
  abstract readonly method: StartMethod
  abstract readonly pid: number | undefined
  abstract readonly threadId: number | undefined
  abstract readonly connection: SocketConnection | RingConnection | PortConnection
  abstract readonly stdin: Writable | null
  abstract readonly stdout: Readable | null
  abstract readonly stderr: Readable | null
  #exitStatus: ExitStatus | undefined
  #onExit: ((status: ExitStatus) => void) | undefined
  #hasReportedExit = false
  #isChannelClosed = false
  #channelError: Error | undefined
  #openOutputs = 0
  #endedWith: ExitStatus | undefined
  #timer: NodeJS.Timeout | undefined
  #isRef = true

  abstract kill(signal?: NodeJS.Signals): void
  protected abstract setRef(isRef: boolean): void

  get exitStatus(): ExitStatus | undefined {
    return this.#exitStatus
  }

  get onExit(): ((status: ExitStatus) => void) | undefined {
    return this.#onExit
  }

  set onExit(handler: ((status: ExitStatus) => void) | undefined) {
    this.#onExit = handler
    if (handler !== undefined && this.#exitStatus !== undefined) process.nextTick(() => this.#report())
  }

  get hasEnded(): boolean {
    return this.#endedWith !== undefined
  }

  /** Called by subclasses when they are set up. */
  protected watch(outputs: readonly (Readable | null | undefined)[]): void {
    for (const output of outputs) {
      if (!output) continue
      this.#openOutputs++
      output.once('close', () => {
        this.#openOutputs--
        this.#settle()
      })
    }
    this.connection.afterClose(error => {
      this.#isChannelClosed = true
      this.#channelError = error
      if (this.#endedWith === undefined) this.#killUnlessItEnds()
      this.#settle()
    })
  }

  // An owner that closes the connection asks the child to end, and decides itself how long to wait for it. A
  // channel that ends from the other side means that the child is ending, or that it can never be heard again.
  #killUnlessItEnds(): void {
    if (this.connection.wasClosedHere && this.#channelError === undefined) return
    const isGarbage = (this.#channelError as Partial<ProcessError> | undefined)?.code === 'ERR_PROTOCOL'
    this.#startTimer(isGarbage ? 0 : ENDING_MS_MAX, () => {
      if (this.#endedWith !== undefined) return
      this.#channelError ??= new ProcessError(
        'ERR_PROTOCOL',
        'The child closed its channel and went on running, so it was killed\n' +
          'To fix: leave file descriptor 3 of the child alone, and end the child with ' +
          'process.exit()',
      )
      this.kill('SIGKILL')
    })
  }

  /** Called by subclasses when the child has ended, or could not be started. */
  protected ended(status: ExitStatus): void {
    if (this.#endedWith !== undefined) return
    this.#endedWith = status
    this.#clearTimer()
    this.#settle()
    if (this.#exitStatus === undefined) this.#closeChannelWhenSilent()
  }

  // What the child wrote before it ended is read to its end. But a process that the child started may hold the
  // same socket or pipe open for ever: when nothing has come for a while, nothing will.
  #closeChannelWhenSilent(seenBytes = -1): void {
    const receivedBytes = this.connection.receivedBytes
    if (receivedBytes !== seenBytes) {
      this.#startTimer(SILENT_CHANNEL_MS_MAX, () => this.#closeChannelWhenSilent(receivedBytes))
      return
    }
    this.#openOutputs = 0
    if (this.#isChannelClosed) this.#settle()
    else this.connection.abort()
  }

  #settle(): void {
    if (this.#endedWith === undefined || !this.#isChannelClosed || this.#openOutputs > 0) return
    if (this.#exitStatus !== undefined) return
    this.#clearTimer()
    const error =
      this.#endedWith.error ?? (isProtocolError(this.#channelError) ? this.#channelError : undefined)
    this.#exitStatus = error === undefined ? this.#endedWith : { ...this.#endedWith, error }
    this.#report()
  }

  /** For a child that could not be started: the status is there at once, the report comes later. */
  protected neverStarted(error: Error): void {
    this.#endedWith = this.#exitStatus = { exitCode: null, signal: null, error }
    this.#isChannelClosed = true
    process.nextTick(() => this.#report())
  }

  #report(): void {
    if (this.#hasReportedExit || this.#onExit === undefined || this.#exitStatus === undefined) return
    this.#hasReportedExit = true
    this.#onExit(this.#exitStatus)
  }

  #startTimer(delayMs: number, act: () => void): void {
    this.#clearTimer()
    this.#timer = setTimeout(act, delayMs)
    if (!this.#isRef) this.#timer.unref()
  }

  #clearTimer(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  ref(): void {
    this.#isRef = true
    this.#timer?.ref()
    this.connection.ref()
    this.setRef(true)
  }

  unref(): void {
    this.#isRef = false
    this.#timer?.unref()
    this.connection.unref()
    this.setRef(false)
  }
}

function isProtocolError(error: Error | undefined): boolean {
  return (error as Partial<ProcessError> | undefined)?.code === 'ERR_PROTOCOL'
}
