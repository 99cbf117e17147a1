/**
 * A child that is a thread of this process: the same entry file in a worker of node:worker_threads, with a message
 * port of its own. Its end is told in the words of processes, and its output is complete before the end is.
 */
import { PassThrough, type Readable, type Writable } from 'node:stream'
import type { ResourceLimits, Worker } from 'node:worker_threads'
import { invalidArgument } from '../errors.ts'
import { serveThreads } from '../broker/home.ts'
import { childEnvironment } from '../platform/child-flags.ts'
import { removeNamesOfThread } from '../platform/named-memory.ts'
import { type HeapInheritance, sharedHeap } from '../platform/shared-heap.ts'
import { writeOrIgnore } from '../platform/standard-streams.ts'
import { startWorker, threadNotStarted } from '../platform/start-worker.ts'
import { createPortChannel, PortConnection, type PortEnd } from '../transport/port-connection.ts'
import { encodeBoot } from './child-boot.ts'
import type { ExitStatus, PopenOptions } from './popen.ts'
import { StartedChild } from './started-child.ts'
import { ThreadLife } from './thread-life.ts'

/**
 * How long a thread that was killed may go on loading modules. Ours take seconds on a very busy machine, and end; those
 * of its user may compute without end.
 */
const LOADING_MS_MAX = { starting: 60_000, importing: 15_000 }

/**
 * At its limit a heap is given 16 MiB more, in which the thread is to end. What one collection promotes from a young
 * generation of the usual 48 MiB can be more than that, and V8 then ends the whole program.
 * https://github.com/nodejs/node/issues/47224
 */
const YOUNG_GENERATION_MIB_MAX = 16

/** The limits, such that a thread which reaches them ends alone, as far as that can be had. */
function withLeeway(limits: ResourceLimits): ResourceLimits {
  if (limits.maxOldGenerationSizeMb === undefined) return limits
  return { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB_MAX, ...limits }
}

/** What a thread finds in `workerData`. */
export interface ThreadStart {
  multiprocChannel: PortEnd
  /** The memory of a `ThreadLife`. */
  life: SharedArrayBuffer
  sharedBuffers: readonly SharedArrayBuffer[]
  sharedHeap: HeapInheritance
}

export class ThreadPopen extends StartedChild {
  readonly method = 'thread'
  readonly pid: number | undefined
  readonly threadId: number | undefined
  readonly connection: PortConnection
  readonly stdin: Writable | null
  readonly stdout: Readable | null
  readonly stderr: Readable | null
  readonly #worker: Worker | undefined
  #killedBy: NodeJS.Signals | undefined
  readonly #life = new ThreadLife()
  #terminateTimer: NodeJS.Timeout | undefined
  #error: Error | undefined

  constructor(options: PopenOptions) {
    super()
    refuseProcessOptions(options)
    const [here, there] = createPortChannel()
    this.connection = new PortConnection(here)
    const { stdin = 'ignore', stdout = 'inherit', stderr = 'inherit' } = options.stdio ?? {}
    const heap = sharedHeap()
    serveThreads()
    const data: ThreadStart = {
      multiprocChannel: there,
      life: this.#life.memory,
      sharedBuffers: options.sharedBuffers ?? [],
      sharedHeap: heap.portableBuffer === undefined ? 'process' : { buffer: heap.portableBuffer },
    }
    const worker = startWorker(options.entry, {
      name: options.boot.name,
      env: childEnvironment(options.env),
      workerData: data,
      transferList: [there.port],
      stdin: stdin === 'pipe',
      ...(options.resourceLimits ? { resourceLimits: withLeeway(options.resourceLimits) } : {}),
      ...(options.execArgv ? { execArgv: [...options.execArgv] } : {}),
    })
    if (worker instanceof Error) {
      this.stdin = this.stdout = this.stderr = null
      this.connection.abort()
      this.neverStarted(worker)
      return
    }
    this.#worker = worker
    this.pid = process.pid
    this.threadId = worker.threadId
    this.stdin = stdin === 'pipe' ? worker.stdin : null
    const outputs = {
      stdout: redirect(worker.stdout, process.stdout, stdout),
      stderr: redirect(worker.stderr, process.stderr, stderr),
    }
    this.stdout = stdout === 'pipe' ? outputs.stdout : null
    this.stderr = stderr === 'pipe' ? outputs.stderr : null
    worker.on('error', error => {
      this.#error = error
    })
    const { threadId } = worker
    worker.once('exit', exitCode => {
      clearTimeout(this.#terminateTimer)
      heap.markEnded({ pid: process.pid, threadId })
      removeNamesOfThread(threadId)
      // As Node does with the pipes of a process: what nobody has begun to read is dropped.
      for (const output of [this.stdout, this.stderr]) if (output?.readableFlowing === null) output.resume()
      this.ended(this.#statusOf(exitCode))
    })
    this.watch([outputs.stdout, outputs.stderr])
    this.connection.send(encodeBoot(options.boot))
    this.connection.flush()
  }

  #statusOf(exitCode: number): ExitStatus {
    if (this.#error !== undefined) {
      const isOutOfMemory = (this.#error as NodeJS.ErrnoException).code === 'ERR_WORKER_OUT_OF_MEMORY'
      if (isOutOfMemory) return { exitCode: 1, signal: null, error: this.#error }
      // Nothing of ours runs in it, so only Node.js knows why: a thread that dies later says it itself.
      if (!this.#life.hasBegun()) return { exitCode: 1, signal: null, error: threadNotStarted(this.#error) }
      return { exitCode: 1, signal: null }
    }
    if (this.#killedBy !== undefined && !this.#life.hasEndedByItself(exitCode))
      return { exitCode: null, signal: this.#killedBy }
    return { exitCode: exitCode & 0xff, signal: null }
  }

  kill(signal: NodeJS.Signals = 'SIGTERM'): void {
    if (this.hasEnded || this.#worker === undefined) return
    this.#killedBy ??= signal
    // A thread that is terminated while it loads modules leaves the files open that it was reading: Node.js 20 and some
    // of 22 do not close them. So it is asked to end as soon as it has loaded.
    const stage = this.#life.askToEnd()
    // Not referenced: the thread keeps this process alive, if it is to. Released when the thread has ended.
    if (stage === 'running') this.#terminate()
    else this.#terminateTimer ??= setTimeout(() => this.#terminate(), LOADING_MS_MAX[stage]).unref()
  }

  #terminate(): void {
    void this.#worker?.terminate()
  }

  protected setRef(isRef: boolean): void {
    if (isRef) this.#worker?.ref()
    else this.#worker?.unref()
  }
}

function refuseProcessOptions({ cwd, extraFds, stdio }: PopenOptions): void {
  const given =
    cwd !== undefined ? 'cwd' : extraFds !== undefined && extraFds.length > 0 ? 'extraFds' : undefined
  if (given !== undefined) {
    throw invalidArgument(
      TypeError,
      `Cannot start a thread with "${given}": threads share the working directory and the ` +
        'descriptors of their process\n' +
        'To fix: use the start method "spawn", or leave the option out',
    )
  }
  if (stdio?.stdin === 'inherit') {
    throw invalidArgument(
      TypeError,
      'Cannot start a thread with stdin "inherit": a thread cannot read the standard input of ' +
        'its process\n' +
        'To fix: use "pipe" and write to it, or the start method "spawn"',
    )
  }
}

/**
 * Takes the output of a thread over from Node, which pipes it to `target`. Asking Node not to (`stdout: true`) would
 * make every thread that prints keep this process alive, whatever unref() says.
 */
function redirect(
  source: Readable,
  target: NodeJS.WriteStream,
  choice: 'ignore' | 'inherit' | 'pipe',
): Readable {
  source.unpipe(target)
  if (choice === 'pipe') return source.pipe(new PassThrough())
  if (choice === 'inherit') source.on('data', (chunk: Uint8Array) => writeOrIgnore(target, chunk))
  source.resume()
  return source
}
