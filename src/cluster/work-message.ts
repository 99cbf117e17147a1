/** What programs and agents say to each other of one chunk; frames follow as each says. See "Messages" in README.md. */
import type { KeptCall } from '../pool/kept-call.ts'
import type { ChunkHead, FromWorker } from '../pool/protocol.ts'

/** From a program: a chunk to run. Frames: the function, when it is `isInline`; then the bodies of the chunk. */
export interface WorkHead {
  chunk: ChunkHead
  /** By the hash of its bytes; when it is not in this message, it is stored under that. */
  code: { hash: string; byteLength: number; isInline: boolean }
  /** Modules that it may import, stored as code is. */
  bundles?: NamedBundle[]
}

/** A module as a file. */
export interface NamedBundle {
  hash: string
  byteLength: number
  /** Where its program has it. */
  url: string
}

/** From an agent: what became of the chunk, in order. Frames: the bodies of the messages, each with what is beside it. */
export interface ResultHead {
  agent: string
  messages: FromWorker[]
  /** For each body how many frames beside it follow. */
  attached: number[]
  /** Which items of their map these are, and in which run: for who has not sent them itself. */
  place?: ChunkPlace
  /** The function was not found, and has to be stored again. */
  isCodeGone?: true
}

/** Items of a map that one chunk had. */
export interface ChunkPlace {
  first: number
  count: number
  attempt: number
  deaths: number
  isSolo: boolean
  requires?: string
}

/** Of a chunk of a map. */
export function placeOf({ first, count, attempt = 1, elsewhere }: ChunkHead): ChunkPlace | undefined {
  if (first === undefined) return undefined
  const { deaths = 0, isSolo = false, requires } = elsewhere ?? {}
  return { first, count, attempt, deaths, isSolo, ...(requires === undefined ? {} : { requires }) }
}

/** From a program: a call with which another one can go on. Frames: those of {@link KeptCall}. */
export interface JobHead {
  jobId: string
  call: KeptCall['head']
  /** When it began. */
  since: string
}

/** From a program: it goes on with the call. The highest epoch counts. */
export interface DriverHead {
  jobId: string
  taskName: string
  items: number
  since: string
  epoch: number
  host: string
  pid: number
}

/** From an agent that does not know the key, unsealed and believed as far as that a chunk may fail of it. */
export interface Refusal {
  refused: string
}

/** From a program: what it does not want any more. Without `chunkId`: all of its work. */
export interface ControlHead {
  session: string
  chunkId?: number
  /** Items within the chunk. Absent: all. */
  indexes?: number[]
  /** What runs is stopped after so long. Absent: it may run on. */
  graceMs?: number
  /** Somebody else than the program calls its work off, and the program is to know. */
  isByOthers?: true
}

/** From a program: there is work with these requirements. Comes where control messages do. */
export interface ClassNews {
  /** Their key. */
  requires: string
}

/** From an agent: what a task says before its result. Frames: the body, with what is beside it. */
export interface ReportHead {
  report: Extract<FromWorker, { type: 'report' | 'timedOut' }>
  attached: number[]
}

/** From an agent, every few seconds. */
export interface AgentFacts {
  agent: string
  host: string
  pid: number
  /** The version of Node.js. */
  node: string
  processes: number
  /** What it has for tasks that require something. */
  labels: Readonly<Record<string, string>>
  resources: Readonly<Record<string, number>>
  /** Chunks that it has. */
  chunks: number
  /** To a roll call that names a program: which of its chunks it has, {@link heldShownMax} at most. */
  held?: { session: string; chunkIds: number[] }
  /** It takes no more work. */
  isLeaving?: true
}

export function codeName(hash: string): string {
  return `code-${hash}`
}

export const heldShownMax = 200

/** How often agents say that they are alive. After three times nobody believes it any more. */
export const announceEveryMs = 2000
export const silentMsMax = 3 * announceEveryMs + 1000
