/**
 * What every transport offers: an ordered stream of whole messages (frames) between two ends.
 * A frame arrives once, complete and in order, or the connection closes; nothing above this file knows how the
 * bytes travel.
 */
import { invalidArgument } from '../errors.ts'

/** Above this many untaken bytes a sender should wait for `onDrain`. 64 KiB is a third of a Linux socket buffer. */
export const HIGH_WATER_BYTES = 64 * 1024

/** The longest frame that is accepted. A length beyond it means that the stream is not ours. */
export const MAX_FRAME_BYTES = 2 ** 31 - 1

/** Throws for a frame that no receiver would take. */
export function assertFrameLength(byteLength: number): void {
  if (byteLength <= MAX_FRAME_BYTES) return
  throw invalidArgument(
    RangeError,
    `Cannot send a message of ${byteLength} bytes: the limit is ${MAX_FRAME_BYTES}\nTo fix: send the data in smaller pieces`,
  )
}

/** An ordered stream of whole messages to one other process or thread. */
export interface Connection {
  /**
   * Queues one frame. Frames of one tick travel together. The bytes may be read until they are taken, so the
   * caller does not change them afterwards (sending the same bytes elsewhere is fine).
   *
   * @param attachments - what travels beside the bytes. Large data anywhere: a `LentBytes`, which the sender releases
   * when the message will not be sent again, or an `ArrayBuffer`, which must not be used afterwards; it arrives as an
   * `ArrayBuffer` of the receiver's own, or as `undefined` when it got lost. On threads also `SharedArrayBuffer`, which
   * is shared, and `MessagePort`, which is moved.
   * @throws ClosedError after either end closed; TypeError for an attachment that only threads can take, where
   * `canAttach` is false; RangeError for a frame longer than {@link MAX_FRAME_BYTES}.
   */
  send(bytes: Uint8Array, attachments?: readonly unknown[]): void
  /** Hands what is queued to the system now; a worker calls it before it computes for long. */
  flush(): void
  /**
   * Says that the other side is about to send something, within less time than it takes to wake a thread that sleeps: this
   * side may stay awake for it. Calls that turn out wrong cost some 100 µs of a processor now and then.
   */
  expectSoon(): void
  /** What is sent from now on waits for `flush()`, which must follow in this turn, instead of the end of the tick. */
  cork(): void
  /** Bytes that were sent here and not yet taken by the system (socket) or the other side (port). */
  readonly bufferedBytes: number
  /** Bytes that were sent and are in the memory of this process alone: who kills it destroys them. */
  readonly losableBytes: number
  /** Resolves when `losableBytes` is 0, or the connection has ended, so that nobody will ever take them. */
  untilKept(): Promise<void>
  /** Receives every frame. Frames that arrive before it is set are kept for it. The bytes are the receiver's. */
  onMessage: ((bytes: Uint8Array, attachments: readonly unknown[]) => void) | undefined
  /** Called when everything has been taken, after `bufferedBytes` had reached {@link HIGH_WATER_BYTES}. */
  onDrain: (() => void) | undefined
  /** Called once, after the last `onMessage`. The error says what broke the connection, if anything did. */
  onClose: ((error?: Error) => void) | undefined
  /** Lets the connection keep this process alive (the default). */
  ref(): void
  /** Lets this process end while the connection is open. */
  unref(): void
  /** Delivers what was sent before, then closes. Nothing is received after the call. Twice is fine. */
  close(): void
  /** Closes at once; what was sent and not yet taken is lost. */
  abort(error?: Error): void
  /** Whether attachments other than large data can travel: only between threads of one process. */
  readonly canAttach: boolean
}
