/**
 * Payloads that are too long for a message: stored in pieces, each a message of a stream, and named by whoever sends
 * the name. What was stored is deleted by who stored it or took it, and by the server after a day, whoever was killed.
 * Invariant: what is given out has the length and the hash that were asked for.
 */
import { createHash } from 'node:crypto'
import type { Nats } from './nats-client.ts'
import type { PoolNames } from './names.ts'
import { isNotFound } from './pool-streams.ts'

/** What a message says of a payload that is not in it. */
export interface StoredPayload {
  name: string
  byteLength: number
  /** Absent: the first piece tells. */
  pieceBytes?: number
  /** Absent: what is stored has a seal of its own. */
  hash?: string
}

/** Short enough for several to be on their way, and long against what a message takes. */
const pieceBytesMax = 1 << 20
const piecesAtOnce = 8
/** No payload is longer: the frame of a message inside a machine could not hold it. */
const payloadBytesMax = 2 ** 31 - 1

export function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

export class PayloadStore {
  readonly #nats: Nats
  readonly #names: PoolNames

  constructor(nats: Nats, names: PoolNames) {
    this.#nats = nats
    this.#names = names
  }

  /** Stores bytes under a name, which is used for no others. */
  async put(name: string, bytes: Uint8Array): Promise<StoredPayload> {
    const pieceBytes = Math.min(pieceBytesMax, this.#nats.inlineBytesMax)
    const count = Math.ceil(bytes.length / pieceBytes)
    await inParallel(count, async piece => {
      const part = bytes.subarray(piece * pieceBytes, (piece + 1) * pieceBytes)
      await this.#nats.writer.write(this.#names.payload(name, piece), part)
    })
    return { name, byteLength: bytes.length, pieceBytes }
  }

  /** @returns `undefined` when it is not there any more, or is not what was stored. */
  async get({ name, byteLength, pieceBytes, hash }: StoredPayload): Promise<Uint8Array | undefined> {
    if (!Number.isSafeInteger(byteLength) || byteLength < 1 || byteLength > payloadBytesMax) return undefined
    const pieces: Uint8Array[] = []
    const read = async (piece: number): Promise<void> => {
      pieces[piece] = (await this.#piece(name, piece)) ?? new Uint8Array()
    }
    if (pieceBytes === undefined) await read(0)
    const sizeOfPiece = pieceBytes ?? pieces[0]!.length
    if (!(sizeOfPiece >= 1)) return undefined
    const known = pieces.length
    await inParallel(Math.ceil(byteLength / sizeOfPiece) - known, index => read(known + index))
    const bytes = Buffer.concat(pieces)
    const isWhole = bytes.length === byteLength && (hash === undefined || hashOf(bytes) === hash)
    return isWhole ? bytes : undefined
  }

  async has(name: string): Promise<boolean> {
    return (await this.#piece(name, 0)) !== undefined
  }

  /** Nobody needs it any more. That it fails costs room for a day. */
  delete(name: string): void {
    this.#nats.manager.streams
      .purge(this.#names.payloads, { filter: this.#names.payload(name, '>') })
      .catch(() => {})
  }

  async #piece(name: string, piece: number): Promise<Uint8Array | undefined> {
    const query = { last_by_subj: this.#names.payload(name, piece) }
    try {
      const found =
        (await this.#nats.manager.direct.getMessage(this.#names.payloads, query)) ??
        // A replica that has not caught up says that there is none; the leader knows.
        (await this.#nats.manager.streams.getMessage(this.#names.payloads, query))
      return found?.data
    } catch (error) {
      if (isNotFound(error)) return undefined
      throw error
    }
  }
}

async function inParallel(count: number, act: (index: number) => Promise<void>): Promise<void> {
  let next = 0
  const run = async (): Promise<void> => {
    while (next < count) await act(next++)
  }
  await Promise.all(Array.from({ length: Math.min(piecesAtOnce, count) }, run))
}
