/** Connects to a listener, and shows it the key. What it returns has passed the handshake; everything else is an error. */
import { once } from 'node:events'
import { connect, isIP, type Socket } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { AuthenticationError, ProcessError, TimeoutError } from '../errors.ts'
import { type WaitOptions, assertTimeout, boundedWait } from '../platform/bounded-wait.ts'
import { assertUsable, addressText, parseAddress, type Address, type ParsedAddress } from './address.ts'
import { HandshakeStream, closeGently } from './handshake-stream.ts'
import { authenticateListener } from './handshake.ts'
import { tlsModule, tlsSettings } from './tls-settings.ts'

/** As Python's CONNECTION_TIMEOUT. */
export const CONNECT_MS = 20_000
/** The other machine may vanish without a word: TCP asks after so long without any. */
const KEEP_ALIVE_MS = 30_000
/** Linux does not queue for a Unix socket whose queue is full: it says so at once. */
const FULL_QUEUE_MS = 10

export interface ConnectOptions extends WaitOptions {
  authKey?: Uint8Array | undefined
  tls?: ConnectionOptions | undefined
}

/**
 * A socket that has passed the handshake. It is not being read from, and whatever came behind the handshake is in it.
 *
 * @param options - `timeout` is for everything together: {@link CONNECT_MS} if not given
 * @throws ProcessError `ERR_NOT_FOUND` when nobody listens there; AuthenticationError; TimeoutError; ClosedError when
 * the other side ends it; the signal's reason.
 */
export async function connectSocket(
  address: Address | ParsedAddress,
  { authKey, tls, timeout = CONNECT_MS, signal }: ConnectOptions = {},
): Promise<Socket> {
  const parsed = parseAddress(address)
  assertUsable(parsed, undefined)
  assertTimeout(timeout)
  const settings = tlsSettings(parsed, tls)
  signal?.throwIfAborted()
  const stop = new AbortController()
  try {
    return await boundedWait(
      open(parsed, { authKey, tls: settings, stop: stop.signal }),
      { timeout, signal },
      {
        onTimeout: () => {
          throw tooSlow(parsed, timeout, authKey !== undefined)
        },
      },
    )
  } catch (error) {
    stop.abort()
    throw error
  }
}

async function open(
  address: ParsedAddress,
  { authKey, tls, stop }: Pick<ConnectOptions, 'authKey' | 'tls'> & { stop: AbortSignal },
): Promise<Socket> {
  const socket = await connected(address, tls, stop)
  if (authKey === undefined) {
    socket.on('error', () => {})
    return socket
  }
  const stream = new HandshakeStream(socket)
  stop.addEventListener('abort', () => socket.destroy(), { once: true })
  try {
    await authenticateListener(stream, authKey)
    stream.release()
    return socket
  } catch (error) {
    stream.release()
    // What was written last tells the other side why.
    closeGently(socket)
    // A listener that wants a certificate says so only when the client has already begun.
    throw error instanceof ProcessError ? error : connectError(address, error as Error)
  }
}

async function connected(
  address: ParsedAddress,
  tls: ConnectionOptions | undefined,
  stop: AbortSignal,
): Promise<Socket> {
  for (;;) {
    const socket = begin(address, tls)
    const destroy = (): void => void socket.destroy()
    stop.addEventListener('abort', destroy, { once: true })
    try {
      await once(socket, tls === undefined ? 'connect' : 'secureConnect', { signal: stop })
      tuneSocket(socket, address)
      return socket
    } catch (error) {
      socket.on('error', () => {}).destroy()
      stop.throwIfAborted()
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw connectError(address, error as Error)
      await new Promise(resolve => setTimeout(resolve, FULL_QUEUE_MS))
    } finally {
      stop.removeEventListener('abort', destroy)
    }
  }
}

/** Small messages leave at once, and a machine that has vanished is noticed. */
export function tuneSocket(socket: Socket, { family }: ParsedAddress): void {
  if (family === 'AF_INET') socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS)
}

function begin(address: ParsedAddress, tls: ConnectionOptions | undefined): Socket {
  if (address.family !== 'AF_INET') return connect(address.path)
  const { host, port } = address
  if (tls === undefined) return connect({ host, port })
  // An IP address is no name that could be asked for.
  const servername = isIP(host) === 0 ? { servername: host } : {}
  return tlsModule().connect({ ...servername, ...tls, host, port })
}

function connectError(address: ParsedAddress, cause: NodeJS.ErrnoException): ProcessError {
  const where = addressText(address)
  const code = cause.code ?? ''
  if (NOBODY.has(code)) {
    return new ProcessError(
      'ERR_NOT_FOUND',
      `Cannot connect to ${where}: ${NOBODY.get(code)}\nTo fix: start the listener first, and see that the address is right and reachable from here`,
      { cause },
    )
  }
  if (CERTIFICATE.test(code)) {
    const reason = `TLS failed (${cause.message})`
    return new AuthenticationError(
      `Cannot connect to ${where}: ${reason}\nTo fix: see that the listener uses "tls", and pass the certificate that signed its own as { tls: { ca } }`,
      { reason, cause },
    )
  }
  return new ProcessError(
    code === 'ECONNRESET' || code === 'EPIPE' ? 'ERR_CLOSED' : 'ERR_NOT_SUPPORTED',
    `Cannot connect to ${where}: ${cause.message}\nTo fix: see that the listener runs, and that this program may connect to it`,
    { cause },
  )
}

const NOBODY: ReadonlyMap<string, string> = new Map([
  ['ECONNREFUSED', 'nobody listens there'],
  ['ENOENT', 'nobody listens there'],
  ['ENOTSOCK', 'it is no socket'],
  ['ENOTFOUND', 'there is no host of this name'],
  ['EAI_AGAIN', 'the name of the host cannot be looked up at the moment'],
  ['EHOSTUNREACH', 'the host cannot be reached'],
  ['ENETUNREACH', 'the network cannot be reached'],
  ['EADDRNOTAVAIL', 'this machine has no address from which it can be reached'],
  ['ETIMEDOUT', 'the host does not answer'],
])

/** Codes of node:tls and OpenSSL. */
const CERTIFICATE =
  /^ERR_(?:TLS|SSL)|CERT|SIGNATURE|^EPROTO$|UNABLE_TO|HOSTNAME_MISMATCH|INVALID_CA|DEPTH_ZERO/

function tooSlow(address: ParsedAddress, timeoutMs: number, hasKey: boolean): TimeoutError {
  return new TimeoutError(
    `Cannot connect to ${addressText(address)}: it took longer than ${timeoutMs} ms\n` +
      `To fix: ${hasKey ? 'see that the other side has an "authKey", too, or' : 'see that the host can be reached, or'} allow more with "timeout"`,
  )
}
