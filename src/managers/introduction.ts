/**
 * The first frame in each direction, once a client has shown that it knows the key: it decides how the others travel. A
 * client that has the same shared memory as the server gets rings there; the socket is then a doorbell.
 */
import type { Socket } from 'node:net'
import { ClosedError, ProcessError } from '../errors.ts'
import { LongTimer } from '../platform/long-timer.ts'
import { sharedHeap } from '../platform/shared-heap.ts'
import { decode, encode, prepare } from '../serialize/codec.ts'
import { readFirstFrame } from '../transport/first-frame.ts'
import { HEADER_BYTES, packFrames } from '../transport/frame-format.ts'
import { RingConnection } from '../transport/ring-connection.ts'
import { SocketConnection } from '../transport/socket-connection.ts'
import type { ManagerConnection } from './local-connection.ts'
import { FRAME_BYTES_MAX, HELLO_BYTES_MAX, HELLO_MS_MAX, type Hello, type Welcome } from './protocol.ts'

/** The number of the heap that this process has in common with others. */
function commonHeap(): number | undefined {
  const heap = sharedHeap()
  return heap.isNative ? heap.id : undefined
}

function write(socket: Socket, message: Hello | Welcome): void {
  const frame = encode(message)
  const bytes = Buffer.alloc(HEADER_BYTES + frame.length)
  packFrames([frame], bytes)
  socket.write(bytes)
}

/** Reads the first frame; a socket that does not send it in time is closed. */
async function read(socket: Socket, maxFrameBytes: number): Promise<unknown> {
  const timer = new LongTimer(() => socket.destroy(), HELLO_MS_MAX)
  try {
    const frame = await readFirstFrame(socket, { maxFrameBytes })
    if (frame === undefined) throw endedBefore()
    await prepare(frame)
    return decode(frame) ?? {}
  } finally {
    timer.stop()
  }
}

/** In a client. @throws ClosedError when the other side ends; ProcessError `ERR_LIMIT` when it serves too many. */
export async function introduceClient(
  socket: Socket,
): Promise<{ connection: ManagerConnection; welcome: Welcome }> {
  try {
    write(socket, { heap: commonHeap() })
    const welcome = (await read(socket, FRAME_BYTES_MAX)) as Partial<Welcome>
    const { server, pid, rings, refusal } = welcome
    if (refusal !== undefined) throw refusal
    if (typeof server !== 'string' || typeof pid !== 'number') throw noManager()
    const connection =
      rings === undefined
        ? new SocketConnection(socket, { maxFrameBytes: FRAME_BYTES_MAX })
        : RingConnection.attach(socket, rings)
    socket.resume()
    return { connection, welcome: welcome as Welcome }
  } catch (error) {
    socket.destroy()
    throw error
  }
}

/**
 * In a server: reads who is there, and answers. `undefined` when that is no client, or it is refused.
 *
 * @param decide - called when the client has introduced itself
 */
export async function introduceServer(
  socket: Socket,
  decide: () => Omit<Welcome, 'rings'> & { mayHaveRings: boolean },
): Promise<{ connection: ManagerConnection; hasRings: boolean } | undefined> {
  let hello: Partial<Hello>
  try {
    hello = (await read(socket, HELLO_BYTES_MAX)) as Partial<Hello>
  } catch {
    // It knows the key, and does not speak this protocol.
    socket.destroy()
    return undefined
  }
  const { mayHaveRings, ...who } = decide()
  if (who.refusal !== undefined) {
    write(socket, { ...who, rings: undefined })
    socket.end(() => socket.destroy())
    return undefined
  }
  const made =
    mayHaveRings && hello.heap !== undefined && hello.heap === commonHeap() ? ringsAt(socket) : undefined
  // On the socket before anything that is in the rings, so before the first bell.
  write(socket, { ...who, rings: made?.end })
  const connection = made?.connection ?? new SocketConnection(socket, { maxFrameBytes: FRAME_BYTES_MAX })
  socket.resume()
  return { connection, hasRings: made !== undefined }
}

function ringsAt(socket: Socket): ReturnType<typeof RingConnection.create> | undefined {
  try {
    return RingConnection.create(socket)
  } catch {
    // There is no memory for them, or the socket has no descriptor to ring: it does as it is.
    return undefined
  }
}

function endedBefore(): Error {
  return new ClosedError(
    'Cannot connect to the manager: it ended the connection before it answered\nTo fix: see that it runs, and is not just shutting down',
  )
}

function noManager(): ProcessError {
  return new ProcessError(
    'ERR_PROTOCOL',
    'Cannot connect to the manager: what answers there is none of this version\nTo fix: use the same version of multiproc on both sides',
  )
}
