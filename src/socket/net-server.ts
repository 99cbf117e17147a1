/**
 * How a `net.Server` travels: the listening socket as a handle, with the options for its connections. Its listeners stay
 * behind. A server that arrived takes no connection before somebody listens for them, so none is lost.
 */
import { Server, Socket } from 'node:net'
import {
  closeDescriptor,
  type DescriptorHandle,
  receiveDescriptor,
  sendDescriptor,
} from '../platform/descriptors.ts'
import { descriptorOf } from '../platform/doorbell.ts'
import { noteArrival } from '../platform/in-flight.ts'
import { addReducer } from '../serialize/reducers.ts'
import { Unsendable } from '../serialize/unsendable.ts'
import { assertPlain } from './plain-class.ts'

/** Options of a server that are properties of it, by the names that they have there. */
const OPTIONS = [
  'allowHalfOpen',
  'pauseOnConnect',
  'noDelay',
  'keepAlive',
  'keepAliveInitialDelay',
  'highWaterMark',
] as const

/** What Node.js keeps in a server beside its documented properties: the handle, and the path of a Unix socket. */
interface OpenServer {
  _handle: object | null
  _pipeName?: string | undefined
}

interface SentServer {
  handle: DescriptorHandle
  options: Record<string, unknown>
  maxConnections: number | undefined
  path: string | undefined
}

addReducer<Server>({
  type: Server,
  name: 'multiproc.Server',
  module: import.meta.url,
  encode: (server, { isReadOften }): SentServer => {
    const advice =
      'listen with net.createServer(), send that, and give it to the other there: http.createServer(handler).listen(server)'
    assertPlain(server, Server, {
      Server: advice,
      Http2Server: advice,
      Http2SecureServer: advice,
    })
    const fd = descriptorOf(server)
    if (fd < 0)
      throw new Unsendable(server, 'a Server that does not listen', 'send it after its event "listening"')
    const { _pipeName: path } = server as unknown as OpenServer
    return {
      handle: sendDescriptor(server, fd, { what: 'a Server', isReadOften }),
      options: Object.fromEntries(
        OPTIONS.map(name => [name, (server as unknown as Record<string, unknown>)[name]]),
      ),
      maxConnections: server.maxConnections,
      path,
    }
  },
  decode: data => {
    const { handle, options, maxConnections, path } = (data ?? {}) as Partial<SentServer>
    const fd = receiveDescriptor(handle, 'a Server')
    const server = openServer(fd, new Server(options))
    if (maxConnections !== undefined) server.maxConnections = maxConnections
    ;(server as unknown as OpenServer)._pipeName = path
    noteArrival(() => server.close())
    return server
  },
})

/** The descriptor belongs to the server from now on, which listens as the socket does and accepts nothing yet. */
function openServer(fd: number, server: Server): Server {
  const open = server as unknown as OpenServer
  try {
    // The one documented way to a handle of Node.js for a descriptor. The socket around it is not used.
    const around = new Socket({
      fd,
      readable: false,
      writable: false,
      manualStart: true,
    } as ConstructorParameters<typeof Socket>[0]) as unknown as OpenServer
    open._handle = around._handle
    around._handle = null
  } catch (error) {
    closeDescriptor(fd)
    throw error
  }
  server.on('newListener', function accept(event) {
    if (event !== 'connection') return
    server.off('newListener', accept)
    const handle = open._handle
    // Closed, or given to another server, by its own means.
    if (handle === null) return
    open._handle = null
    server.listen({ _handle: handle } as never)
  })
  return server
}
