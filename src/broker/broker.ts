/**
 * The thread of a home that serves its objects to clients in other processes: it listens, lets in who knows the secret,
 * and has a `ServedClient` for each. It runs apart from the home's own threads, which may be blocked for long.
 */
import { type Socket, createServer } from 'node:net'
import { receiveMessageOnPort, workerData } from 'node:worker_threads'
import { ProcessError } from '../errors.ts'
import { inheritHeap, sharedHeap } from '../platform/shared-heap.ts'
import { encode } from '../serialize/codec.ts'
import { readFirstFrame } from '../transport/first-frame.ts'
import { SocketConnection } from '../transport/socket-connection.ts'
import type { BrokerStart, Publication } from './home.ts'
import { CLIENTS_MAX, type FromHome, HELLO_BYTES, HELLO_MS_MAX, isHello } from './protocol.ts'
import { forgetUnusedMemory, keepMemory } from './published-memory.ts'
import { ServedClient } from './served-client.ts'

/** Ends with the home's process; see "Death" in README.md. */
export function runBroker(): void {
  const { address, heap: inheritance, port } = workerData as BrokerStart
  inheritHeap(inheritance)
  const heap = sharedHeap()
  // A member: only one can deal with the ends of others.
  void heap.token
  const clients = new Set<ServedClient>()
  const published = (publication: Publication): void => keepMemory(publication.handle, publication.memory)
  port.on('message', published)
  const readPublications = (): void => {
    for (let got; (got = receiveMessageOnPort(port)) !== undefined;) published(got.message as Publication)
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
    if (!isHello(frame, address)) {
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
    clients.add(client)
    connection.afterClose(() => {
      clients.delete(client)
      client.end()
      heap.reap()
      forgetUnusedMemory()
    })
  }

  const server = createServer(socket => void accept(socket))
  server.on('error', error => {
    throw error
  })
  server.listen(address.path, () => port.postMessage('serves'))
}

function tooManyClients(): ProcessError {
  return new ProcessError(
    'ERR_LIMIT',
    `Cannot use a shared object here: ${CLIENTS_MAX} processes and threads use objects of its process already\n` +
      'To fix: run fewer processes and threads at the same time, or install multiproc where its native addon loads',
  )
}
