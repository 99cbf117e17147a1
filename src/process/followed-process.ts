/**
 * A child from its start to its end, for those who look on: the channel of processes and, for a `Process`, a trace. (Pools
 * tell a trace of their workers themselves, with what these do.)
 */
import { type Carrier, sendableCarrier } from '../insights/carrier.ts'
import { type ProcessMessage, isFollowed, processChannel, processReadyChannel } from '../insights/channels.ts'
import { type Track, currentTrace, ownTrack } from '../insights/trace-file.ts'
import { monotonicMs } from '../platform/journal.ts'
import { pythonExitCode } from './exit-description.ts'
import type { ExitStatus } from './popen.ts'

export class FollowedProcess {
  readonly #message: ProcessMessage
  /** What a tool has given to the child. */
  readonly carrier: Carrier | undefined
  readonly #startMs = monotonicMs()
  #readyMs: number | undefined

  /** A child is about to be started. Gives nothing while nobody looks on. */
  static begin(
    start: Pick<ProcessMessage, 'kind' | 'name' | 'target' | 'startMethod'>,
  ): FollowedProcess | undefined {
    const isTraced = start.kind === 'process' && currentTrace() !== undefined
    return isTraced || isFollowed(processChannel()) || processReadyChannel().hasSubscribers
      ? new FollowedProcess(start)
      : undefined
  }

  private constructor(start: Pick<ProcessMessage, 'kind' | 'name' | 'target' | 'startMethod'>) {
    const message: ProcessMessage = { ...start, carrier: {} }
    this.#message = message
    processChannel().start.publish(message)
    if (start.kind === 'process') this.carrier = sendableCarrier(message.carrier)
  }

  /** It has been started, or the system has refused. */
  started({ pid, threadId }: { pid: number | undefined; threadId: number | undefined }): void {
    Object.assign(this.#message, { pid, threadId })
    processChannel().end.publish(this.#message)
  }

  /** It could not be started. */
  failed(error: unknown): void {
    this.#message.error = error
    processChannel().error.publish(this.#message)
    processChannel().end.publish(this.#message)
  }

  ready(): void {
    this.#readyMs = monotonicMs()
    processReadyChannel().publish(this.#message)
  }

  ended(status: ExitStatus): void {
    const message = this.#message
    message.exitCode = pythonExitCode(status)
    message.signal = status.signal
    this.#trace(message.exitCode)
    const channel = processChannel()
    if (status.error) {
      message.error = status.error
      channel.error.publish(message)
    }
    channel.asyncStart.publish(message)
    channel.asyncEnd.publish(message)
  }

  #trace(exitCode: number | null): void {
    const trace = currentTrace()
    const { kind, name, target, pid, threadId } = this.#message
    if (!trace || kind === 'worker') return
    const track: Track = { pid: pid ?? ownTrack().pid, tid: threadId ?? 0 }
    trace.nameTrack(track, name)
    const endMs = monotonicMs()
    const readyMs = this.#readyMs ?? endMs
    const category = 'process'
    trace.span(track, { name: 'start', category, startMs: this.#startMs, endMs: readyMs })
    if (this.#readyMs === undefined) return
    trace.span(track, { name: target ?? name, category, startMs: readyMs, endMs, args: { exitCode } })
  }
}
