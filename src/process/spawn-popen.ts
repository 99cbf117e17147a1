/**
 * A child that is a process: Node.js started anew, with a socket of its own at descriptor 3 and no other
 * descriptor of this process than the standard streams and those that were asked for.
 */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process'
import { accessSync, closeSync, constants, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { delimiter, isAbsolute, join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { ResourceLimits } from 'node:worker_threads'
import { endClientsOf, hasBroker } from '../broker/home.ts'
import { ProcessError } from '../errors.ts'
import { CHANNEL_FD, CHANNEL_STDIO, HAS_DOORBELL, passDescriptor } from '../platform/child-channel.ts'
import { childEnvironment, childExecArgv } from '../platform/child-flags.ts'
import { keeperDoor } from '../platform/descriptors.ts'
import { removeNamesOfChild } from '../platform/named-memory.ts'
import { existingHeap, sharedHeap } from '../platform/shared-heap.ts'
import { inheritOrIgnore, systemErrorName } from '../platform/standard-streams.ts'
import { workingDirectory } from '../platform/working-directory.ts'
import { SocketConnection } from '../transport/socket-connection.ts'
import { gatherFrames } from '../transport/frame-format.ts'
import { RingConnection } from '../transport/ring-connection.ts'
import { type ChildBoot, encodeBoot } from './child-boot.ts'
import { getExecutable } from './executable.ts'
import type { PopenOptions } from './popen.ts'
import { StartedChild } from './started-child.ts'

export class SpawnPopen extends StartedChild {
  readonly method = 'spawn'
  readonly threadId = undefined
  readonly pid: number | undefined
  readonly connection: SocketConnection | RingConnection
  readonly stdin: Writable | null
  readonly stdout: Readable | null
  readonly stderr: Readable | null
  readonly #child: ChildProcess | undefined

  constructor(options: PopenOptions) {
    super()
    const executable = getExecutable()
    const args = [
      ...(options.execArgv ?? childExecArgv()),
      ...resourceLimitFlags(options.resourceLimits),
      fileURLToPath(options.entry),
    ]
    const { stdin = 'ignore', stdout = 'inherit', stderr = 'inherit' } = options.stdio ?? {}
    const stdio: StdioOptions = [
      stdin === 'inherit' ? inheritOrIgnore(0) : stdin,
      stdout === 'inherit' ? inheritOrIgnore(1) : stdout,
      stderr === 'inherit' ? inheritOrIgnore(2) : stderr,
      CHANNEL_STDIO,
      ...(options.extraFds ?? []),
    ]
    const { fd: heapFd } = sharedHeap()
    const sharedHeapFd = heapFd === undefined ? undefined : passDescriptor(stdio, heapFd)
    const door = heapFd === undefined ? undefined : keeperDoor()
    const keeperFd = door === undefined ? undefined : stdio.push(door) - 1
    let child: ChildProcess | undefined
    let failure: unknown
    try {
      child = spawn(executable, args, {
        stdio,
        env: childEnvironment(options.env),
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
        windowsHide: true,
      })
    } catch (error) {
      failure = error
    }
    this.#child = child
    this.pid = child?.pid
    const socket = child?.stdio?.[CHANNEL_FD] as Socket | null | undefined
    this.stdin = child?.stdin ?? null
    this.stdout = child?.stdout ?? null
    this.stderr = child?.stderr ?? null
    if (child?.pid === undefined || !socket) {
      // Node reports the reason only in a later tick; it is found out here so that a start fails at its call.
      child?.on('error', () => {})
      this.connection = new SocketConnection(destroyed(socket ?? new Socket()))
      this.neverStarted(startError(executable, options.cwd, failure))
      return
    }
    this.connection = connect(socket, { ...options.boot, sharedHeapFd, keeperFd })
    // Standard input of a dying child fails like the channel; its end is reported by 'exit'.
    this.stdin?.on('error', () => {})
    child.on('error', () => {})
    child.once('exit', (exitCode, signal) => {
      existingHeap()?.markEnded({ pid: child.pid!, threadId: undefined })
      removeNamesOfChild()
      if (hasBroker()) void endClientsOf(child.pid!).then(() => this.ended({ exitCode, signal }))
      else this.ended({ exitCode, signal })
    })
    this.watch([this.stdout, this.stderr])
  }

  kill(signal: NodeJS.Signals = 'SIGTERM'): void {
    if (!this.hasEnded) this.#child?.kill(signal)
  }

  protected setRef(isRef: boolean): void {
    if (isRef) this.#child?.ref()
    else this.#child?.unref()
    for (const stream of [this.stdin, this.stdout, this.stderr] as (Socket | null)[]) {
      if (isRef) stream?.ref()
      else stream?.unref()
    }
  }
}

/** Sends the boot frame, which always goes over the socket, and sets up what carries the frames behind it. */
function connect(socket: Socket, boot: ChildBoot): SocketConnection | RingConnection {
  if (boot.sharedHeapFd !== undefined && HAS_DOORBELL) {
    const { connection, end } = RingConnection.create(socket)
    for (const piece of gatherFrames([encodeBoot({ ...boot, ring: end })])) socket.write(piece)
    return connection
  }
  const connection = new SocketConnection(socket)
  // It leaves together with the work, in one write. A pipe of Windows takes a second one only when the event loop has
  // seen the end of the first, and the caller may block this thread until the child has done something.
  connection.send(encodeBoot(boot))
  return connection
}

function destroyed(socket: Socket): Socket {
  socket.destroy()
  return socket
}

/** V8's flags for the limits that worker_threads takes as options. */
function resourceLimitFlags(limits: ResourceLimits = {}): string[] {
  const flags: string[] = []
  if (limits.maxOldGenerationSizeMb)
    flags.push(`--max-old-space-size=${Math.ceil(limits.maxOldGenerationSizeMb)}`)
  // The young generation is three semi-spaces.
  if (limits.maxYoungGenerationSizeMb) {
    flags.push(`--max-semi-space-size=${Math.max(1, Math.ceil(limits.maxYoungGenerationSizeMb / 3))}`)
  }
  if (limits.stackSizeMb) flags.push(`--stack-size=${Math.floor(limits.stackSizeMb * 1024)}`)
  return flags
}

function startError(executable: string, cwd: string | undefined, failure: unknown): ProcessError {
  const code = failure === undefined ? diagnose(executable, cwd) : (systemErrorName(failure) ?? 'unknown')
  const [why, fix] = REASONS[code] ?? [
    `the system refused (${code})`,
    'see the cause, and the limits of this system',
  ]
  return new ProcessError(
    'ERR_START_FAILED',
    `Cannot start a child process with ${JSON.stringify(executable)}: ${why}\nTo fix: ${fix}`,
    failure === undefined ? undefined : { cause: failure },
  )
}

const REASONS: Record<string, [why: string, fix: string]> = {
  ENOENT: ['no such executable', 'call setExecutable() with the path of an existing Node.js executable'],
  EACCES: ['the file may not be executed', 'call setExecutable() with a file that this user may execute'],
  ENOTDIR: [
    'the working directory does not exist',
    'pass an existing directory, or process.chdir() to one before the start',
  ],
  EMFILE: [
    'this process has too many open files (EMFILE)',
    'start fewer children at once (each needs a few descriptors), or raise the limit with "ulimit -n"',
  ],
  ENFILE: ['the system has too many open files (ENFILE)', 'start fewer children at once'],
  EAGAIN: [
    'the system has no room for another process (EAGAIN)',
    'start fewer children at once, or raise the limit of processes ("ulimit -u", or pids.max of the container)',
  ],
  ENOMEM: ['the system has no memory for another process (ENOMEM)', 'start fewer children at once'],
}

/** Two for the channel, each of three pipes, and the pipe by which libuv learns of a failed exec. */
const descriptorsPerStart = 10

/** Tries what starting needs, one thing after another, and names the first that fails. */
function diagnose(executable: string, cwd = workingDirectory()): string {
  if (cwd === undefined) return 'ENOTDIR'
  const opened: number[] = []
  try {
    while (opened.length < descriptorsPerStart) opened.push(openSync(cwd, 'r'))
  } catch (error) {
    const code = systemErrorName(error)!
    if (code === 'EMFILE' || code === 'ENFILE') return code
    return 'ENOTDIR'
  } finally {
    for (const descriptor of opened) closeSync(descriptor)
  }
  const candidates = isAbsolute(executable)
    ? [executable]
    : executable.includes('/')
      ? [join(cwd, executable)]
      : (process.env['PATH'] ?? '').split(delimiter).map(folder => join(folder, executable))
  let found = 'ENOENT'
  for (const candidate of candidates) {
    try {
      accessSync(candidate, constants.X_OK)
      return 'EAGAIN'
    } catch (error) {
      if (systemErrorName(error) === 'EACCES') found = 'EACCES'
    }
  }
  return found
}
