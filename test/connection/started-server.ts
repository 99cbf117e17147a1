/** A SocketServer that keeps what it let in and whom it refused, for tests to wait for; and sockets that misbehave. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { type Address, type ParsedAddress } from '#src/connection/address.js'
import { SocketServer, type SocketServerOptions } from '#src/connection/socket-server.js'
import { eventually } from '../leak-check.js'

export const KEY = Buffer.from('the key of these tests')
export const OTHER_KEY = Buffer.from('another key')

const certificates = new URL('../../../test/fixtures/tls/', import.meta.url)
const pem = (name: string): string => readFileSync(new URL(`${name}.pem`, certificates), 'utf8')

/** A certificate of localhost, and what trusts it. */
export const serverTls = { key: pem('server-key'), cert: pem('server-cert') }
export const clientTls = { ca: pem('server-cert') }
/** The certificate of a client, and what trusts it. */
export const clientCertificate = { key: pem('client-key'), cert: pem('client-cert') }
export const trustedClients = { requestCert: true, ca: pem('client-cert') }

export interface Refusal {
  error: Error & { code?: string; reason?: string }
  peer: string
}

export class StartedServer implements AsyncDisposable {
  readonly server: SocketServer
  readonly sockets: Socket[] = []
  readonly refusals: Refusal[] = []

  private constructor(address: Address | ParsedAddress, options: Partial<SocketServerOptions>) {
    this.server = new SocketServer(address, {
      onSocket: socket => {
        this.sockets.push(socket)
      },
      onRefused: (error, peer) => {
        this.refusals.push({ error, peer })
      },
      ...options,
    })
  }

  static async open(
    address: Address | ParsedAddress,
    options: Partial<SocketServerOptions> = {},
  ): Promise<StartedServer> {
    const started = new StartedServer(address, options)
    await started.server.listening()
    return started
  }

  get address(): ParsedAddress {
    return this.server.address
  }

  /** The socket that was let in as number `index`. */
  async socket(index = 0): Promise<Socket> {
    await eventually(() => this.sockets.length > index)
    return this.sockets[index]!
  }

  async refusal(index = 0): Promise<Refusal> {
    await eventually(() => this.refusals.length > index)
    return this.refusals[index]!
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close()
    for (const socket of this.sockets) socket.destroy()
  }
}

/** A socket that has connected and says nothing by itself. */
export async function rawSocket(address: ParsedAddress): Promise<Socket> {
  const socket = address.family === 'AF_INET' ? connect(address.port, address.host) : connect(address.path)
  await once(socket, 'connect')
  socket.on('error', () => {})
  return socket
}

/** As Python and we put a message on the wire. */
export function frame(message: Uint8Array | string): Buffer {
  const body = Buffer.from(message)
  const header = Buffer.alloc(4)
  header.writeInt32BE(body.length)
  return Buffer.concat([header, body])
}

/** Until the other side has closed it. */
export async function closed(socket: Socket): Promise<void> {
  socket.resume()
  if (!socket.destroyed) await once(socket, 'close')
}
