/**
 * How a `net.Socket` travels: its descriptor as a handle, and what Node.js knows of it beside that. Refuses whatever
 * would lose bytes that somebody has written or was sent.
 */
import { Socket } from 'node:net'
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
import { handleHolder } from './handle-holder.ts'
import { assertPlain } from './plain-class.ts'

interface SentSocket {
  handle: DescriptorHandle
  allowHalfOpen: boolean
  /** Whether `end()` has not been called. */
  isWritable: boolean
}

addReducer<Socket>({
  type: Socket,
  name: 'multiproc.Socket',
  module: import.meta.url,
  encode: (socket, { isReadOften }): SentSocket => {
    assertPlain(socket, Socket, {
      TLSSocket:
        'end TLS in this process and send what was decrypted, or send the net.Socket before TLS begins',
    })
    const identity = assertSendable(socket)
    return {
      handle: sendDescriptor(socket, descriptorOf(socket), { what: 'a Socket', isReadOften, identity }),
      allowHalfOpen: socket.allowHalfOpen,
      isWritable: !socket.writableEnded,
    }
  },
  decode: data => {
    const { handle, allowHalfOpen, isWritable } = (data ?? {}) as Partial<SentSocket>
    const fd = receiveDescriptor(handle, 'a Socket')
    const socket = openSocket(fd, { allowHalfOpen: allowHalfOpen === true, writable: isWritable !== false })
    noteArrival(() => socket.destroy())
    return socket
  },
})

/**
 * A Socket for a descriptor, which belongs to it from now on. It reads nothing until somebody wants its data: who only
 * passes it on must not take bytes out of it.
 */
function openSocket(fd: number, options: { allowHalfOpen: boolean; writable: boolean }): Socket {
  try {
    // "manualStart" is what Node.js itself uses for a socket that is not to be read from yet.
    return new Socket({ fd, readable: true, ...options, manualStart: true } as ConstructorParameters<
      typeof Socket
    >[0])
  } catch (error) {
    closeDescriptor(fd)
    throw error
  }
}

/** Returns the handle of what is sent. */
function assertSendable(socket: Socket): object {
  const refuse = (kind: string, advice: string): never => {
    throw new Unsendable(socket, kind, advice)
  }
  if (socket.connecting) refuse('a Socket that is connecting', 'send it after its event "connect"')
  if (socket.destroyed) refuse('a Socket that is closed', 'send it first and destroy() it afterwards')
  const { _handle: handle } = handleHolder(socket)
  if (!handle) return refuse('a Socket that is not connected', 'connect it first, or send the address')
  if ((socket as { parser?: object | null }).parser)
    refuse(
      'a Socket that an HTTP server or client reads from',
      'send it after the event "upgrade" or "connect"',
    )
  if (socket.readableFlowing === true)
    refuse('a Socket that is being read here', 'pause() it first, and destroy() it once it was sent')
  if (socket.readableLength > 0)
    refuse(
      `a Socket with ${socket.readableLength} bytes that were read and not taken yet`,
      'take them first: socket.read(). Nothing is read ahead with net.createServer({ pauseOnConnect: true }), or net.connect(...).pause()',
    )
  if (socket.writableLength > 0)
    refuse(
      `a Socket with ${socket.writableLength} bytes that are not written yet`,
      'wait for the callback of write() first',
    )
  stopReading(socket, handle as ReadingHandle)
  return handle
}

/**
 * A connection that was accepted, and one that was paused, is still read from once: what comes before it is destroyed
 * here would be lost. Whoever reads from it here after all starts it again.
 */
function stopReading(socket: Socket, handle: ReadingHandle): void {
  if (handle.reading !== true) return
  handle.reading = false
  handle.readStop?.()
  ;(socket as { _readableState?: { reading: boolean } })._readableState!.reading = false
}

/** What Node.js keeps of its sockets: whether one is being read from, and how that ends. */
interface ReadingHandle {
  reading?: boolean
  readStop?(): number
}
