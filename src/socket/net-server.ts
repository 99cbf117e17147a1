/**
 * How a `net.Server` travels: the listening socket as a handle, with the options for its connections. Its listeners stay
 * behind. A server that arrived, or was sent, takes no connection before somebody listens for them, so none is lost.
 */
import { Server, Socket } from 'node:net'
import {
  closeDescriptor,
  duplicateDescriptor,
  type DescriptorHandle,
  receiveDescriptor,
  sendDescriptor,
} from '../platform/descriptors.ts'
import { descriptorOf } from '../platform/doorbell.ts'
import { noteArrival } from '../platform/in-flight.ts'
import { addReducer } from '../serialize/reducers.ts'
import { Unsendable } from '../serialize/unsendable.ts'
import { handleHolder } from './handle-holder.ts'
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
    if (!handleHolder(server)._handle)
      throw new Unsendable(server, 'a Server that does not listen', 'send it after its event "listening"')
    // Before it is kept: the handle is exchanged for another, which is the one that later messages find.
    stopAccepting(server)
    const { _handle: identity, _pipeName: path } = handleHolder(server)
    const handle = sendDescriptor(server, descriptorOf(server), {
      what: 'a Server',
      isReadOften,
      identity: identity!,
    })
    return {
      handle,
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
    const server = new Server(options)
    openDormant(server, fd)
    if (maxConnections !== undefined) server.maxConnections = maxConnections
    handleHolder(server)._pipeName = path
    noteArrival(() => server.close())
    return server
  },
})

/**
 * Gives the server a handle that does not accept. The descriptor belongs to it from now on; the first listener for
 * connections starts it.
 */
function openDormant(server: Server, fd: number): void {
  const open = handleHolder(server)
  try {
    // The one documented way to a handle of Node.js for a descriptor. The socket around it is not used.
    const options = { fd, readable: false, writable: false, manualStart: true }
    const around = handleHolder(new Socket(options))
    open._handle = around._handle
    around._handle = null
  } catch (error) {
    closeDescriptor(fd)
    throw error
  }
  const dormant = open._handle
  server.on('newListener', function accept(event) {
    if (event !== 'connection') return
    server.off('newListener', accept)
    // Closed meanwhile.
    if (open._handle === null || open._handle !== dormant) return
    open._handle = null
    server.listen({ _handle: dormant } as never)
  })
}

/**
 * A server without listeners for connections that was sent to others would take connections from them and answer none.
 * Its handle is exchanged for one that accepts only when a listener comes.
 */
function stopAccepting(server: Server): void {
  const open = handleHolder(server)
  const accepting = open._handle
  if (server.listenerCount('connection') > 0 || accepting === null || !isOwnerOf(server, accepting)) return
  // Closing the handle of a Unix socket removes the path.
  if (open._pipeName !== undefined) return
  const copy = duplicateDescriptor(descriptorOf(server))
  if (copy < 0) return
  openDormant(server, copy)
  accepting.close()
}

/** Whether connections of a handle go to this server: it may have been given to an HTTP server, or be dormant. */
function isOwnerOf(server: Server, handle: object): boolean {
  return Object.getOwnPropertySymbols(handle).some(
    symbol => symbol.description === 'owner_symbol' && (handle as Record<symbol, unknown>)[symbol] === server,
  )
}
