/**
 * The home's side of the broker: a thread of its own that serves what this process has made to other processes. It is
 * started when something is first sent to one, one for all threads, and never keeps the program alive. See README.md.
 */
import { randomBytes } from 'node:crypto'
import type { BroadcastChannel, MessagePort, Worker } from 'node:worker_threads'
import { ProcessError } from '../errors.ts'
import { newSocketPath } from '../platform/local-socket.ts'
import {
  type BlockHandle,
  type HeapInheritance,
  type HomeAddress,
  existingHeap,
  sharedHeap,
} from '../platform/shared-heap.ts'
import {
  type Announced,
  type StartRequest,
  announced,
  channelOf,
  isHomeThread,
  noteStarted,
  processBroker,
} from './process-broker.ts'
import { memoryOf } from './published-memory.ts'
import { startServiceThread } from './service-thread.ts'

/** What the broker's thread finds in `workerData`. */
export interface BrokerStart {
  address: HomeAddress
  heap: HeapInheritance
  port: MessagePort
  /** Whether it serves all threads of the process, and not only the one that started it. */
  isForAll: boolean
}

/** What a thread tells its broker. */
export type ToBroker =
  /** Memory that goes with a block. */
  | { kind: 'memory'; handle: BlockHandle; memory: SharedArrayBuffer }
  /** A child has ended. Answered when nothing is done for it any more. */
  | { kind: 'ended'; pid: number; token: number }

/** What the broker tells its thread, or all threads: the member with this token asked. */
export type FromBroker = { kind: 'serves' } | { kind: 'endedIsDone'; pid: number; token: number }

/** What is said on the channel of all threads. */
export type Heard = StartRequest | ToBroker | FromBroker

interface Home {
  address: HomeAddress
  /** The way to the broker: that of the thread that started it, or that of all threads. */
  port: Pick<MessagePort | BroadcastChannel, 'postMessage' | 'ref' | 'unref'>
  /** In the thread that started it. */
  worker: Worker | undefined
  /** In others: the broker as a member. */
  token: number | undefined
  isServing: boolean
  published: Set<string>
  /** By process id: how often it was told that a child has ended, and has not answered yet. */
  endsUnanswered: Map<number, number>
  failure: Error | undefined
  /** How many wait for it, and how they are told that something has changed. */
  waits: number
  changed: (() => void)[]
}

/** The broker answers at once. It is late when the machine is very busy, or it has stopped in a debugger. */
const ANSWER_MS_MAX = 5000

let home: Home | undefined
/** The channel on which the other threads ask for a broker. */
let requests: BroadcastChannel | undefined
/** In the broker's own thread: where it listens. */
let served: HomeAddress | undefined

/** For the broker's thread, which must not become a client of itself: it would block for an answer of its own. */
export function serveAt(address: HomeAddress): void {
  served = address
}

/** Whether this thread is the broker that listens there. */
export function isServedHere({ path }: HomeAddress): boolean {
  return served?.path === path
}

/**
 * Where other processes reach what this one has made. The first call starts the broker.
 *
 * @throws ProcessError `ERR_START_FAILED` when it cannot be started, or has failed.
 */
export function homeAddress(): HomeAddress {
  home ??= isHomeThread()
    ? startBroker({ isForAll: true })
    : (joinBroker() ?? startBroker({ isForAll: false }))
  lookWhetherItEnded(home)
  if (home.failure !== undefined) throw brokerFailed(home.failure)
  return home.address
}

/** Nobody tells a thread of the end of a broker that another thread has started. */
function lookWhetherItEnded(of: Home): void {
  if (of.token !== undefined && !sharedHeap().isAlive(of.token)) of.failure ??= new Error('it has ended')
}

/** For a thread that starts others: when one of them needs a broker, this one starts that of all. */
export function serveThreads(): void {
  if (requests !== undefined || sharedHeap().isNative || !isHomeThread()) return
  requests = channelOf(sharedHeap(), message => {
    if ((message as Heard).kind !== 'start') return
    try {
      home ??= startBroker({ isForAll: true })
    } catch {
      // The thread that asked waits in vain, then tries for itself, and is told the error.
    }
  })
}

/** Starts the broker if it does not run yet, and resolves when it serves. */
export async function brokerServes(): Promise<void> {
  homeAddress()
  await until(home!, ({ isServing }) => isServing, Infinity)
}

/**
 * Has the broker do nothing any more for a process that has ended: what it held is given back, and nothing is given to
 * it. Who waits for the end of a child and then releases a lock can rely on it.
 */
export async function endClientsOf(pid: number): Promise<void> {
  if (!hasBroker() || home === undefined) return
  const message: ToBroker = { kind: 'ended', pid, token: sharedHeap().token }
  home.port.postMessage(message)
  countEnd(home, pid, 1)
  await until(home, ({ endsUnanswered }) => !endsUnanswered.has(pid), ANSWER_MS_MAX)
}

function countEnd({ endsUnanswered }: Home, pid: number, change: 1 | -1): void {
  const count = (endsUnanswered.get(pid) ?? 0) + change
  if (count > 0) endsUnanswered.set(pid, count)
  else endsUnanswered.delete(pid)
}

/** Whether a broker serves what this thread makes. */
export function hasBroker(): boolean {
  if (home === undefined && !isHomeThread()) {
    const heap = existingHeap()
    const found = heap === undefined || heap.isNative ? undefined : announced(heap)
    if (found !== undefined) home = homeFor(found)
  }
  if (home === undefined) return false
  lookWhetherItEnded(home)
  return home.failure === undefined
}

/** Waits for something that the broker tells, for its end, or for the time. It keeps the program alive meanwhile. */
async function until(of: Home, isSo: (of: Home) => boolean, timeoutMs: number): Promise<void> {
  of.waits++
  of.port.ref()
  const late = new AbortController()
  late.signal.addEventListener('abort', () => {
    for (const resolve of of.changed.splice(0)) resolve()
  })
  const timer = timeoutMs === Infinity ? undefined : setTimeout(() => late.abort(), timeoutMs)
  while (!isSo(of) && of.failure === undefined && !late.signal.aborted) {
    await new Promise<void>(resolve => of.changed.push(resolve))
  }
  clearTimeout(timer)
  if (--of.waits === 0) of.port.unref()
}

/** Ends the broker, as an error in it would; for tests. */
export async function stopBroker(): Promise<void> {
  await home?.worker?.terminate()
}

/** The broker of all threads, if the main thread can start it. */
function joinBroker(): Home | undefined {
  const channel = channelOf(sharedHeap())
  const found = processBroker(sharedHeap(), channel)
  channel.close()
  return found && homeFor(found)
}

/** For a broker that another thread has started. */
function homeFor({ address, token }: Announced): Home {
  const channel = channelOf(sharedHeap(), message => hear(joined, message as Heard))
  const joined = newHome({ address, port: channel, worker: undefined, token })
  joined.isServing = true
  return joined
}

function newHome(of: Pick<Home, 'address' | 'port' | 'worker' | 'token'>): Home {
  return {
    ...of,
    published: new Set(),
    endsUnanswered: new Map(),
    failure: undefined,
    isServing: false,
    waits: 0,
    changed: [],
  }
}

/** On the channel of all threads others are spoken to as well. */
function hear(of: Home, message: Heard): void {
  if (message.kind === 'serves') of.isServing = true
  else if (message.kind === 'endedIsDone' && message.token === sharedHeap().token)
    countEnd(of, message.pid, -1)
  else return
  lookAgain(of)
}

function lookAgain({ changed }: Home): void {
  for (const resolve of changed.splice(0)) resolve()
}

function startBroker({ isForAll }: { isForAll: boolean }): Home {
  const heap = sharedHeap()
  const address: HomeAddress = {
    path: newSocketPath(),
    secret: randomBytes(32).toString('hex'),
    pid: process.pid,
  }
  const { worker, port } = startServiceThread('broker', (end): BrokerStart => ({
    address,
    heap: { buffer: heap.portableBuffer! },
    port: end,
    isForAll,
  }))
  if (isForAll) noteStarted(heap)
  const { threadId } = worker
  const started = newHome({ address, port, worker, token: undefined })
  port.on('message', (message: FromBroker) => hear(started, message))
  port.unref()
  worker.unref()
  worker.on('error', error => {
    started.failure = error
  })
  worker.once('exit', exitCode => {
    started.failure ??= new Error(`its thread ended with exit code ${exitCode}`)
    // The clients are members in that thread: what they held is given back.
    heap.markEnded({ pid: process.pid, threadId })
    lookAgain(started)
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
  const publication: ToBroker = { kind: 'memory', handle: { ...handle }, memory }
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
