/**
 * The first thing that every child does: it takes up the connection to its parent and learns who it is. From then
 * on the child ends when the parent's side of the connection does (see "Start-up" and "Orphans" in README.md).
 */
import { Socket } from 'node:net'
import { isMainThread, workerData } from 'node:worker_threads'
import { ClosedError, ProcessError } from '../errors.ts'
import { boundedWait } from '../platform/bounded-wait.ts'
import { CHANNEL_FD, hasChannel } from '../platform/child-channel.ts'
import { exitWhenLoaded } from '../platform/module-loading.ts'
import { nativeAddon } from '../platform/native-addon.ts'
import { watchForOrphan } from '../platform/orphan-watch.ts'
import { inheritKeeper } from '../platform/descriptors.ts'
import { inheritHeap } from '../platform/shared-heap.ts'
import { writePipedOutputSynchronously } from '../platform/synchronous-output.ts'
import '../socket/dup-fd.ts'
import type { Connection } from '../transport/connection.ts'
import { PortConnection } from '../transport/port-connection.ts'
import { readFirstFrame } from '../transport/first-frame.ts'
import { RingConnection, type RingEnd } from '../transport/ring-connection.ts'
import { SocketConnection } from '../transport/socket-connection.ts'
import { decodeBoot, type ChildBoot } from './child-boot.ts'
import { ParentProcess } from './parent-process.ts'
import { becomeChild } from './process-state.ts'
import { ThreadLife } from './thread-life.ts'
import type { ThreadStart } from './thread-popen.ts'

/** An orphan that computes, and so does not notice the end of its connection, is killed after this time. */
const ORPHAN_GRACE_MS = 2000
/** Between the two signs of a parent's end. */
const PARENT_END_MS_MAX = 2000

/** What a child's main file begins with. */
export interface BootstrappedChild {
  connection: Connection
  boot: ChildBoot
  sharedBuffers: readonly SharedArrayBuffer[]
}

/**
 * Makes this process or thread a child. Afterwards `currentProcess()` and `parentProcess()` answer as in a child.
 * Frames that follow the boot frame wait until `connection.onMessage` is set; `connection.onClose` is free for
 * the caller's use.
 *
 * @throws ProcessError when this file was not started by `popen()`.
 */
export async function bootstrapChild(): Promise<BootstrappedChild> {
  const { connection, boot, sharedBuffers } = isMainThread ? await openProcess() : await openThread()
  const ended = new Promise<void>(resolve => connection.afterClose(() => resolve()))
  void ended.then(() => endWithParent())
  becomeChild(boot, new ParentProcess({ name: boot.parentName, pid: boot.parentPid, ended }))
  process.argv.splice(1, process.argv.length, ...boot.argv.slice(1))
  // What was sent and has not left this process would be lost by process.exit().
  process.on('exit', () => {
    if (connection instanceof PortConnection) connection.flush()
    else if (connection instanceof RingConnection) connection.flushBeforeExit()
    else connection.flushBeforeExit(CHANNEL_FD)
  })
  return { connection, boot, sharedBuffers }
}

interface OpenedConnection {
  connection: SocketConnection | RingConnection | PortConnection
  boot: ChildBoot
  sharedBuffers: readonly SharedArrayBuffer[]
}

async function openProcess(): Promise<OpenedConnection> {
  if (!hasChannel()) throw notStartedByUs()
  const socket = new Socket({ fd: CHANNEL_FD, readable: true, writable: true })
  const frame = await readFirstFrame(socket)
  // The parent ended, or changed its mind, before it said anything.
  if (frame === undefined) process.exit(0)
  const boot = decodeBoot(frame)
  if (boot.sharedHeapFd !== undefined) {
    inheritHeap({ fd: boot.sharedHeapFd, parentPid: boot.parentPid })
    inheritKeeper(boot.keeperFd)
    nativeAddon()?.endWithParent(boot.parentPid, ORPHAN_GRACE_MS)
  } else watchForOrphan(boot.parentPid, ORPHAN_GRACE_MS)
  const connection =
    boot.ring === undefined ? new SocketConnection(socket) : await attachRing(socket, boot.ring)
  socket.resume()
  writePipedOutputSynchronously()
  return { connection, boot, sharedBuffers: [] }
}

/** A parent that was killed meanwhile has taken the rings with it: then there is nobody to work for, and nothing to say. */
async function attachRing(socket: Socket, end: RingEnd): Promise<RingConnection> {
  try {
    return RingConnection.attach(socket, end)
  } catch (error) {
    // The kernel tells of the end of a member some time before it closes its sockets.
    if (error instanceof ClosedError && (await endsWithin(socket, PARENT_END_MS_MAX))) process.exit(0)
    throw error
  }
}

async function endsWithin(socket: Socket, ms: number): Promise<boolean> {
  const hasEnded = new Promise<true>(resolve => {
    for (const event of ['end', 'close', 'error']) socket.once(event, () => resolve(true))
    socket.resume()
  })
  return await boundedWait(hasEnded, { timeout: ms }, { onTimeout: () => false })
}

async function openThread(): Promise<OpenedConnection> {
  const { multiprocChannel, life, sharedBuffers, sharedHeap } = (workerData ?? {}) as Partial<ThreadStart>
  if (multiprocChannel === undefined || life === undefined) throw notStartedByUs()
  new ThreadLife(life).begin()
  if (sharedHeap !== undefined) inheritHeap(sharedHeap)
  const connection = new PortConnection(multiprocChannel)
  const frame = await new Promise<Uint8Array>(resolve => {
    connection.onMessage = bytes => {
      connection.onMessage = undefined
      resolve(bytes)
    }
    connection.afterClose(() => endWithParent())
  })
  return { connection, boot: decodeBoot(frame), sharedBuffers: sharedBuffers ?? [] }
}

function notStartedByUs(): ProcessError {
  return new ProcessError(
    'ERR_START_FAILED',
    'Cannot run this file by itself: it is the main file of a child and expects a connection to ' +
      'its parent\n' +
      'To fix: start it through multiproc (new Process(...).start(), new Pool(...))',
  )
}

// The parent is gone, or has closed the connection to say that it wants nothing more. Those who wait for it
// (ParentProcess.join) are told first and get the rest of this turn.
function endWithParent(): void {
  setImmediate(() => exitWhenLoaded(0))
}
