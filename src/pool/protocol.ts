/**
 * What a pool and its workers say to each other. A message is one head, written here, followed by as many body
 * frames as the head announces. Bodies hold what users sent (functions, items, results, errors), each in a frame
 * of its own, so that a body that cannot be decoded spoils nothing but itself.
 */
import { SerializeError } from '../errors.ts'
import { decode, encode, type EncodeOptions } from '../serialize/codec.ts'
import { isBoundToMachine, unsendMessage } from '../platform/in-flight.ts'
import { AttachmentList, bytesBeside, releaseAttachments } from '../transport/attachments.ts'
import type { Connection } from '../transport/connection.ts'
import type { Carrier } from '../insights/carrier.ts'
import type { WaitRecord } from '../insights/followed-wait.ts'
import type { ThrownText } from '../insights/thrown-text.ts'
import type { StopReason } from './current-task.ts'
import type { BundlePlace } from '../serialize/bundles.ts'
import type { ResourceShare } from './requirements.ts'
import { bodyInside, fitsInside, frequentFrame, frequentHead } from './frequent-heads.ts'
import type { Preload } from './life-options.ts'
import type { SpanKind } from './task-spans.ts'

/** How a task's function is called with an item: with the item, or with the members of the item. */
export type CallMode = 'item' | 'arguments'

/** What a worker does before its first task and at its end. */
export interface WorkerSetup {
  hasInitializer: boolean
  hasFinalizer: boolean
  preload: Preload | undefined
  niceness: number | undefined
  cpus: readonly number[] | undefined
  memoryBytesMax: number | undefined
}

/** What a worker does first, in this order. */
export type SetupStage = 'scheduling' | 'preload' | 'initializer' | 'finalizer'

/** From the pool to a worker. */
export type ToWorker =
  /** First message. Bodies: the initializer and its array of arguments, then the finalizer, as far as there are any. */
  | { type: 'initialize'; bodies: number; setup: WorkerSetup }
  /** A spare has taken a place, and may use these CPUs only. */
  | { type: 'pin'; bodies: 0; cpus: readonly number[] }
  /** A function that later chunks name by its id. Body: the function. */
  | { type: 'function'; bodies: 1; functionId: number }
  /** The function will not be named again. */
  | { type: 'forget'; bodies: 0; functionId: number }
  /**
   * Items to run. Bodies: one with all items as an array (`isPacked`), or one for each item; then the stores of `contexts`.
   */
  | {
      type: 'chunk'
      bodies: number
      chunkId: number
      functionId: number
      mode: CallMode
      count: number
      isPacked: boolean
      /** Index of the first item within its map; absent for calls of `apply`. */
      first?: number
      /** In place of `first`, when the items do not follow each other: the index of each. */
      indexes?: number[]
      /** Absent: 1. */
      attempt?: number
      /** Somebody listens to what its tasks report. */
      wantsReports?: true
      /**
       * Of so many items each what those who follow their call gave them, or null. With true, the next of the bodies
       * behind those of the items has the stores of `carryAcross()` for them.
       */
      contexts?: [count: number, carrier: Carrier | null, hasStores: boolean][]
      /** With `contexts`: that of the function, for tools. */
      name?: string
      /** What is to be told of when the items run. */
      times?: SpanKind
      /** Each item is to be marked by `begin()`. Absent: only the first. */
      isExact?: true
      /** For who runs it on another machine, with a pool of its own. */
      elsewhere?: ElsewhereFacts
      /** It came from another machine, and what is told of it goes there. */
      isRelayed?: true
      /** Of such a chunk: modules that are here as files. */
      bundles?: BundlePlace[]
      /** Of such a chunk: what its tasks have of the resources of this machine. */
      resources?: Record<string, ResourceShare>
    }
  /**
   * These items (without `indexes`: all) are called off: those that run are told, those that have not begun never do.
   * Whoever sees `notice` in its journal reads up to the message of that number before it starts anything.
   */
  | {
      type: 'cancel'
      bodies: 0
      chunkId: number
      indexes?: number[]
      why: StopReason
      notice: number
      /** For another machine: what runs of it is stopped after so long. Absent: it may run on. */
      graceMs?: number
    }
  /** What of this chunk has not been started is wanted back. `notice` as in `cancel`. */
  | { type: 'recall'; bodies: 0; chunkId: number; notice: number }
  /** Finish what is there, then end. */
  | { type: 'stop'; bodies: 0 }

/** One of the longest tasks of a worker, before its outcome. `index`: within the map. */
export interface LongTaskMessage {
  type: 'longTask'
  bodies: 0
  chunkId: number
  index: number | undefined
  count: number
  durationMs: number
  args: string
}

/** From a worker to its pool. */
export type FromWorker =
  /** With how long it took to get ready, and what it has before its first item, where its memory is limited. */
  | { type: 'ready'; bodies: 0; initMs: number; memoryBytes?: number }
  /** Body: what was thrown at that stage. */
  | { type: 'setupFailed'; bodies: 1; stage: SetupStage }
  /** It has more memory than it may have, and is to be replaced. */
  | { type: 'retire'; bodies: 0 }
  /** It has been told to stop, has nothing more to run, and runs its finalizer. */
  | { type: 'finalizing'; bodies: 0 }
  /** Body: what the finalizer threw. */
  | { type: 'finalizerFailed'; bodies: 1 }
  /**
   * Items `first .. first + count - 1` of the chunk returned. Bodies: one array of all their results
   * (`isPacked`), or one result each.
   */
  | {
      type: 'results'
      bodies: number
      chunkId: number
      first: number
      count: number
      isPacked: boolean
      elapsedMs: number
    }
  /** What the item that runs reports, before its result. `dropped`: so many before it were not sent. Body: the value. */
  | { type: 'report'; bodies: 1; chunkId: number; index: number; dropped: number }
  /** When tasks of the chunk ran, what they threw and what they waited for; see task-spans.ts. */
  | {
      type: 'spans'
      bodies: 0
      chunkId: number
      spans: Float64Array
      /** A tool in the worker tells of the tasks itself. */
      isTold?: true
      errors?: [index: number, error: ThrownText][]
      waits?: WaitRecord[]
      /** Waits that are not told of, because there were too many. */
      lostWaits?: number
    }
  | LongTaskMessage
  /** One item threw, or its result cannot be sent. Body: what was thrown. `worker`: who it was, on another machine. */
  | { type: 'failure'; bodies: 1; chunkId: number; index: number; elapsedMs: number; worker?: WorkerIdentity }
  /** So many items of the chunk were called off before they began. */
  | { type: 'skipped'; bodies: 0; chunkId: number; count: number }
  /** The body with all items cannot be decoded here; nothing was started. The items are to be sent one by one. */
  | { type: 'undecodable'; bodies: 0; chunkId: number }
  /** The function cannot be rebuilt here; nothing of the chunk was started. Body: why. */
  | { type: 'unloadable'; bodies: 1; chunkId: number; functionId: number }
  /** Answer to `recall`: the items of the chunk from `from` on were not started, and are forgotten here. */
  | { type: 'returned'; bodies: 0; chunkId: number; from: number }
  /** The worker ends because of this error outside of any task's own call. Body: the error. */
  | { type: 'dying'; bodies: 1 }
  /** From other machines: a worker there died of the next item. Body: the error that says so. */
  | { type: 'died'; bodies: 1; chunkId: number }
  /** From other machines: this item has used up its time; its outcome follows, and does not count. Body: the error. */
  | { type: 'timedOut'; bodies: 1; chunkId: number; index: number }
  /** From other machines: the next `count` items are to be sent again. So many workers died that had them unmarked. */
  | { type: 'again'; bodies: 0; chunkId: number; count: number; isSolo: boolean; deaths: number }

/** A worker, as errors name it. */
export interface WorkerIdentity {
  name: string
  pid: number | undefined
}

/** What the pool of another machine has to know of a chunk. All its items have these in common. */
export interface ElsewhereFacts {
  taskName: string
  timeoutMs: number | undefined
  graceMs: number
  priority: number
  /** How many workers died that had it, without a sign that it had been started. */
  deaths: number
  isSolo: boolean
  /** The key of what the machine must have. */
  requires?: string
}

export type ChunkHead = Extract<ToWorker, { type: 'chunk' }>
export type CancelHead = Extract<ToWorker, { type: 'cancel' }>
export type ResultsHead = Extract<FromWorker, { type: 'results' }>

/** A frame that users' data arrived in, with what travelled beside it. */
export interface Body {
  bytes: Uint8Array
  attachments?: readonly unknown[] | undefined
}

/**
 * Encodes a value; large data travels beside the bytes and, to threads, what can only travel so. `isReadOften`: several
 * workers may read the body, or another one when the first has died.
 */
export function encodeBody(
  value: unknown,
  { canAttach, isElsewhere }: Pick<Connection, 'canAttach'> & { isElsewhere?: boolean },
  options: Pick<EncodeOptions, 'rootName' | 'byValue' | 'isReadOften'>,
): Body {
  if (isElsewhere === true) return encodeForMachines(value, options)
  // A reducer may encode a message of its own meanwhile.
  const list = emptyList ?? new AttachmentList()
  emptyList = undefined
  const { beside } = list
  const bytes = encode(value, { ...options, beside, ...(canAttach ? { attach: list.attach } : {}) })
  try {
    const attachments = list.finish(bytes, { canAttach, isReadOften: options.isReadOften ?? false })
    if (attachments !== undefined) return { bytes, attachments }
    emptyList = list
    return { bytes, attachments: undefined }
  } catch (error) {
    unsendMessage(bytes)
    throw error
  }
}

/** Everything is in the bytes, and nothing in them means anything on this machine alone. */
function encodeForMachines(value: unknown, options: Pick<EncodeOptions, 'rootName' | 'byValue'>): Body {
  const bytes = encode(value, options)
  assertForMachines(bytes, options.rootName ?? 'value')
  return { bytes }
}

/** @throws SerializeError for bytes that name what is in shared memory, or open, on this machine. */
export function assertForMachines(bytes: Uint8Array, rootName: string): void {
  if (!isBoundToMachine(bytes)) return
  unsendMessage(bytes)
  throw new SerializeError(
    `Cannot send the ${rootName} to another machine: it holds a lock, a queue, shared memory or a socket of this one\nTo fix: send plain data, and share state between machines by a service that all of them reach`,
  )
}

/** Kept between calls: most messages have nothing beside them. */
let emptyList: AttachmentList | undefined

/** How much of a user's data is in a body. */
function sizeOf({ bytes, attachments }: Body): number {
  return bytes.byteLength + bytesBeside(attachments)
}

/** How much of it is in all of them. */
export function totalBytes(bodies: readonly Body[]): number {
  let sum = 0
  for (const body of bodies) sum += sizeOf(body)
  return sum
}

/** Bodies that will not be sent again. */
export function releaseBodies(bodies: readonly Body[] | undefined): void {
  for (const { attachments } of bodies ?? []) releaseAttachments(attachments)
}

/** Sends a head and its bodies. */
export function sendMessage(connection: Connection, head: ToWorker | FromWorker, ...bodies: Body[]): void {
  if (head.bodies !== bodies.length) {
    throw new Error(
      `This is a bug in multiproc, please report it: ${head.type} announces ${head.bodies} bodies and has ${bodies.length}`,
    )
  }
  const [body] = bodies
  const inside =
    bodies.length === 1 && !body!.attachments && fitsInside(body!.bytes) ? body!.bytes : undefined
  const frame = frequentFrame(head, inside)
  connection.send(frame ?? encode(head))
  if (frame !== undefined && inside !== undefined) return
  for (const { bytes, attachments } of bodies) connection.send(bytes, attachments)
}

/** Puts heads and bodies together again. Feed it every frame; it calls `onMessage` once a message is complete. */
export class MessageReader<Message extends ToWorker | FromWorker> {
  readonly #onMessage: (head: Message, bodies: Body[]) => void
  #head: Message | undefined
  #bodies: Body[] = []

  constructor(onMessage: (head: Message, bodies: Body[]) => void) {
    this.#onMessage = onMessage
  }

  push(bytes: Uint8Array, attachments: readonly unknown[]): void {
    if (this.#head === undefined) {
      const frequent = frequentHead(bytes) as Message | undefined
      this.#head = frequent ?? (decode(bytes) as Message)
      const inside = frequent && bodyInside(bytes)
      if (inside) this.#bodies.push({ bytes: inside, attachments })
    } else {
      this.#bodies.push({ bytes, attachments })
    }
    const head = this.#head
    if (this.#bodies.length < head.bodies) return
    const bodies = this.#bodies
    this.#head = undefined
    this.#bodies = []
    this.#onMessage(head, bodies)
  }
}
