/**
 * Stands where a pool expects a child, for the workers of other machines: gives what is sent to the link, once that is
 * there, and what the link says to the pool. Invariant: its end is reported exactly once, also when the link could
 * not be opened.
 */
import type { ExitStatus, Popen } from '../process/popen.ts'
import type { Connection } from '../transport/connection.ts'
import { encode } from '../serialize/codec.ts'
import { type Elsewhere, type Link, type LinkEvents, openLink, slotsAmong } from './elsewhere.ts'
import { type Body, type FromWorker, MessageReader, type ToWorker } from './protocol.ts'

export class ElsewherePopen implements Popen {
  readonly method = 'spawn'
  readonly pid = undefined
  readonly threadId = undefined
  readonly stdin = null
  readonly stdout = null
  readonly stderr = null
  readonly connection: ElsewhereConnection
  onExit: ((status: ExitStatus) => void) | undefined
  #exitStatus: ExitStatus | undefined
  #link: Link | undefined
  /** What the pool has said before there was a link. */
  readonly #early: [head: ToWorker, bodies: Body[]][] = []

  constructor(elsewhere: Elsewhere, onChange: () => void) {
    const reader = new MessageReader<ToWorker>((head, bodies) => this.#take(head, bodies))
    this.connection = new ElsewhereConnection({
      push: (bytes, attachments) => reader.push(bytes, attachments),
      bufferedBytes: () => this.#link?.bufferedBytes ?? 0,
      abort: error => this.#end(error),
    })
    void this.#open(elsewhere, onChange)
  }

  get exitStatus(): ExitStatus | undefined {
    return this.#exitStatus
  }

  async #open(elsewhere: Elsewhere, onChange: () => void): Promise<void> {
    try {
      const link = await openLink(elsewhere.settings, this.#eventsFor(elsewhere, onChange))
      if (this.#exitStatus) {
        link.kill({ isHard: true })
        return
      }
      this.#link = link
      for (const [head, bodies] of this.#early.splice(0)) link.take(head, bodies)
    } catch (error) {
      this.#end(error instanceof Error ? error : new Error(String(error)))
    }
  }

  #eventsFor(elsewhere: Elsewhere, onChange: () => void): LinkEvents {
    const isOver = (): boolean => this.#exitStatus !== undefined
    return {
      emit: (head, bodies) => this.#emit(head, bodies),
      noteMachines: machines => {
        elsewhere.machines = machines
        elsewhere.processes = Math.max(1, slotsAmong(machines, undefined))
        onChange()
      },
      noteLookAhead: chunksPerProcess => {
        elsewhere.chunksPerProcess = chunksPerProcess
        onChange()
      },
      get isOver() {
        return isOver()
      },
      ended: error => this.#end(error),
    }
  }

  #take(head: ToWorker, bodies: Body[]): void {
    if (this.#link) this.#link.take(head, bodies)
    else this.#early.push([head, bodies])
  }

  #emit(head: FromWorker, bodies: Body[]): void {
    if (this.#exitStatus) return
    const { onMessage } = this.connection
    onMessage?.(encode(head), [])
    for (const { bytes, attachments } of bodies) onMessage?.(bytes, attachments ?? [])
  }

  #end(error: Error | undefined): void {
    if (this.#exitStatus) return
    this.#exitStatus = { exitCode: 0, signal: null, ...(error === undefined ? {} : { error }) }
    const link = this.#link
    this.#link = undefined
    link?.kill({ isHard: true })
    this.connection.isEnded = true
    this.onExit?.(this.#exitStatus)
  }

  kill(signal: NodeJS.Signals = 'SIGTERM'): void {
    // Before there is a link nobody has to be told.
    if (this.#link && signal !== 'SIGKILL') this.#link.kill({ isHard: false })
    else queueMicrotask(() => this.#end(undefined))
  }

  ref(): void {}
  unref(): void {}
}

/** The connection that a pool has to what it takes for a child. */
class ElsewhereConnection implements Connection {
  readonly #peer: {
    push(bytes: Uint8Array, attachments: readonly unknown[]): void
    bufferedBytes(): number
    abort(error: Error | undefined): void
  }
  readonly losableBytes = 0
  readonly canAttach = false
  onMessage: Connection['onMessage']
  onDrain: Connection['onDrain']
  onClose: Connection['onClose']
  isEnded = false

  constructor(peer: {
    push(bytes: Uint8Array, attachments: readonly unknown[]): void
    bufferedBytes(): number
    abort(error: Error | undefined): void
  }) {
    this.#peer = peer
  }

  get bufferedBytes(): number {
    return this.#peer.bufferedBytes()
  }

  send(bytes: Uint8Array, attachments: readonly unknown[] = []): void {
    if (!this.isEnded) this.#peer.push(bytes, attachments)
  }

  abort(error?: Error): void {
    this.#peer.abort(error)
  }

  cork(): void {}
  flush(): void {}
  expectSoon(): void {}
  async untilKept(): Promise<void> {}
  ref(): void {}
  unref(): void {}
  close(): void {}
}
