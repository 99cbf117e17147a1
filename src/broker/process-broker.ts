/**
 * The one broker of a process: its threads have one heap, so what any of them sends away is served in one place, and one
 * client is one member. The main thread starts it, because it outlives the others. It is announced in the heap. See
 * "One for all threads" in README.md.
 */
import { BroadcastChannel, isMainThread } from 'node:worker_threads'
import { BROKER_ADDRESS_BYTES_MAX, BROKER_ADDRESS_START_BYTES, HEADER } from '../platform/heap-layout.ts'
import { type HomeAddress, type SharedHeap, hasInheritedHeap } from '../platform/shared-heap.ts'

/** What a thread asks the main thread for. */
export interface StartRequest {
  kind: 'start'
}

/** The main thread answers when it turns its event loop. One that is blocked for longer is not waited for. */
const MAIN_MS_MAX = 2000
/** A thread starts within some 50 ms, and later on a very busy machine. */
const START_MS_MAX = 15_000

/** The address as its bytes in the heap, and whose broker that is. */
export interface Announced {
  address: HomeAddress
  /** The broker as a member. */
  token: number
}

/** Whether the broker that this thread starts is that of all threads: of the heap that this thread has made. */
export function isHomeThread(): boolean {
  return isMainThread || !hasInheritedHeap()
}

/** All threads of a heap, and its broker, hear what is posted there. It does not keep the program alive. */
export function channelOf(heap: SharedHeap, heard?: (message: unknown) => void): BroadcastChannel {
  const channel = new BroadcastChannel(`multiproc broker ${heap.id}`)
  if (heard !== undefined) channel.addEventListener('message', event => heard((event as MessageEvent).data))
  channel.unref()
  return channel
}

/** For the broker, once it hears what is posted to the channel. */
export function announce(heap: SharedHeap, address: HomeAddress): void {
  const { words } = heap
  const bytes = Buffer.from(JSON.stringify(address))
  if (bytes.length > BROKER_ADDRESS_BYTES_MAX) {
    throw new Error(
      `This is a bug in multiproc, please report it: the address of a broker has ${bytes.length} bytes`,
    )
  }
  Buffer.from(words.buffer, BROKER_ADDRESS_START_BYTES, BROKER_ADDRESS_BYTES_MAX).set(bytes)
  Atomics.store(words, HEADER.brokerAddressBytes, bytes.length)
  Atomics.store(words, HEADER.brokerToken, heap.token)
  Atomics.notify(words, HEADER.brokerToken)
}

/** For the main thread, as soon as it has started a broker. */
export function noteStarted({ words }: SharedHeap): void {
  Atomics.store(words, HEADER.isBrokerStarted, 1)
  Atomics.notify(words, HEADER.isBrokerStarted)
}

/** The broker of all threads, if it serves. */
export function announced(heap: SharedHeap): Announced | undefined {
  const { words } = heap
  const token = Atomics.load(words, HEADER.brokerToken)
  if (token === 0 || !heap.isAlive(token)) return undefined
  const length = Atomics.load(words, HEADER.brokerAddressBytes)
  const text = Buffer.from(words.buffer, BROKER_ADDRESS_START_BYTES, length).toString()
  return { address: JSON.parse(text) as HomeAddress, token }
}

/**
 * The broker of all threads, for one that is not the main thread: that one is asked to start it. `undefined` when the
 * main thread is blocked, or its broker does not start or has ended.
 */
export function processBroker(heap: SharedHeap, channel: BroadcastChannel): Announced | undefined {
  const { words } = heap
  if (Atomics.load(words, HEADER.isBrokerStarted) === 0) {
    const request: StartRequest = { kind: 'start' }
    channel.postMessage(request)
    if (Atomics.wait(words, HEADER.isBrokerStarted, 0, MAIN_MS_MAX) === 'timed-out') return undefined
  }
  Atomics.wait(words, HEADER.brokerToken, 0, START_MS_MAX)
  return announced(heap)
}
