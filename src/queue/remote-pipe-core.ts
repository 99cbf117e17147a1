/**
 * An end of a pipe whose memory is in another process. Messages are encoded and decoded here and travel as bytes; the
 * home has the end open for the member that stands for this thread. See `broker/README.md`.
 */
import { callLater, callNow, forgetRemote } from '../broker/shareable.ts'
import { ClosedError, invalidState } from '../errors.ts'
import { type WaitOptions, assertTimeout, assertWaitOptions, pollOptions } from '../platform/bounded-wait.ts'
import { assertNothingToLoad } from './item-codec.ts'
import { type EncodeMessage, type PipeForm, type ReceiveLimit, endOfFile } from './pipe-core.ts'
import type { NoMore } from './pipe-operations.ts'
import type { Offer } from './remote-queue-core.ts'
import type { Readiness } from './waitable.ts'

/** What is known of an end without asking its home. */
export interface RemoteEnd {
  isReadable: boolean
  isWritable: boolean
}

export class RemotePipeCore implements PipeForm {
  readonly isReadable: boolean
  readonly isWritable: boolean
  isClosed = false
  readonly #connection: object

  constructor(connection: object, { isReadable, isWritable }: RemoteEnd) {
    this.#connection = connection
    this.isReadable = isReadable
    this.isWritable = isWritable
  }

  assertOpen(action: string): void {
    if (!this.isClosed) return
    throw new ClosedError(
      `Cannot ${action} this end of the pipe: it is closed here\nTo fix: call close() when nothing here uses it any more`,
    )
  }

  #assertCan(action: 'send' | 'receive'): void {
    this.assertOpen(`${action} through`)
    if (action === 'send' ? this.isWritable : this.isReadable) return
    throw invalidState(
      `Cannot use this end of the pipe that way: it ${action === 'send' ? 'receives' : 'sends'} only\n` +
        'To fix: use the other end, or make the pipe with { duplex: true }',
    )
  }

  async send(encode: EncodeMessage, options: WaitOptions): Promise<void> {
    assertWaitOptions(options)
    const { timeout, signal } = options
    this.#assertCan('send')
    signal?.throwIfAborted()
    await callLater(this.#connection, 'send', [encode('home'), timeout], signal)
  }

  sendSync(encode: EncodeMessage, timeout: number | undefined): void {
    assertTimeout(timeout)
    this.#assertCan('send')
    callNow(this.#connection, 'send', [encode('home'), timeout])
  }

  async receive(options: WaitOptions, limit?: ReceiveLimit): Promise<Uint8Array> {
    assertWaitOptions(options)
    const { timeout, signal } = options
    this.#assertCan('receive')
    const got = (await callLater(this.#connection, 'receive', [timeout, limit], signal)) as
      | Uint8Array
      | NoMore
    if ('isEnd' in got) throw endOfFile()
    return got
  }

  receiveSync(timeout: number | undefined): Uint8Array {
    assertTimeout(timeout)
    this.#assertCan('receive')
    const until = performance.now() + (timeout ?? Infinity)
    let approved: Uint8Array | undefined
    for (;;) {
      const left = timeout === undefined ? undefined : Math.max(0, until - performance.now())
      const got = callNow(this.#connection, 'receiveKnown', [left, approved]) as Uint8Array | NoMore | Offer
      if ('isEnd' in got) throw endOfFile()
      if (got instanceof Uint8Array) return got
      // Throws when it could not be decoded here: it stays in the pipe.
      assertNothingToLoad(got.offer)
      approved = got.offer
    }
  }

  async poll(options: WaitOptions): Promise<boolean> {
    const { timeout, signal } = pollOptions(options)
    this.#assertCan('receive')
    return (await callLater(this.#connection, 'poll', [timeout], signal)) as boolean
  }

  pollSync(timeout: number): boolean {
    this.#assertCan('receive')
    return callNow(this.#connection, 'poll', [timeout]) as boolean
  }

  readiness(): Readiness {
    this.#assertCan('receive')
    return {
      isReady: () => this.isClosed || (callNow(this.#connection, 'isReady') as boolean),
      changed: (onChange, stop) => {
        callLater(this.#connection, 'poll', [Infinity], stop).then(onChange, onChange)
      },
    }
  }

  close(): void {
    if (this.isClosed) return
    try {
      // Calls that wait are dealt with as those of the real one.
      callNow(this.#connection, 'close')
    } catch {
      // Its home has ended, and so has the pipe.
    }
    this.isClosed = true
    forgetRemote(this.#connection)
  }
}
