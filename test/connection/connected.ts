/** Two ends of a connection within one process, and the addresses over which the tests run. */
import { Client, Listener, type ListenerOptions, type RemoteConnection, arbitraryAddress } from 'multiproc'
import { clientTls, serverTls } from './started-server.js'

export interface Way {
  name: string
  address: () => string | [host: string, port: number]
  isTls: boolean
}

export const localWay: Way = { name: 'a local name', address: () => arbitraryAddress(), isTls: false }
export const tcpWay: Way = { name: 'TCP', address: () => ['localhost', 0], isTls: false }

/** Every kind of address that this system has. */
export const ways: Way[] = [
  localWay,
  tcpWay,
  { name: 'TLS', address: () => ['localhost', 0], isTls: true },
  ...(process.platform === 'linux'
    ? [{ name: 'a name without a file', address: () => `\0multiproc-${process.pid}`, isTls: false }]
    : []),
]

export class Connected implements Disposable {
  readonly listener: Listener
  /** The end of the client, and the end that was accepted. */
  readonly here: RemoteConnection
  readonly there: RemoteConnection

  private constructor(listener: Listener, here: RemoteConnection, there: RemoteConnection) {
    this.listener = listener
    this.here = here
    this.there = there
  }

  static async open(
    { address, isTls }: Way = localWay,
    { maxMessageSize, ...options }: ListenerOptions = {},
  ): Promise<Connected> {
    const listener = new Listener(address(), {
      maxMessageSize,
      ...options,
      ...(isTls ? { tls: serverTls } : {}),
    })
    const [there, here] = await Promise.all([
      listener.accept(),
      Client(await listener.listening(), {
        authKey: options.authKey,
        ...(isTls ? { tls: clientTls } : {}),
      }),
    ])
    return new Connected(listener, here, there)
  }

  [Symbol.dispose](): void {
    this.here.close()
    this.there.close()
    this.listener.close()
  }
}
