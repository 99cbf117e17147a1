/**
 * The home's side of the broker: a thread of its own that serves what this process has made to other processes. It is
 * started when something is first sent to one, and never keeps the program alive. See README.md.
 */
import { randomBytes } from 'node:crypto'
import { MessageChannel, type MessagePort, type Worker } from 'node:worker_threads'
import { ProcessError } from '../errors.ts'
import { childEntry } from '../platform/child-entry.ts'
import { childEnvironment } from '../platform/child-flags.ts'
import { newSocketPath } from '../platform/local-socket.ts'
import {
  type BlockHandle,
  type HeapInheritance,
  type HomeAddress,
  sharedHeap,
} from '../platform/shared-heap.ts'
import { startWorker } from '../platform/start-worker.ts'
import { memoryOf } from './published-memory.ts'

/** What the broker's thread finds in `workerData`. */
export interface BrokerStart {
  address: HomeAddress
  heap: HeapInheritance
  port: MessagePort
}

/** What a thread tells its broker: memory that goes with a block. */
export interface Publication {
  handle: BlockHandle
  memory: SharedArrayBuffer
}

interface Home {
  address: HomeAddress
  port: MessagePort
  worker: Worker
  ready: Promise<void>
  published: Set<string>
  failure: Error | undefined
}

let home: Home | undefined

/**
 * Where other processes reach what this one has made. The first call starts the broker.
 *
 * @throws ProcessError `ERR_START_FAILED` when it cannot be started, or has failed.
 */
export function homeAddress(): HomeAddress {
  home ??= startBroker()
  if (home.failure !== undefined) throw brokerFailed(home.failure)
  return home.address
}

/** Starts the broker if it does not run yet, and resolves when it serves. */
export async function brokerServes(): Promise<void> {
  homeAddress()
  const { port, ready } = home!
  port.ref()
  await ready
  port.unref()
}

/** Ends the broker, as an error in it would; for tests. */
export async function stopBroker(): Promise<void> {
  await home?.worker.terminate()
}

function startBroker(): Home {
  const heap = sharedHeap()
  const { port1, port2 } = new MessageChannel()
  const address: HomeAddress = {
    path: newSocketPath(),
    secret: randomBytes(32).toString('hex'),
    pid: process.pid,
  }
  const start: BrokerStart = { address, heap: { buffer: heap.portableBuffer! }, port: port2 }
  const worker = startWorker(childEntry('broker-main', import.meta.url), {
    name: 'multiproc broker',
    workerData: start,
    transferList: [port2],
    env: childEnvironment(),
  })
  if (worker instanceof Error) throw worker
  const { threadId } = worker
  const started: Home = {
    address,
    port: port1,
    worker,
    published: new Set(),
    failure: undefined,
    ready: new Promise(resolve => {
      port1.once('message', () => resolve())
      worker.once('exit', () => resolve())
    }),
  }
  port1.unref()
  worker.unref()
  worker.on('error', error => {
    started.failure = error
  })
  worker.once('exit', exitCode => {
    started.failure ??= new Error(`its thread ended with exit code ${exitCode}`)
    // The clients are members in that thread: what they held is given back.
    heap.markEnded({ pid: process.pid, threadId })
  })
  return started
}

/** Tells the broker of memory that goes with a block, before the block's handle leaves this thread. */
export function publishMemory(handle: BlockHandle, memory: SharedArrayBuffer): void {
  homeAddress()
  const { port, published } = home!
  const key = `${handle.index}:${handle.generation}`
  if (published.has(key)) return
  // The broker forgets memory that nobody uses. A handle that is used again is published again.
  if (published.size >= 4096) published.clear()
  published.add(key)
  const publication: Publication = { handle: { ...handle }, memory }
  port.postMessage(publication)
}

/** The memory that goes with a block: what came with the handle, or what this thread knows. */
export function memoryFor(
  handle: BlockHandle,
  memory: SharedArrayBuffer | undefined,
): SharedArrayBuffer | undefined {
  return memory ?? memoryOf(handle)
}

function brokerFailed(cause: Error): ProcessError {
  return new ProcessError(
    'ERR_START_FAILED',
    'Cannot send a shared object to another process: the thread that would serve it has ended\n' +
      'To fix: see the cause; use threads (the option context: "thread"), or install multiproc where its addon loads',
    { cause },
  )
}
