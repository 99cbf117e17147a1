/**
 * Payloads that are too long for a message: stored in pieces, each a message of a stream, and named by whoever sends
 * the name. What was stored is deleted by who stored it or took it, and by the server after a day, whoever was killed.
 * Invariant: what is given out has the hash that was asked for.
 */
import { createHash } from 'node:crypto'
import type { Nats } from './nats-client.ts'
import type { PoolNames } from './names.ts'
import { isNotFound } from './pool-streams.ts'

/** What a message says of a payload that is not in it. */
export interface StoredPayload {
  name: string
  hash: string
  byteLength: number
}

const piecesAtOnce = 4
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
    const pieceBytes = this.#nats.inlineBytesMax
    const count = Math.ceil(bytes.length / pieceBytes)
    await inParallel(count, async piece => {
      const part = bytes.subarray(piece * pieceBytes, (piece + 1) * pieceBytes)
      await this.#nats.publisher.publish(this.#names.payload(name, piece), part)
    })
    return { name, hash: hashOf(bytes), byteLength: bytes.length }
  }

  /** @returns `undefined` when it is not there any more, or is not what was stored. */
  async get({ name, hash, byteLength }: StoredPayload): Promise<Uint8Array | undefined> {
    if (!Number.isSafeInteger(byteLength) || byteLength < 1 || byteLength > payloadBytesMax) return undefined
    const first = await this.#piece(name, 0)
    if (first === undefined || first.length === 0) return undefined
    const count = Math.ceil(byteLength / first.length)
    const pieces: Uint8Array[] = [first]
    await inParallel(count - 1, async index => {
      pieces[index + 1] = (await this.#piece(name, index + 1)) ?? new Uint8Array()
    })
    const bytes = Buffer.concat(pieces)
    return bytes.length === byteLength && hashOf(bytes) === hash ? bytes : undefined
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
