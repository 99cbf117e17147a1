/**
 * Sealed messages of any length: in one piece when they are short, else stored, and a short one that says where.
 * Invariant: what `read` gives was sealed with the key for that subject.
 */
import { SerializeError } from '../errors.ts'
import { decode, encode } from '../serialize/codec.ts'
import type { Nats } from './nats-client.ts'
import type { PayloadStore, StoredPayload } from './payload-store.ts'
import { open, seal } from './sealed-message.ts'

/** A message that can be sent. */
export interface Letter {
  bytes: Uint8Array
  /** What was stored for it. */
  storedName: string | undefined
}

/** A message that came: what it says first, and what follows. */
export interface Opened {
  head: unknown
  frames: Uint8Array[]
  storedName: string | undefined
}

export class Post {
  readonly #key: Buffer
  readonly #nats: Nats
  readonly payloads: PayloadStore

  constructor(key: Buffer, nats: Nats, payloads: PayloadStore) {
    this.#key = key
    this.#nats = nats
    this.payloads = payloads
  }

  /** `name`: what is stored is called so, if it has to be. */
  async write(
    subject: string,
    { name, head, frames }: { name: string; head: object; frames: readonly Uint8Array[] },
  ): Promise<Letter> {
    const bytes = seal(this.#key, subject, [encode(head), ...frames])
    if (bytes.length <= this.#nats.inlineBytesMax) return { bytes, storedName: undefined }
    const stored = await this.payloads.put(name, bytes)
    return { bytes: seal(this.#key, subject, [encode({ stored })]), storedName: name }
  }

  /** A short message, at once. */
  note(subject: string, head: object, frames: readonly Uint8Array[] = []): Uint8Array {
    return seal(this.#key, subject, [encode(head), ...frames])
  }

  /** What a short message says, or `undefined` when it is not sealed. */
  readNote(subject: string, bytes: Uint8Array): { head: unknown; frames: Uint8Array[] } | undefined {
    const [first, ...frames] = open(this.#key, subject, bytes) ?? []
    return first && { head: decode(first), frames }
  }

  /** `'forged'`: it is not sealed with this key for this subject. `'gone'`: what was stored for it is not there. */
  async read(subject: string, bytes: Uint8Array): Promise<Opened | 'forged' | 'gone'> {
    const note = this.readNote(subject, bytes)
    if (!note) return 'forged'
    const { stored } = note.head as { stored?: StoredPayload }
    if (stored === undefined) return { ...note, storedName: undefined }
    const content = await this.payloads.get(stored)
    if (content === undefined) return 'gone'
    const inner = this.readNote(subject, content)
    // The message that names it has the seal: what is there instead is not what its sender stored.
    return inner ? { ...inner, storedName: stored.name } : 'gone'
  }
}

/** Takes bodies, with what travels beside them, out of frames. */
export function bodiesIn(
  frames: readonly Uint8Array[],
  attached: readonly number[],
): { bytes: Uint8Array; attachments: ArrayBuffer[] }[] {
  let at = 0
  const next = (): Uint8Array => {
    const frame = frames[at++]
    if (frame) return frame
    throw new SerializeError('A message of the cluster has fewer frames than it says', {
      code: 'ERR_NOT_DESERIALIZABLE',
    })
  }
  return attached.map(count => {
    const bytes = next()
    // A copy: what travels beside a body belongs to who receives it.
    const attachments = Array.from({ length: count }, () => Uint8Array.from(next()).buffer)
    return { bytes, attachments }
  })
}
