/** A chunk that a program has sent and that has no result yet. */
import type { Body, ChunkHead } from '../pool/protocol.ts'
import type { Requirements } from '../pool/requirements.ts'
import type { Level } from './names.ts'

export interface SentChunk {
  readonly head: ChunkHead
  readonly bodies: readonly Body[]
  readonly code: SentCode
  readonly level: Level
  readonly requires: Requirements | undefined
  readonly subject: string
  /** Of its bodies. */
  readonly byteLength: number
  /** Another program has sent it, and its bodies are not here. */
  readonly isAdopted: boolean
  /** Set while it waits for room on the server, or for a server. */
  isPublishing: boolean
  /** When it was given to the server last, by `performance.now()`. */
  sentAtMs: number
  /** How often it was given to the server. */
  sends: number
  /** What was stored for it, to be deleted. */
  storedName: string | undefined
  /** How often agents with another key used up its deliveries. */
  refusals: number
  /** A result of it is being read. */
  isArriving: boolean
}

/** A function as it was encoded, with what it is known by. */
export interface SentCode {
  readonly bytes: Uint8Array
  readonly hash: string
  /** When it was stored, if it is too long to go along with each chunk. */
  storedAtMs: number | undefined
  storing: Promise<void> | undefined
}
