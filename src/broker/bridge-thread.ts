/**
 * The thread that owns a client's sockets. The thread that it serves may be blocked in `acquireSync()`: so it cannot
 * read a socket itself, but it can be woken by a word in memory and take messages from a port.
 */
import { type Socket, connect } from 'node:net'
import { type MessagePort, workerData } from 'node:worker_threads'
import { removeSocket } from '../platform/local-socket.ts'
import { mayRun } from '../platform/process-facts.ts'
import type { HomeAddress } from '../platform/shared-heap.ts'
import { SocketConnection } from '../transport/socket-connection.ts'
import { encodeHello } from './protocol.ts'

/** What the bridge finds in `workerData`. */
export interface BridgeStart {
  port: MessagePort
  signal: Int32Array<SharedArrayBuffer>
}

/** Words of `signal`. */
export const SIGNAL = {
  /** Changes with every message to the thread that is served. */
  messages: 0,
  /** Changes every {@link HEARTBEAT_MS}, so that who is blocked knows that this thread still runs. */
  heartbeat: 1,
} as const

export const HEARTBEAT_MS = 500

/** To the bridge. */
export type ToBridge =
  | { kind: 'connect'; link: number; address: HomeAddress }
  | { kind: 'frame'; link: number; bytes: Uint8Array }

/** From the bridge. A link ends once. */
export type FromBridge =
  | { kind: 'frame'; link: number; bytes: Uint8Array }
  | { kind: 'end'; link: number; reason: 'unreachable' | 'ended'; message: string }

/** A broker that has just been started listens after some 100 ms, on a busy machine after seconds. */
const CONNECT_MS_MAX = 30_000
const RETRY_MS = 5
/** Why connecting is tried again: nobody listens there yet, or too many want to be let in at once. */
const NOT_YET = new Set(['ENOENT', 'ECONNREFUSED', 'EAGAIN', 'EBUSY'])

export function runBridge(): void {
  const { port, signal } = workerData as BridgeStart
  const links = new Map<number, Promise<SocketConnection | undefined> | SocketConnection | undefined>()
  const post = (message: FromBridge, transfer: ArrayBuffer[] = []): void => {
    port.postMessage(message, transfer)
    Atomics.add(signal, SIGNAL.messages, 1)
    Atomics.notify(signal, SIGNAL.messages)
  }
  // Not referenced: it keeps nobody. It ends with this thread.
  setInterval(() => void Atomics.add(signal, SIGNAL.heartbeat, 1), HEARTBEAT_MS).unref()

  const open = async (link: number, address: HomeAddress): Promise<SocketConnection | undefined> => {
    let socket: Socket
    try {
      socket = await connectTo(address)
    } catch (error) {
      links.set(link, undefined)
      removeSocket(address.path, address.pid)
      post({ kind: 'end', link, reason: 'unreachable', message: (error as Error).message })
      return undefined
    }
    const connection = new SocketConnection(socket)
    connection.onMessage = frame => {
      const bytes = Uint8Array.from(frame)
      post({ kind: 'frame', link, bytes }, [bytes.buffer])
    }
    connection.onClose = error => {
      links.set(link, undefined)
      removeSocket(address.path, address.pid)
      post({ kind: 'end', link, reason: 'ended', message: error?.message ?? '' })
    }
    connection.send(encodeHello(address, process.pid))
    links.set(link, connection)
    return connection
  }

  port.on('message', (message: ToBridge) => {
    if (message.kind === 'connect') {
      links.set(message.link, open(message.link, message.address))
      return
    }
    const { link, bytes } = message
    const connection = links.get(link)
    if (connection instanceof Promise) void connection.then(opened => send(opened, bytes))
    else send(connection, bytes)
  })
}

function send(connection: SocketConnection | undefined, bytes: Uint8Array): void {
  // What is sent to a link that has ended is answered by its end.
  if (connection?.isOpen === true) connection.send(bytes)
}

async function connectTo({ path, pid }: HomeAddress): Promise<Socket> {
  const until = performance.now() + CONNECT_MS_MAX
  for (;;) {
    try {
      return await new Promise<Socket>((resolve, reject) => {
        const socket = connect(path)
        socket.once('connect', () => {
          socket.off('error', reject)
          resolve(socket)
        })
        socket.once('error', reject)
      })
    } catch (error) {
      const isEarly = NOT_YET.has((error as NodeJS.ErrnoException).code ?? '')
      if (!isEarly || !mayRun(pid) || performance.now() > until) throw error
    }
    // Sleep: nothing tells when a path begins to exist.
    await new Promise(resolve => setTimeout(resolve, RETRY_MS))
  }
}
