/** Client: connects to a listener of this or another program, on this or another machine. */
import type { ConnectionOptions } from 'node:tls'
import type { WaitOptions } from '../platform/bounded-wait.ts'
import { assertKnownOptions } from '../platform/known-options.ts'
import { type Address, type AddressFamily, addressText, assertUsable, parseAddress } from './address.ts'
import { type AuthKey, authKeyBytes } from './auth-key.ts'
import { connectSocket } from './connect-socket.ts'
import { type RemoteConnection, assertMessageSize, openRemote } from './remote-connection.ts'

/** How to connect. */
export interface ClientOptions extends WaitOptions {
  /** The key of the listener. Each side shows the other that it has it. Default: none. */
  authKey?: AuthKey | undefined
  /** Connects over TLS, with these options of `tls.connect()`: `ca`, and `key` and `cert` where the listener wants them. */
  tls?: ConnectionOptions | undefined
  /** Checks the kind of the address, which says it by itself. */
  family?: AddressFamily | undefined
  /** The longest message that is received, in bytes. Default: 1 GiB. */
  maxMessageSize?: number | undefined
  /** Milliseconds for everything up to the end of the handshake. Default: 20,000. */
  timeout?: number | undefined
}

/**
 * Connects to a {@link Listener}, as Python's `multiprocessing.connection.Client`.
 *
 * @throws ProcessError `ERR_NOT_FOUND` when nobody listens there; AuthenticationError when one side does not know the
 * key of the other, or its certificate is not trusted; TimeoutError; ClosedError when the listener closes the
 * connection; the signal's reason.
 * @see https://docs.python.org/3/library/multiprocessing.html#multiprocessing.connection.Client
 *
 * @example
 * ```ts
 * import { Client, Listener } from 'multiproc'
 *
 * using listener = new Listener(['localhost', 0], { authKey: 'a secret' })
 * const address = await listener.listening()
 * const [there, here] = await Promise.all([listener.accept(), Client(address, { authKey: 'a secret' })])
 * await here.send('hello')
 * console.log(await there.recv()) // hello
 * here.close()
 * there.close()
 * ```
 */
export async function Client<Received = unknown, Sent = Received>(
  address: Address,
  options: ClientOptions = {},
): Promise<RemoteConnection<Received, Sent>> {
  assertKnownOptions('Client', options, ['authKey', 'tls', 'family', 'maxMessageSize', 'timeout', 'signal'])
  const { authKey, tls, family, maxMessageSize, timeout, signal } = options
  const parsed = parseAddress(address)
  assertUsable(parsed, family)
  assertMessageSize(maxMessageSize)
  const socket = await connectSocket(parsed, { authKey: authKeyBytes(authKey), tls, timeout, signal })
  return openRemote(socket, { peer: addressText(parsed), maxMessageSize })
}
