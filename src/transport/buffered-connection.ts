/**
 * The half of a connection that all transports share: it joins the frames of a tick into one write, keeps what
 * arrives until somebody listens, and calls `onClose` exactly once, after the last `onMessage`.
 */
import { ClosedError } from '../errors.ts'
import { bytesBeside } from './attachments.ts'
import { HIGH_WATER_BYTES, assertFrameLength, type Connection } from './connection.ts'
import { Vigil } from './vigil.ts'

/** Queued frames of this many bytes are written at once instead of at the end of the tick. */
const COALESCED_BYTES_MAX = HIGH_WATER_BYTES
/** While nobody listens, this many received bytes are kept before the transport is asked to stop reading. */
const HELD_BYTES_MAX = 1024 * 1024
const NO_ATTACHMENTS: readonly unknown[] = Object.freeze([])

type MessageHandler = NonNullable<Connection['onMessage']>
type CloseHandler = NonNullable<Connection['onClose']>

export abstract class BufferedConnection implements Connection {
  abstract readonly canAttach: boolean
  /** `closing`: closed on this side. `ended`: nothing more will arrive. `closed`: `onClose` has been called or waits for a listener. */
  #state: 'open' | 'closing' | 'ended' | 'closed' = 'open'
  #onDrain: (() => void) | undefined
  #onMessage: MessageHandler | undefined
  #onClose: CloseHandler | undefined
  #afterClose: ((error?: Error) => void)[] = []
  #closeError: Error | undefined
  #hasReportedClose = false
  #wasClosedHere = false
  #queued: Uint8Array[] = []
  #queuedBytes = 0
  #isFlushScheduled = false
  #isCorked = false
  #owesDrain = false
  #held: [bytes: Uint8Array, attachments: readonly unknown[]][] = []
  #heldBytes = 0
  #isReadingStopped = false
  /** Those who wait in `untilKept()`. */
  #keptListeners: (() => void)[] = []
  protected readonly vigil = new Vigil({ look: () => this.look(), onInVain: () => this.lookBeforeSleep() })

  /** Writes the frames of one tick. */
  protected abstract write(frames: readonly Uint8Array[]): void
  /** Writes one frame with attachments; throws when they cannot be sent. */
  protected abstract writeAttached(frame: Uint8Array, attachments: readonly unknown[]): void
  /** Bytes that were written and not yet taken. */
  protected abstract readonly writtenBytes: number
  /** Those of them that nothing but the memory of this process has. */
  protected abstract readonly losableWrittenBytes: number
  /** Closes the transport after what was written has been taken; `finish()` follows. */
  protected abstract end(): void
  /** Closes the transport now; `finish()` follows. */
  protected abstract destroy(): void
  protected abstract stopReading(): void
  protected abstract startReading(): void
  /** Looks for what has arrived, where the event loop does not find it by itself. */
  protected look(): void {}
  /** The same, for the last time before this side has to be woken. */
  protected lookBeforeSleep(): void {}
  abstract ref(): void
  abstract unref(): void

  get bufferedBytes(): number {
    return this.#queuedBytes + this.writtenBytes
  }

  get losableBytes(): number {
    return this.#queuedBytes + this.losableWrittenBytes
  }

  untilKept(): Promise<void> {
    this.flush()
    if (this.losableBytes === 0 || this.#state === 'ended' || this.#state === 'closed')
      return Promise.resolve()
    return new Promise(resolve => this.#keptListeners.push(resolve))
  }

  /** Transports call it whenever `losableWrittenBytes` has become less. */
  protected noteKept(): void {
    if (this.#keptListeners.length === 0 || this.losableBytes > 0) return
    this.#tellKept()
  }

  #tellKept(): void {
    for (const tell of this.#keptListeners.splice(0)) tell()
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  /** Whether `close()` or `abort()` was called on this side before the other side ended. */
  get wasClosedHere(): boolean {
    return this.#wasClosedHere
  }

  send(bytes: Uint8Array, attachments: readonly unknown[] = NO_ATTACHMENTS): void {
    if (this.#state !== 'open') {
      throw new ClosedError(
        'Cannot send a message: the connection is ' +
          `closed${this.#closeError ? ` (${this.#closeError.message.split('\n')[0]})` : ''}\n` +
          'To fix: start the child again, or stop sending when "onClose" has been called',
      )
    }
    assertFrameLength(bytes.length)
    if (attachments.length > 0) {
      // Attachments are moved at the call, as postMessage() does, so that an object which cannot travel fails
      // here and not at the end of the tick.
      this.flush()
      this.writeAttached(bytes, attachments)
    } else {
      this.#queued.push(bytes)
      this.#queuedBytes += bytes.length
      if (this.#queuedBytes >= COALESCED_BYTES_MAX) this.flush()
      else this.#scheduleFlush()
    }
    this.#oweDrain()
  }

  /** Being told of a drain costs both sides something, so nobody is who does not want to be. */
  #oweDrain(): void {
    if (this.#owesDrain || this.#onDrain === undefined || this.bufferedBytes < HIGH_WATER_BYTES) return
    this.#owesDrain = true
    this.armDrain()
  }

  get onDrain(): (() => void) | undefined {
    return this.#onDrain
  }

  set onDrain(handler: (() => void) | undefined) {
    this.#onDrain = handler
    this.#oweDrain()
  }

  expectSoon(): void {
    if (this.#state === 'open') this.vigil.begin()
  }

  // process.nextTick() and not a microtask: what a whole chain of promises sends still leaves in one write.
  #scheduleFlush(): void {
    if (this.#isFlushScheduled || this.#isCorked) return
    this.#isFlushScheduled = true
    process.nextTick(() => {
      this.#isFlushScheduled = false
      this.flush()
    })
  }

  cork(): void {
    this.#isCorked = true
  }

  flush(): void {
    this.#isCorked = false
    if (this.#queued.length === 0) return
    const frames = this.#queued
    this.#queued = []
    this.#queuedBytes = 0
    if (this.#state === 'open') this.write(frames)
  }

  /** Called by `send()` when a drain is owed, for transports that must ask the other side for it. */
  protected armDrain(): void {}

  /** Transports call it whenever written bytes were taken. Returns whether a drain is still owed. */
  protected noteTaken(): boolean {
    if (!this.#owesDrain) return false
    if (this.bufferedBytes > 0) return true
    this.#owesDrain = false
    this.#onDrain?.()
    return false
  }

  get onMessage(): MessageHandler | undefined {
    return this.#onMessage
  }

  set onMessage(handler: MessageHandler | undefined) {
    this.#onMessage = handler
    if (handler !== undefined && this.#held.length > 0) process.nextTick(() => this.#deliverHeld())
  }

  get onClose(): CloseHandler | undefined {
    return this.#onClose
  }

  set onClose(handler: CloseHandler | undefined) {
    this.#onClose = handler
    if (handler !== undefined && this.#state === 'closed') process.nextTick(() => this.#reportClose())
  }

  /** For the owner of a transport: called once after `onClose`, beside it. */
  afterClose(listener: (error?: Error) => void): void {
    if (this.#state === 'closed') process.nextTick(() => listener(this.#closeError))
    else this.#afterClose.push(listener)
  }

  /** Transports pass every frame here, in order. */
  protected deliver(bytes: Uint8Array, attachments: readonly unknown[] = NO_ATTACHMENTS): void {
    if (this.#state !== 'open') return
    this.vigil.met()
    if (this.#onMessage !== undefined && this.#held.length === 0) {
      this.#call(this.#onMessage, bytes, attachments)
      return
    }
    this.#held.push([bytes, attachments])
    this.#heldBytes += bytes.length + bytesBeside(attachments)
    if (this.#heldBytes > HELD_BYTES_MAX && !this.#isReadingStopped) {
      this.#isReadingStopped = true
      this.stopReading()
    }
  }

  // A throwing listener is reported as an uncaught error, and the frames behind are still delivered: a bug in
  // one handler must not desynchronise the stream.
  #call(handler: MessageHandler, bytes: Uint8Array, attachments: readonly unknown[]): void {
    try {
      handler(bytes, attachments)
    } catch (error) {
      process.nextTick(() => {
        throw error
      })
    }
  }

  #deliverHeld(): void {
    // Frames that arrive meanwhile queue up behind the held ones, since #held stays non-empty until the end.
    let index = 0
    while (index < this.#held.length && this.#onMessage !== undefined && this.#state !== 'closing') {
      const [bytes, attachments] = this.#held[index++]!
      this.#call(this.#onMessage, bytes, attachments)
    }
    this.#held.splice(0, index)
    this.#heldBytes = this.#held.reduce(
      (sum, [bytes, attachments]) => sum + bytes.length + bytesBeside(attachments),
      0,
    )
    if (this.#held.length > 0) return
    if (this.#isReadingStopped) {
      this.#isReadingStopped = false
      this.startReading()
    }
    if (this.#state === 'ended') this.#closeNow()
  }

  /** Transports call it when nothing more will arrive. Later calls are ignored. */
  protected finish(error?: Error): void {
    if (this.#state === 'ended' || this.#state === 'closed') return
    this.vigil.end()
    this.#closeError ??= error
    this.#wasClosedHere = this.#state === 'closing'
    this.#state = 'ended'
    this.#queued = []
    this.#queuedBytes = 0
    this.#tellKept()
    if (this.#wasClosedHere) this.#held = []
    if (this.#held.length === 0) this.#closeNow()
  }

  #closeNow(): void {
    this.#state = 'closed'
    this.#reportClose()
    for (const listener of this.#afterClose) listener(this.#closeError)
    this.#afterClose = []
  }

  #reportClose(): void {
    if (this.#hasReportedClose || this.#onClose === undefined) return
    this.#hasReportedClose = true
    this.#onClose(this.#closeError)
  }

  close(): void {
    if (this.#state !== 'open') return
    this.flush()
    this.#state = 'closing'
    this.end()
  }

  abort(error?: Error): void {
    if (this.#state === 'closed') return
    this.#held = []
    if (this.#state === 'ended') {
      this.#closeNow()
      return
    }
    this.#closeError ??= error
    this.#state = 'closing'
    this.destroy()
  }
}
