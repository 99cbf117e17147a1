/**
 * The thread of a home that serves its objects to clients in other processes: it listens, lets in who knows the secret,
 * and has a `ServedClient` for each. It runs apart from the home's own threads, which may be blocked for long.
 */
import { type Socket, createServer } from 'node:net'
import {
  type BroadcastChannel,
  type MessagePort,
  receiveMessageOnPort,
  workerData,
} from 'node:worker_threads'
import { ProcessError } from '../errors.ts'
import { inheritHeap, sharedHeap } from '../platform/shared-heap.ts'
import { encode } from '../serialize/codec.ts'
import { readFirstFrame } from '../transport/first-frame.ts'
import { SocketConnection } from '../transport/socket-connection.ts'
import { type BrokerStart, type FromBroker, type Heard, type ToBroker, serveAt } from './home.ts'
import { announce, channelOf } from './process-broker.ts'
import { CLIENTS_MAX, type FromHome, HELLO_BYTES, HELLO_MS_MAX, readHello } from './protocol.ts'
import { forgetUnusedMemory, keepMemory } from './published-memory.ts'
import { ServedClient } from './served-client.ts'

/** Who is answered: the thread that started the broker, or all. */
type Asker = Pick<MessagePort | BroadcastChannel, 'postMessage'>

/** Ends with the home's process; see "Death" in README.md. */
export function runBroker(): void {
  const { address, heap: inheritance, port, isForAll } = workerData as BrokerStart
  inheritHeap(inheritance)
  serveAt(address)
  const heap = sharedHeap()
  // A member: only one can deal with the ends of others.
  void heap.token
  const clients = new Map<ServedClient, { pid: number; leave: () => void }>()
  const told = (message: Heard, from: Asker): void => {
    if (message.kind === 'memory') keepMemory(message.handle, message.memory)
    else if (message.kind === 'ended') {
      for (const { pid, leave } of clients.values()) if (pid === message.pid) leave()
      const answer: FromBroker = { kind: 'endedIsDone', pid: message.pid, token: message.token }
      from.postMessage(answer)
    }
  }
  port.on('message', (message: ToBroker) => told(message, port))
  // From here on it hears all threads.
  const channel: BroadcastChannel | undefined = isForAll
    ? channelOf(heap, message => told(message as Heard, channel!))
    : undefined
  const readPublications = (): void => {
    for (const from of channel === undefined ? [port] : [port, channel]) {
      for (let got; (got = receiveMessageOnPort(from as MessagePort)) !== undefined;) {
        told(got.message as ToBroker, from)
      }
    }
  }

  const accept = async (socket: Socket): Promise<void> => {
    socket.on('error', () => {})
    const timer = setTimeout(() => socket.destroy(), HELLO_MS_MAX)
    let frame: Uint8Array | undefined
    try {
      frame = await readFirstFrame(socket, { maxFrameBytes: HELLO_BYTES })
    } catch {
      // No frame of ours, or one that is too long: not a client.
    } finally {
      clearTimeout(timer)
    }
    const pid = readHello(frame, address)
    if (pid === undefined) {
      socket.destroy()
      return
    }
    const connection = new SocketConnection(socket)
    socket.resume()
    if (clients.size >= CLIENTS_MAX) {
      const refusal: FromHome = { kind: 'refused', error: tooManyClients() }
      connection.onMessage = () => {}
      connection.send(encode(refusal))
      connection.close()
      return
    }
    const client = new ServedClient(connection, heap.anotherMember(), { readPublications })
    const leave = (): void => {
      if (!clients.delete(client)) return
      client.end()
      heap.reap()
      forgetUnusedMemory()
      connection.abort()
    }
    clients.set(client, { pid, leave })
    connection.afterClose(leave)
  }

  const server = createServer(socket => void accept(socket))
  // Those who have not said who they are yet, and those who are refused, included.
  server.maxConnections = 2 * CLIENTS_MAX
  server.on('error', error => {
    throw error
  })
  const serves: FromBroker = { kind: 'serves' }
  server.listen(address.path, () => {
    if (isForAll) announce(heap, address)
    port.postMessage(serves)
  })
}

function tooManyClients(): ProcessError {
  return new ProcessError(
    'ERR_LIMIT',
    `Cannot use a shared object here: ${CLIENTS_MAX} processes and threads use objects of its process already\n` +
      'To fix: run fewer processes and threads at the same time, or install multiproc where its native addon loads',
  )
}
