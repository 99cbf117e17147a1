/** Real connections for tests: a client of this process, and the socket that a server of it accepted, not read from. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

export interface Connected extends Disposable {
  client: Socket
  accepted: Socket
  /** Resolves when the client sees the connection closed: nobody has the other side open any more. */
  closed: Promise<unknown>
}

export async function connected(): Promise<Connected> {
  const server = await listening({ pauseOnConnect: true })
  const arrival = once(server, 'connection')
  const client = connect(portOf(server))
  const [accepted] = (await arrival) as [Socket]
  server.close()
  client.on('error', () => {})
  return {
    client,
    accepted,
    closed: once(client, 'close'),
    [Symbol.dispose]: () => {
      client.destroy()
      accepted.destroy()
    },
  }
}

export async function listening(options: { pauseOnConnect?: boolean } = {}): Promise<Server> {
  const server = createServer(options).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port
}

/** All that comes from a socket until it ends. */
export async function textOf(socket: Socket): Promise<string> {
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return text
}
