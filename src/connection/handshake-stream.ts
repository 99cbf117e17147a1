/**
 * Messages of the handshake over a socket. It takes exactly the bytes of a message out of the socket, so that what comes
 * behind the handshake is still in there for whoever gets the socket next; and no length that is too long is waited for.
 */
import type { Socket } from 'node:net'
import { AuthenticationError, ClosedError } from '../errors.ts'
import { LongTimer } from '../platform/long-timer.ts'
import { isPeerGone } from '../transport/peer-gone.ts'
import { HANDSHAKE_MESSAGE_BYTES_MAX, type HandshakeChannel } from './handshake.ts'

const HEADER_BYTES = 4
const EVENTS = ['readable', 'end', 'close', 'error']

export class HandshakeStream implements HandshakeChannel {
  readonly #socket: Socket
  #failure: Error | undefined
  #wake: (() => void) | undefined
  readonly #look = (): void => this.#wake?.()
  readonly #failed = (error: Error): void => {
    this.#failure ??= isPeerGone(error) ? endedInHandshake(error) : error
  }

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('error', this.#failed)
    for (const event of EVENTS) socket.on(event, this.#look)
  }

  send(message: Uint8Array): void {
    const frame = Buffer.alloc(HEADER_BYTES + message.length)
    frame.writeInt32BE(message.length)
    frame.set(message, HEADER_BYTES)
    this.#socket.write(frame)
  }

  async receive(): Promise<Buffer> {
    const length = (await this.#take(HEADER_BYTES)).readInt32BE()
    if (length < 0 || length > HANDSHAKE_MESSAGE_BYTES_MAX) {
      const reason = 'what it sent is no message of a handshake'
      throw new AuthenticationError(
        `The other side of the connection was refused: ${reason}\n` +
          'To fix: see that nothing but multiproc (or Python 3.12 and later) connects or listens there',
        { reason },
      )
    }
    return length === 0 ? Buffer.alloc(0) : await this.#take(length)
  }

  async #take(byteLength: number): Promise<Buffer> {
    const socket = this.#socket
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure
      const chunk = socket.read(byteLength) as Buffer | null
      if (chunk?.length === byteLength) return chunk
      // At its end, a stream gives what is left although it is less.
      if (chunk !== null || socket.readableEnded || socket.destroyed) throw endedInHandshake()
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
    }
  }

  /** Ends the wait that is in progress, and closes the socket. */
  fail(error: Error): void {
    this.#failure ??= error
    this.#socket.destroy()
    this.#wake?.()
  }

  /** The socket is somebody else's from now on, who may attach to it in this or a later turn. */
  release(): void {
    const socket = this.#socket
    for (const event of EVENTS) socket.off(event, this.#look)
    socket.off('error', this.#failed)
    // An error before that would otherwise end the program. The socket is destroyed then, which its next owner sees.
    socket.on('error', () => {})
  }
}

/** How long a refused peer may take to read why, and to close. */
const FAREWELL_MS = 1000

/**
 * Closes a socket so that what was written last arrives: one that is destroyed with unread data in it takes that back.
 * It does not keep the program alive.
 */
export function closeGently(socket: Socket): void {
  socket.on('error', () => {})
  const timer = new LongTimer(() => socket.destroy(), FAREWELL_MS)
  socket.once('close', () => timer.stop())
  socket.unref()
  socket.end()
  socket.resume()
}

export function endedInHandshake(cause?: Error): ClosedError {
  return new ClosedError(
    'The other side closed the connection before it had shown its key\n' +
      'To fix: see that both sides have an "authKey", or none, and that the other program is still running',
    { cause },
  )
}
